//! What a route says of its upstreams: where they are, and how work is shared between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::HeaderName;

use super::address::{is_public, upstream_url};
use super::proxy::{self, Defaults};
use super::reader::{Field, Section};
use super::server::Server;
use super::upstream_tls::{self, Tls};
use crate::proxy::{
    Balance, GroupSettings, HealthSettings, MAX_MEMBERS, MemberSettings, Place, Scheme, UpstreamAddress,
    UpstreamTls,
};
use crate::server::ListenAddress;

const MEND: &str = "for example \"http://127.0.0.1:3000\"";
const LOOPBACK_4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const MEND_LIST: &str = "upstream = [\"http://127.0.0.1:3000\"]";

/// The upstreams of the route in `section`, `field` being the value of its `upstream`. `None` when there is no usable one.
pub(super) fn read(
    section: &mut Section<'_>,
    field: Option<&Field<'_>>,
    server: &Server,
    defaults: &Defaults,
) -> Option<GroupSettings> {
    let balance = section.take("balance").map_or(Some(Balance::default()), |f| balance(&f));
    let health = section.take("health").map_or(Some(None), |f| health(&f).map(Some));
    let ejection = section.take("ejection").map_or(defaults.ejection, |f| proxy::ejection(&f));
    let limits = proxy::of_a_route(section, &defaults.limits);
    let tls_field = section.take("upstream_tls");
    let tls = tls_field.as_ref().map(|f| upstream_tls::read(f, &defaults.base));
    let members = Members { server, defaults, tls };
    let members = members.all(field?, tls_field.as_ref());
    let (balance, health) = (balance?, health?);
    (!members.is_empty()).then_some(GroupSettings { members, balance, health, ejection, limits })
}

struct Members<'a> {
    server: &'a Server,
    defaults: &'a Defaults,
    /// The route's own, or that it has none that can be used.
    tls: Option<Option<Tls>>,
}

impl Members<'_> {
    fn all(mut self, field: &Field<'_>, tls_field: Option<&Field<'_>>) -> Vec<MemberSettings> {
        let mut members: Vec<MemberSettings> = Vec::new();
        let entries = field.list().unwrap_or_default();
        if field.list_is_empty() {
            field.error("`upstream` is empty", MEND_LIST);
        }
        if entries.len() > MAX_MEMBERS {
            let mend = format!("at most {MAX_MEMBERS}; put a load balancer of its own in front of more");
            field.error("`upstream` has too many entries", mend);
        }
        for entry in entries {
            let Some(member) = self.one(&entry) else { continue };
            if members.iter().any(|m| m.address == member.address) {
                entry
                    .error("this upstream is listed twice", "take one out; `weight` gives it a larger share");
            }
            members.push(member);
        }
        if !members.is_empty() && members.iter().all(|member| member.drain) {
            let what = "every upstream of this route is drained, so none takes requests";
            field.error(what, "leave one undrained");
        }
        if let Some(field) = tls_field
            && !members.is_empty()
            && !members.iter().any(|member| member.address.scheme == Scheme::Https)
        {
            field.warn("`upstream_tls` does nothing: no upstream of this route is https://", "take it out");
        }
        members
    }

    fn one(&mut self, entry: &Field<'_>) -> Option<MemberSettings> {
        if !entry.is_table() {
            let text = entry.expect("an address, or a table with its `url`", entry.as_text())?;
            let (address, tls) = self.address(entry, text)?;
            let max_connections = self.defaults.max_connections;
            return Some(MemberSettings { tls, max_connections, ..MemberSettings::new(address) });
        }
        let mut table = entry.table()?;
        let url = table.require("url", "url = \"http://127.0.0.1:3000\"");
        let weight = table.take("weight").map_or(Some(1), |f| f.number(1..=1000));
        let most = table.take("max_connections");
        let drain = table.take("drain").map_or(Some(false), |f| f.boolean());
        table.finish();
        let url = url?;
        let (address, tls) = self.address(&url, url.text()?)?;
        let max_connections = match most {
            Some(field) => Some(proxy::most_connections(&field)?),
            None => self.defaults.max_connections,
        };
        let weight = u32::try_from(weight?).ok()?;
        Some(MemberSettings { address, tls, weight, max_connections, drain: drain?, title_case: false })
    }

    fn address(&mut self, entry: &Field<'_>, text: &str) -> Option<(UpstreamAddress, Option<UpstreamTls>)> {
        if text.contains('@') {
            entry.mask();
        }
        let address = upstream_url(text, &self.defaults.base).map_err(|what| entry.error(what, MEND)).ok()?;
        judge(entry, &address, self.server);
        let (Scheme::Https, Place::Tcp { host, .. }) = (address.scheme, &address.place) else {
            return Some((address, None));
        };
        // `None` behind it: said already.
        let tls = self.tls.get_or_insert_with(|| upstream_tls::usual(entry)).as_ref()?;
        let tls = tls.client.for_name(tls.server_name.as_deref().unwrap_or(host));
        if tls.is_none() {
            let mend = "name what it is for: upstream_tls = { server_name = \"app.internal\" }";
            entry.error("no certificate can be for this host", mend);
        }
        Some((address, Some(tls?)))
    }
}

