//! Layer 3: one request, from head to answer. Imports everything below.

pub mod account;
pub mod admin;
pub mod body_limit;
pub mod challenge;
pub mod connection;
pub mod dress;
pub mod endpoints;
pub mod form;
pub mod form_token;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod header_rules;
pub mod identity_headers;
pub mod login;
pub mod logout;
pub mod management;
pub mod method_override;
pub mod navigation;
pub mod note;
pub mod open_line;
pub mod open_streams;
pub mod own_paths;
pub mod pipeline;
pub mod privacy;
pub mod recall;
pub mod reply;
pub mod request_id;
pub mod respond;
pub mod rewrite;
pub mod route_answer;
pub mod same_origin;
pub mod static_files;
pub mod to_https;
pub mod tunnel;
pub mod upgrade;
pub mod worker;

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use crate::base::clock::Clock;
use crate::base::secret::{Random, Secret};
use crate::gateway::form_token::FormTokens;
use crate::gateway::header_rules::HeaderRules;
use crate::gateway::identity_headers::{HeaderFirewall, InjectedHeaders, OddNames};
use crate::gateway::own_paths::OwnPaths;
use crate::gateway::rewrite::{HostHeader, PathRewrite};
use crate::gateway::route_answer::RouteAnswer;
use crate::gateway::tunnel::KeepAlive;
use crate::login::Login;
use crate::observe::metrics::{RequestCounts, RouteId};
use crate::pages::{PageError, Pages};
use crate::policy::Access;
use crate::proxy::{GroupSettings, UpstreamGroup, Upstreams};
use crate::session::{Activity, SessionManager};
use crate::web::body::TrailerFilter;
use crate::web::normalize::HeadLimits;
use crate::web::route::{Place, RouteTable};

/// One immutable snapshot of everything a request needs. A reload builds another whole one and swaps it in.
pub struct Gateway {
    routes: RouteTable<Arc<RouteTarget>>,
    own_paths: OwnPaths,
    firewall: Arc<HeaderFirewall>,
    form_tokens: FormTokens,
    pages: Pages,
    head: HeadLimits,
    trusted_proxies: Arc<[IpNet]>,
    return_origins: Vec<String>,
    clear_site_data: bool,
    sessions: Arc<SessionManager>,
    login: Arc<Login>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    requests: Arc<RequestCounts>,
}

/// What a route leads to.
pub struct RouteTarget {
    name: String,
    counted_as: RouteId,
    upstream: UpstreamGroup,
    answer: Option<RouteAnswer>,
    /// Routes of its place are told apart by method, so that the method is a part of the decision.
    by_method: bool,
    /// The route's own path.
    path: String,
    rewrite: Option<PathRewrite>,
    host_header: HostHeader,
    /// The hosts that the upstream takes for its own where it sees another one than the client.
    own_hosts: Vec<Box<str>>,
    request_headers: HeaderRules,
    response_headers: HeaderRules,
    access: Access,
    injected: InjectedHeaders,
    odd_names: OddNames,
    allow_encoded_slashes: bool,
    /// Which trailers of requests pass; `None` for none.
    trailers: Option<TrailerFilter>,
    max_body: Option<u64>,
    activity: Activity,
    websocket_origins: Vec<String>,
}

impl RouteTarget {
    fn upstream(&self) -> &UpstreamGroup {
        &self.upstream
    }
}

/// The long-lived parts a snapshot refers to; a reload keeps them.
#[derive(Clone)]
pub struct Parts {
    /// The sessions.
    pub sessions: Arc<SessionManager>,
    /// The password login.
    pub login: Arc<Login>,
    /// The upstreams that are known.
    pub upstreams: Arc<Upstreams>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random generator.
    pub random: Arc<dyn Random>,
    /// What the workers have answered.
    pub requests: Arc<RequestCounts>,
}

