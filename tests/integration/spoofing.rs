//! Identity headers that a client makes up (X1, X3), by every way in and on every kind of answer: every name that carries an identity
//! or that the gateway sets, in every spelling that some app folds to it. All forged values say so, and none of them may ever reach
//! an upstream, in a field, a trailer or a body's framing, nor come back to the client.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::PATIENCE;
use crate::support::dice::Dice;
use crate::support::frames::{Frames, field};
use crate::support::gateway::Setup;
use crate::support::strict::{self, Message, folded};
use crate::support::upstream::{TestUpstream, echo};
use crate::support::ways::{Ask, Doors, HOST, Way};

const FORGED: &str = "forged";
/// Identity headers of all presets, and the route's own.
#[rustfmt::skip]
const IDENTITY: &[&str] = &[
    "Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "X-Remote-User", "X-Remote-Groups", "X-Forwarded-User", "X-Forwarded-Email",
    "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Auth-Request-User", "X-Auth-Request-Email",
    "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username", "X-Fluidgate-Assertion", "X-My-User", "X-My-Groups",
];
/// Fields by which an app may take another address, host, target or proxy for the real one.
#[rustfmt::skip]
const ROUTING: &[&str] = &[
    "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Ssl",
    "X-Forwarded-Scheme", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-By", "Forwarded", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL",
    "X-Original-Host", "X-Client-IP", "True-Client-IP", "Client-IP", "X-Cluster-Client-IP", "X-Url-Scheme", "Front-End-Https",
    "X-HTTP-Host-Override", "X-Request-Id", "Proxy", "Proxy-Authorization", "Proxy-Connection",
];
/// What a name may hold beside letters and digits; `-` is one of them.
const SIGNS: &[u8] = b"_.!#$%&'*+^|~`-";
/// A request may have a hundred fields.
const FIELDS: usize = 80;

/// Every name in many spellings, in lists that fit into a request.
fn forgeries() -> Vec<Vec<String>> {
    let mut dice = Dice::new(4);
    let mut names: Vec<String> = Vec::new();
    for name in IDENTITY.iter().chain(ROUTING) {
        names.extend([(*name).to_owned(), name.to_lowercase(), name.to_uppercase(), (*name).to_owned()]);
        for sign in SIGNS {
            names.push(name.replace('-', &char::from(*sign).to_string()));
        }
        for _ in 0..5 {
            let mixed = name.bytes().map(|byte| match byte {
                b'-' => SIGNS[dice.below(SIGNS.len())],
                _ if dice.once_in(2) => byte.to_ascii_uppercase(),
                _ => byte.to_ascii_lowercase(),
            });
            names.push(String::from_utf8(mixed.collect()).unwrap());
        }
    }
    dice.shuffle(&mut names);
    println!("FLUIDGATE_SEED={}: {} names", dice.seed(), names.len());
    names.chunks(FIELDS).map(<[String]>::to_vec).collect()
}

/// Upstreams that answer, that break the second request of a connection, that break every one, and that answer early.
struct Upstreams {
    well: TestUpstream,
    breaks_later: TestUpstream,
    breaks: TestUpstream,
    early: TestUpstream,
}

impl Upstreams {
    fn start() -> Self {
        let asked = AtomicUsize::new(0);
        Self {
            well: TestUpstream::echoing_targets(),
            breaks_later: TestUpstream::with(move |request, stream| {
                // Every other one is broken off, whatever connection it comes on.
                let answers = asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
                if answers { stream.write_all(echo(request).as_bytes()).map(|()| true) } else { Ok(false) }
            }),
            breaks: TestUpstream::with(|_, _| Ok(false)),
            early: TestUpstream::at_the_head(|request, stream| {
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
                stream.write_all(echo(request).as_bytes()).map(|()| true)
            }),
        }
    }