fn judge(entry: &Field<'_>, address: &UpstreamAddress, server: &Server) {
    let mend = "name the address that the app listens on";
    if server.settings.listen.iter().any(|listener| leads_to(&address.place, &listener.address)) {
        entry.error("this upstream is the gateway itself", mend);
    }
    // It asks nobody who he is, and the admin socket lets in whoever the gateway runs as.
    if server.operators.iter().any(|own| leads_to(&address.place, own)) {
        entry.error("this upstream is what the gateway answers its operator on (`[management]`)", mend);
    }
    let Place::Tcp { host, .. } = &address.place else { return };
    if address.scheme != Scheme::Https && ip_of(host).is_some_and(is_public) {
        let what = "requests and identities travel to this public address without TLS";
        entry.warn(what, "use https, a private address, or a tunnel");
    }
}

/// Whether a connection to `place` comes to `listener`.
fn leads_to(place: &Place, listener: &ListenAddress) -> bool {
    match (listener, place) {
        (ListenAddress::Unix(own), Place::Unix(path)) => own == path,
        (ListenAddress::Tcp(tcp), Place::Tcp { host, port }) => {
            let own = tcp.ip().to_canonical();
            // A name for this machine may stand for either address, and a connection to none goes to loopback.
            let ips = match ip_of(host).map(|ip| ip.to_canonical()) {
                _ if &**host == "localhost" => [Some(LOOPBACK_4), Some(LOOPBACK_6)],
                Some(ip) if ip.is_unspecified() => {
                    [Some(if ip.is_ipv4() { LOOPBACK_4 } else { LOOPBACK_6 }), None]
                }
                ip => [ip, None],
            };
            let same = |ip: IpAddr| own == ip || (own.is_unspecified() && ip.is_loopback());
            tcp.port() == *port && ips.into_iter().flatten().any(same)
        }
        _ => false,
    }
}

fn ip_of(host: &str) -> Option<IpAddr> {
    if host == "localhost" { Some(LOOPBACK_4) } else { host.parse().ok() }
}

fn health(field: &Field<'_>) -> Option<HealthSettings> {
    let (mut table, usual) = (field.table()?, HealthSettings::default());
    let path = table.require("path", "health = { path = \"/health\" }");
    let mut span = |key, usual, most| match table.take(key) {
        Some(field) => field.duration(Duration::from_millis(100)..=most),
        None => Some(usual),
    };
    let interval = span("interval", usual.interval, Duration::from_secs(3600));
    let timeout = span("timeout", usual.timeout, Duration::from_secs(300));
    let mut count = |key, usual| match table.take(key) {
        Some(field) => field.number(1..=1000).and_then(|n| u32::try_from(n).ok()),
        None => Some(usual),
    };
    let healthy_after = count("healthy_after", usual.healthy_after);
    let unhealthy_after = count("unhealthy_after", usual.unhealthy_after);
    table.finish();
    let path = path?;
    let text = path.text()?;
    if !text.starts_with('/') || text.parse::<http::uri::PathAndQuery>().is_err() {
        path.error(format!("{text:?} is not a path"), "it starts with /, for example \"/health\"");
        return None;
    }
    Some(HealthSettings {
        path: text.into(),
        interval: interval?,
        timeout: timeout?,
        healthy_after: healthy_after?,
        unhealthy_after: unhealthy_after?,
    })
}

fn balance(field: &Field<'_>) -> Option<Balance> {
    if !field.is_table() {
        field.expect("a word, or { hash_cookie = \"…\" } or { hash_header = \"…\" }", field.as_text())?;
        return match field.word(&[("least_requests", 0), ("round_robin", 1), ("random_two", 2)])? {
            0 => Some(Balance::LeastRequests),
            1 => Some(Balance::RoundRobin),
            _ => Some(Balance::RandomTwo),
        };
    }
    let mut table = field.table()?;
    let (cookie, header) = (table.take("hash_cookie"), table.take("hash_header"));
    table.finish();
    match (cookie, header) {
        (Some(cookie), None) => {
            let name = cookie.text()?;
            let plain = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
            if name.is_empty() || !name.bytes().all(plain) {
                cookie.error(format!("{name:?} is not the name of a cookie"), "for example \"app_session\"");
                return None;
            }
            Some(Balance::HashCookie(name.into()))
        }
        (None, Some(header)) => {
            let name = header.text()?;
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok().map(Balance::HashHeader);
            if parsed.is_none() {
                header.error(format!("{name:?} is not the name of a field"), "for example \"X-Tenant\"");
            }
            parsed
        }
        _ => {
            field.error(
                "`balance` names neither one cookie nor one field",
                "{ hash_cookie = \"app_session\" }",
            );
            None
        }
    }
}