/// Why a snapshot could not be built.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The pages' templates are broken.
    #[error(transparent)]
    Pages(#[from] PageError),
    /// Two routes have the same host and path; the configuration refuses this with both places.
    #[error("two routes have the same host and path: {0}")]
    Tie(String),
    /// A route has no upstream; the configuration refuses this too.
    #[error("the route {0} has no upstream")]
    NoUpstream(String),
}

impl Gateway {
    /// Builds a snapshot. `secret` is the first session secret; the key of the form tokens is derived from it.
    ///
    /// # Errors
    /// See [`GatewayError`].
    pub fn build(settings: &Settings, secret: &Secret, parts: Parts) -> Result<Self, GatewayError> {
        let firewall = Arc::new(HeaderFirewall::new(settings.routes.iter().map(|route| &route.headers)));
        let mut routes = RouteTable::default();
        let spot = |route: &'_ RouteSettings| (route.host.clone(), route.path.clone(), route.exact);
        let by_method: HashSet<_> =
            settings.routes.iter().filter(|route| !route.methods.is_empty()).map(spot).collect();
        for route in &settings.routes {
            if route.upstream.members.is_empty() && route.answer.is_none() {
                return Err(GatewayError::NoUpstream(route.name.clone()));
            }
            let odd_allowed = route.allow_odd_header_names || route.access == Access::Public;
            let odd_names = if odd_allowed { OddNames::Pass } else { OddNames::Drop };
            let target = Arc::new(RouteTarget {
                name: route.name.clone(),
                counted_as: parts.requests.route(&route.name),
                upstream: parts.upstreams.group(&route.upstream),
                answer: route.answer.clone(),
                by_method: by_method.contains(&spot(route)),
                path: route.path.clone(),
                rewrite: route.rewrite.clone(),
                host_header: route.host_header.clone(),
                own_hosts: route.own_hosts(),
                request_headers: route.request_headers.clone(),
                response_headers: route.response_headers.clone(),
                access: route.access.clone(),
                injected: InjectedHeaders::new(&route.headers),
                odd_names,
                allow_encoded_slashes: route.allow_encoded_slashes,
                trailers: route
                    .allow_trailers
                    .then(|| trailers(&firewall, odd_names, &route.request_headers)),
                max_body: route.max_body,
                activity: if route.counts_as_activity { Activity::Counts } else { Activity::Ignored },
                websocket_origins: route.websocket_origins.clone(),
            });
            if !routes.insert(&route.place(), target) {
                return Err(GatewayError::Tie(route.name.clone()));
            }
        }
        let Parts { sessions, login, upstreams: _, clock, random, requests } = parts;
        Ok(Self {
            routes,
            own_paths: OwnPaths::new(&settings.prefix),
            firewall,
            form_tokens: FormTokens::new(secret),
            pages: Pages::new(&settings.prefix)?,
            head: settings.head,
            trusted_proxies: settings.trusted_proxies.clone().into(),
            return_origins: settings.return_origins.clone(),
            clear_site_data: settings.clear_site_data,
            sessions,
            login,
            clock,
            random,
            requests,
        })
    }

    /// Where requests lead.
    pub fn routes(&self) -> &RouteTable<Arc<RouteTarget>> {
        &self.routes
    }

    /// What a tunnel keeps its session from idling out by.
    fn keep_alive(&self, activity: Activity) -> KeepAlive {
        KeepAlive {
            sessions: Arc::clone(&self.sessions),
            clock: Arc::clone(&self.clock),
            activity,
            counts: Arc::clone(&self.requests),
        }
    }
}

/// Which request trailers may pass where `odd` names do, or do not: what no field of the head could get past, no trailer can.
fn trailers(firewall: &Arc<HeaderFirewall>, odd: OddNames, rules: &HeaderRules) -> TrailerFilter {
    let (firewall, rules) = (Arc::clone(firewall), rules.clone());
    Arc::new(move |name| !firewall.refuses(name, odd) && !rules.decide(name))
}