    fn routes(&self) -> String {
        let route = |path: &str, upstream: &TestUpstream, lines: &str| {
            format!("[[routes]]\npath = \"{path}\"\nupstream = [\"{}\"]\n{lines}\n", upstream.url())
        };
        let own = |path: &str, lines: &str| {
            format!("[[routes]]\npath = \"{path}\"\naccess = \"public\"\n{lines}\n")
        };
        let public = "access = \"public\"";
        [
            route("/open", &self.well, public),
            route("/open/trailers", &self.well, "access = \"public\"\nallow_trailers = true"),
            route("/prot", &self.well, ""),
            route("/prot/forwarded", &self.well, "headers = \"x-forwarded\""),
            route("/prot/request", &self.well, "headers = \"x-auth-request\""),
            route("/prot/own", &self.well, "headers = { user = \"X-My-User\", groups = \"X-My-Groups\" }"),
            route("/prot/none", &self.well, "headers = \"none\""),
            route("/prot/odd", &self.well, "allow_odd_header_names = true\nallow_trailers = true"),
            route("/prot/later", &self.breaks_later, ""),
            route("/prot/breaks", &self.breaks, ""),
            route("/prot/early", &self.early, ""),
            format!(
                "[[routes]]\npath = \"/prot/members\"\nupstream = [\"{}\", \"{}\"]\nbalance = \"round_robin\"\n",
                self.breaks.url(),
                self.well.url()
            ),
            own("/moved", "redirect = { to = \"/open{path}{query}\" }"),
            own("/fixed", "respond = { status = 200, body = \"fixed\" }"),
        ]
        .concat()
    }

    fn into_messages(self) -> Vec<Message> {
        let all = [self.well, self.breaks_later, self.breaks, self.early].map(TestUpstream::into_tapes);
        let tapes = all.into_iter().flatten();
        tapes
            .flat_map(|tape| {
                let text = String::from_utf8_lossy(&tape).to_lowercase();
                assert!(!text.contains(FORGED), "{text}");
                strict::messages(&tape).unwrap()
            })
            .collect()
    }
}

/// What an upstream is to hear of ada on the route of this path.
fn expected(target: &str) -> Vec<(&'static str, &'static str)> {
    let ada = target.ends_with("/ada");
    match target {
        _ if !ada => vec![],
        _ if target.starts_with("/prot/none") => vec![],
        _ if target.starts_with("/prot/own") => vec![("x-my-groups", "staff,wiki"), ("x-my-user", "ada")],
        _ if target.starts_with("/prot/forwarded") => vec![
            ("x-forwarded-email", "ada@example.com"),
            ("x-forwarded-groups", "staff,wiki"),
            ("x-forwarded-preferred-username", "ada"),
            ("x-forwarded-user", "ada"),
        ],
        _ if target.starts_with("/prot/request") => vec![
            ("x-auth-request-email", "ada@example.com"),
            ("x-auth-request-groups", "staff,wiki"),
            ("x-auth-request-preferred-username", "ada"),
            ("x-auth-request-user", "ada"),
        ],
        _ => vec![
            ("remote-email", "ada@example.com"),
            ("remote-groups", "staff,wiki"),
            ("remote-name", "Ada Lovelace"),
            ("remote-user", "ada"),
        ],
    }
}

fn identity_of(message: &Message) -> Vec<(String, String)> {
    let known: Vec<String> = IDENTITY.iter().map(|name| folded(name)).collect();
    let mut found: Vec<_> = message
        .fields
        .iter()
        .map(|(name, value)| (folded(name), String::from_utf8_lossy(value).into_owned()))
        .filter(|(name, _)| known.contains(name))
        .collect();
    found.sort();
    found
}

/// A request with forged fields, before and behind everything else, which its own Connection field nominates away.
fn forged(way: Way, method: &str, target: &str, names: &[String], cookie: Option<&str>) -> Ask {
    let (first, second) = names.split_at(names.len() / 2);
    let mut ask = Ask::new(method, target);
    // HTTP/2 has no such field, and refuses a request for it.
    let may = |name: &&String| way != Way::Http2 || !name.eq_ignore_ascii_case("proxy-connection");
    for name in first.iter().filter(may) {
        ask = ask.field(name, FORGED);
    }
    if let Some(cookie) = cookie {
        ask = ask.field("Cookie", cookie);
    }
    if way != Way::Http2 {
        ask = ask.field(
            "Connection",
            "close, Remote-User, x-forwarded-for, X-Real-IP, REMOTE-GROUPS, x-my-user, x-request-id, host",
        );
    }
    for name in second.iter().filter(may) {
        ask = ask.field(name, FORGED);
    }
    ask
}

/// Method, target, session, whether there is a body, and the statuses that may be the answer's.
type Kind<'a> = (&'a str, &'a str, Option<&'a str>, bool, &'a [u16]);

fn ask_everything(doors: &Doors, way: Way, cookie: &str, names: &[String]) {
    let ada = Some(cookie);
    let kinds: &[Kind<'_>] = &[
        ("GET", "/open/nobody", None, false, &[200]),
        ("HEAD", "/open/nobody", None, false, &[200]),
        ("OPTIONS", "/open/nobody", None, false, &[200]),
        ("POST", "/open/trailers/nobody", None, true, &[200]),
        ("GET", "/open/ada", ada, false, &[200]),
        ("GET", "/prot/nobody", None, false, &[401]),
        ("OPTIONS", "/prot/nobody", None, false, &[401]),
        ("POST", "/prot/nobody", None, true, &[401]),
        ("GET", "/prot/ada", ada, false, &[200]),
        ("HEAD", "/prot/ada", ada, false, &[200]),
        ("OPTIONS", "/prot/ada", ada, false, &[200]),
        ("POST", "/prot/ada", ada, true, &[200]),
        ("DELETE", "/prot/forwarded/ada", ada, false, &[200]),
        ("GET", "/prot/request/ada", ada, false, &[200]),
        ("GET", "/prot/own/ada", ada, false, &[200]),
        ("GET", "/prot/none/ada", ada, false, &[200]),
        ("POST", "/prot/odd/ada", ada, true, &[200]),
        ("GET", "/prot/later/ada", ada, false, &[200, 502]),
        ("GET", "/prot/later/ada", ada, false, &[200, 502]),
        ("GET", "/prot/members/ada", ada, false, &[200, 502]),
        ("POST", "/prot/breaks/ada", ada, true, &[502]),
        ("POST", "/prot/early/ada", ada, true, &[200]),
        ("GET", "/moved/x", None, false, &[302, 307, 308]),
        ("GET", "/fixed", ada, false, &[200]),
        ("GET", "/_auth/login", None, false, &[200]),
        ("GET", "/_auth/whoami", ada, false, &[200]),
        ("GET", "/prot/../x", ada, false, &[400]),
    ];
    for (method, target, cookie, body, statuses) in kinds {
        let mut ask = forged(way, method, target, names, *cookie);
        if *body {
            let trailers: Vec<(&str, &str)> = names
                .iter()
                .map(|name| (name.as_str(), FORGED))
                .filter(|(name, _)| !name.to_lowercase().contains("connection"))
                .collect();
            ask = ask.field("Trailer", names[..20].join(", ")).body("body", &trailers);
        }
        if *method == "OPTIONS" {
            ask = ask.field("Origin", "https://evil.test").field("Access-Control-Request-Method", "PUT");
        }
        let answer = doors
            .ask(way, &ask)
            .unwrap_or_else(|| panic!("{way:?} {method} {target}: no answer to {names:?}"));
        assert!(statuses.contains(&answer.status), "{way:?} {method} {target}: {answer:?}");
        assert!(!answer.body.contains(FORGED), "{way:?} {method} {target}: {answer:?}");
    }
    open_websocket(doors, way, cookie, names);
}

/// A WebSocket, which over HTTP/2 begins in a way of its own. The upstream answers it with something else.
fn open_websocket(doors: &Doors, way: Way, cookie: &str, names: &[String]) {
    let ask = forged(way, "GET", "/prot/socket/ada", names, Some(cookie))
        .field("Origin", format!("https://{HOST}"));
    if way == Way::Http2 {
        let mut frames = Frames::over(doors.stream(way, PATIENCE));
        let pseudo = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", "/prot/socket/ada"),
            (":authority", HOST),
        ];
        let mut fields: Vec<_> = pseudo.map(|(name, value)| field(name, value)).into();
        fields.extend(ask.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
        frames.headers(1, &fields, false);
        assert_eq!(frames.fates(&[1])[&1].status, Some(502), "{way:?}");
        return;
    }
    let mut ask = ask;
    ask.fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"connection"));
    let ask = ask
        .field("Connection", "Upgrade, Remote-User")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(doors.status(way, &ask), Some(200), "{way:?}");
}

#[test]
fn no_spelling_of_an_identity_that_a_client_sends_reaches_an_upstream_on_any_kind_of_request() {
    let upstreams = Upstreams::start();
    let doors = Doors::of(Setup::routes(upstreams.routes()));
    let cookie = doors.signed_in("ada");
    let forgeries = forgeries();
    std::thread::scope(|scope| {
        for way in Way::ALL {
            let (doors, cookie, forgeries) = (&doors, &cookie, &forgeries);
            scope.spawn(move || forgeries.iter().for_each(|names| ask_everything(doors, way, cookie, names)));
        }
    });
    drop(doors);
    let messages = upstreams.into_messages();
    println!("{} requests reached the upstreams", messages.len());
    for message in &messages {
        let found = identity_of(message);
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, expected(&message.target), "{message:?}");
        assert!(message.trailers.is_empty(), "{message:?}");
    }
    for target in [
        "/open/nobody",
        "/open/ada",
        "/prot/ada",
        "/prot/odd/ada",
        "/prot/breaks/ada",
        "/prot/early/ada",
        "/prot/members/ada",
        "/prot/later/ada",
    ] {
        assert!(messages.iter().any(|message| message.target == target), "{target} was never reached");
    }
    assert!(
        ["HEAD", "OPTIONS", "DELETE"]
            .iter()
            .all(|method| messages.iter().any(|message| message.method == *method))
    );
    assert!(!messages.iter().any(|message| message.target == "/prot/nobody"));
}