/// Checked settings of the gateway itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The one reserved prefix, without a slash at the end. Default `/_auth`.
    pub prefix: String,
    /// The largest head that is read.
    pub head: HeadLimits,
    /// Whose forwarding headers count. Default nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins (`https://host[:port]`) that `return_to` may lead to besides the gateway's own.
    pub return_origins: Vec<String>,
    /// Whether logout sends Clear-Site-Data. Default true.
    pub clear_site_data: bool,
    /// The routes, in file order.
    pub routes: Vec<RouteSettings>,
}

/// One `[[routes]]` entry.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// What logs call it: `name`, or host and path.
    pub name: String,
    /// Exact host or `*.suffix`, lower case; `None` matches any host.
    pub host: Option<String>,
    /// Path prefix by segment, starting with `/`, without a slash at the end but for `/` itself; or a whole path.
    pub path: String,
    /// Whether `path` is the whole path. Default false.
    pub exact: bool,
    /// The methods it takes; empty for any, the default.
    pub methods: Vec<http::Method>,
    /// The upstreams; none where the route has an answer of its own.
    pub upstream: GroupSettings,
    /// What the route answers itself. Default nothing.
    pub answer: Option<RouteAnswer>,
    /// The exchange of its prefix for the upstream. Default none.
    pub rewrite: Option<PathRewrite>,
    /// The Host that the upstream gets. Default the client's.
    pub host_header: HostHeader,
    /// Changes to the fields of requests. Default none.
    pub request_headers: HeaderRules,
    /// Changes to the fields of responses. Default none.
    pub response_headers: HeaderRules,
    /// Who may.
    pub access: Access,
    /// The identity headers that the upstream receives.
    pub headers: HeaderPreset,
    /// Pass `%2F` and `%5C` in the path through. Default false.
    pub allow_encoded_slashes: bool,
    /// Pass header names with `_` or `.` through (never a look-alike of an identity header). Default false.
    pub allow_odd_header_names: bool,
    /// Pass request trailers on, identity headers and their look-alikes apart. Default false.
    pub allow_trailers: bool,
    /// The largest request body in bytes. Default none: bodies are passed on as they come and never kept.
    pub max_body: Option<u64>,
    /// Whether a request, or what a client sends into a tunnel, keeps its session from idling out. Default true.
    pub counts_as_activity: bool,
    /// Origins besides the host's own whose pages may open a WebSocket with the session cookie. Default none.
    pub websocket_origins: Vec<String>,
}

impl RouteSettings {
    fn place(&self) -> Place<'_> {
        Place { host: self.host.as_deref(), path: &self.path, exact: self.exact, methods: &self.methods }
    }

    fn own_hosts(&self) -> Vec<Box<str>> {
        match &self.host_header {
            HostHeader::Pass => Vec::new(),
            HostHeader::Upstream => {
                self.upstream.members.iter().map(|member| member.address.authority().into()).collect()
            }
            HostHeader::Named(name) => name.to_str().map(|name| vec![name.into()]).unwrap_or_default(),
        }
    }
}

/// Which names the identity headers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderPreset {
    /// `Remote-User`, `Remote-Name`, `Remote-Email`, `Remote-Groups`. The default.
    Remote,
    /// `X-Forwarded-User`, `-Preferred-Username`, `-Email`, `-Groups`.
    XForwarded,
    /// `X-Auth-Request-User`, `-Preferred-Username`, `-Email`, `-Groups`.
    XAuthRequest,
    /// Own names; an absent one is not sent.
    Own {
        /// For the user name.
        user: Option<http::HeaderName>,
        /// For the display name.
        name: Option<http::HeaderName>,
        /// For the e-mail address.
        email: Option<http::HeaderName>,
        /// For the groups, comma-joined.
        groups: Option<http::HeaderName>,
    },
    /// No identity headers; the client's are stripped all the same.
    None,
}