#[test]
fn a_trusted_proxy_has_no_word_on_who_somebody_is_or_what_is_asked_for() {
    let upstream = TestUpstream::echoing_targets();
    let route = |lines: &str| format!("[[routes]]\nupstream = [\"{}\"]\n{lines}\n", upstream.url());
    let own = "path = \"/own\"\nheaders = { user = \"X-My-User\", groups = \"X-My-Groups\" }";
    let setup = Setup::routes(route("allow_odd_header_names = true") + &route(own));
    let doors = Doors::of(setup.server("trusted_proxies = [\"127.0.0.0/8\"]\n"));
    let cookie = doors.signed_in("ada");
    let targets = ["x-original-url", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-method"];
    let known: Vec<String> = IDENTITY.iter().chain(&targets).map(|name| folded(name)).collect();
    for names in forgeries() {
        let names: Vec<String> = names.into_iter().filter(|name| known.contains(&folded(name))).collect();
        let ask = forged(Way::Http1, "GET", "/ada", &names, Some(&cookie));
        assert_eq!(doors.status(Way::Http1, &ask), Some(200));
    }
    drop(doors);
    for tape in upstream.into_tapes() {
        let text = String::from_utf8_lossy(&tape).to_lowercase();
        assert!(!text.contains(FORGED), "{text}");
        for message in strict::messages(&tape).unwrap() {
            assert_eq!(message.header("remote-user"), Some("ada"));
        }
    }
}

#[test]
fn no_look_alike_stands_beside_a_field_that_a_route_sets() {
    let upstream = TestUpstream::echoing_targets();
    let doors = Doors::of(Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\nrequest_headers = {{ set = {{ X-Role = \"guest\" }}, remove = [\"X-Debug\"] }}\n",
        upstream.url()
    )));
    for way in Way::ALL {
        for name in ["X-Role", "X_Role", "x.role", "X~ROLE", "X-Debug", "X_Debug", "x.debug"] {
            assert_eq!(doors.status(way, &Ask::get("/").field(name, "admin")), Some(200));
            let seen = upstream.next();
            let roles: Vec<_> = seen
                .headers
                .iter()
                .filter(|(name, _)| ["x-role", "x-debug"].contains(&&*folded(name)))
                .collect();
            assert_eq!(roles, [&("x-role".to_owned(), "guest".to_owned())], "{way:?} {name}");
        }
    }
}

#[test]
fn no_trailer_says_what_a_route_sets_or_takes_out() {
    let upstream = TestUpstream::echoing_targets();
    let doors = Doors::of(Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\nallow_trailers = true\n\
         request_headers = {{ set = {{ X-Role = \"guest\" }}, remove = [\"X-Debug\"], add = {{ X-Tag = \"b\" }} }}\n",
        upstream.url()
    )));
    let names = ["X-Role", "X_Role", "x.role", "X~ROLE", "X-Debug", "X_Debug", "X-Tag", "X-Roles"];
    for way in Way::ALL {
        let trailers = names.map(|name| (name, "admin"));
        let ask = Ask::new("POST", "/").field("Trailer", names.join(", ")).body("body", &trailers);
        assert_eq!(doors.status(way, &ask), Some(200), "{way:?}");
    }
    drop(doors);
    let tapes = upstream.into_tapes();
    let messages: Vec<_> = tapes.iter().flat_map(|tape| strict::messages(tape).unwrap()).collect();
    assert_eq!(messages.len(), Way::ALL.len());
    for message in messages {
        let mut passed: Vec<_> = message.trailers.iter().map(|(name, _)| name.to_lowercase()).collect();
        passed.sort();
        assert_eq!(passed, ["x-roles", "x-tag"], "{message:?}");
        assert_eq!(message.header("x-role"), Some("guest"));
    }
}
