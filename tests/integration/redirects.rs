//! Every redirect that the gateway makes, for every line of the corpus: raw, encoded once, encoded twice and repeated, by HTTP/1.1 and
//! HTTP/2. A browser's own parser (WHATWG) is the judge of where one leads (X12).

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::sync::LazyLock;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};
use url::Url;

use crate::support::asker::{Asker, NAVIGATION, OWN_FORM};
use crate::support::gateway::{PASSWORD, Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::wire::unescaped;

const HOST: &str = "app.test";
const LISTED: &str = "https://www.whitelisteddomain.tld";

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let text = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpora/open_redirects.txt")).unwrap();
    // One of them is empty.
    let lines: Vec<_> =
        text.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines.len(), 559);
    lines
});

fn encoded(bytes: &[u8]) -> Vec<u8> {
    percent_encode(bytes, NON_ALPHANUMERIC).to_string().into_bytes()
}

/// As it stands, encoded once, encoded twice.
fn forms(line: &[u8]) -> [Vec<u8>; 3] {
    let once = encoded(line);
    let twice = encoded(&once);
    [line.to_vec(), once, twice]
}

/// Asserts that a browser at `base` which is sent to `location` stays there, or goes to one of `others`.
#[track_caller]
fn stays(base: &str, location: &str, others: &[&str], what: &dyn std::fmt::Debug) {
    assert!(!location.starts_with("//") && !location.starts_with("/\\"), "{location:?} for {what:?}");
    assert!(!location.bytes().any(|b| b < b' ' || b == 0x7f), "{location:?} for {what:?}");
    let base = Url::parse(base).unwrap();
    let place = base.join(location).unwrap_or_else(|e| panic!("{e}: {location:?} for {what:?}"));
    let origin = place.origin().ascii_serialization();
    assert!(
        origin == base.origin().ascii_serialization() || others.contains(&origin.as_str()),
        "{location:?} leads to {origin} for {what:?}"
    );
}

fn gateway(upstream: &TestUpstream) -> TestGateway {
    let mut setup = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{0}\"]\n[[routes]]\npath = \"/staff\"\naccess = {{ groups = [\"staff\"] }}\nupstream = [\"{0}\"]\n",
        upstream.url()
    ))
    .both_protocols()
    .sections(&format!(
        "[login]\nreturn_origins = [\"{LISTED}\"]\n[login.throttle]\nper_account = 1000000\nper_source = 1000000\n"
    ));
    setup.store = "{ type = \"memory\" }";
    setup.start()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const OWN: &str = "http://app.test/_auth/login";

#[test]
fn the_login_page_keeps_only_targets_that_stay() {
    let gateway = gateway(&TestUpstream::start());
    for asker in &mut Asker::both(&gateway) {
        let mut shown = 0;
        for line in CORPUS.iter() {
            for (number, form) in forms(line).iter().enumerate() {
                let target = [b"/_auth/login?return_to=", form.as_slice()].concat();
                let answer = asker.get(HOST, &target, &NAVIGATION);
                assert!(number == 0 || answer.is_some(), "{}: {}", asker.protocol(), text(&target));
                if let Some(page) = answer.filter(|page| page.status == 200) {
                    stays(OWN, &page.form_field("return_to"), &[LISTED], &text(&target));
                    shown += 1;
                }
            }
            // Of two, whichever somebody looked at, neither counts.
            let once = encoded(line);
            for pair in [
                [b"return_to=/a&return_to=", &once[..]].concat(),
                [b"return_to=", &once[..], b"&return_to=/a"].concat(),
            ] {
                let target = [b"/_auth/login?", &pair[..]].concat();
                assert_eq!(asker.get(HOST, &target, &NAVIGATION).unwrap().status, 400, "{}", text(&target));
            }
        }
        assert!(shown >= 2 * CORPUS.len(), "{}: {shown} pages", asker.protocol());
    }
}

#[test]
fn a_login_leads_only_where_it_stays() {
    let gateway = gateway(&TestUpstream::start());
    for asker in &mut Asker::both(&gateway) {
        for line in CORPUS.iter() {
            for form in forms(line) {
                let body = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs([("username", "ada"), ("password", PASSWORD)])
                    .finish();
                let body = [body.as_bytes(), b"&return_to=", &encoded(&form)].concat();
                let answer = asker.ask("POST", HOST, b"/_auth/login", &OWN_FORM, &body).unwrap();
                assert_eq!(answer.status, 303, "{}: {}", asker.protocol(), text(&form));
                stays(OWN, answer.location(), &[LISTED], &text(&form));
            }
        }
    }
}

#[test]
fn a_repeated_target_in_a_form_is_refused_before_the_password_is_looked_at() {
    let gateway = gateway(&TestUpstream::start());
    for asker in &mut Asker::both(&gateway) {
        for line in CORPUS.iter() {
            let once = encoded(line);
            let body = [b"username=ada&password=x&return_to=/&return_to=", &once[..]].concat();
            let answer = asker.ask("POST", HOST, b"/_auth/login", &OWN_FORM, &body).unwrap();
            assert_eq!((answer.status, answer.header("location")), (400, None), "{}", text(line));
        }
    }
}

#[test]
fn a_logout_leads_to_our_own_page_whatever_it_is_asked_for() {
    let gateway = gateway(&TestUpstream::start());
    for asker in &mut Asker::both(&gateway) {
        for line in CORPUS.iter() {
            let once = encoded(line);
            let field = [b"return_to=", &once[..], b"&return_to=", &once[..]].concat();
            let target = [b"/_auth/logout?", &field[..]].concat();
            for (method, body) in [("POST", &field[..]), ("GET", b"")] {
                let answer = asker.ask(method, HOST, &target, &OWN_FORM, body).unwrap();
                assert_eq!(answer.status, 303);
                assert!(answer.location().starts_with("/_auth/login"), "{}", answer.location());
                stays(OWN, answer.location(), &[], &text(line));
            }
        }
    }
}

/// Requests whose target is made of a line, with what must be encoded as it is, and the line as a query.
fn targets(line: &[u8]) -> Vec<Vec<u8>> {
    let mut targets = Vec::new();
    for form in forms(line) {
        targets.push([b"/", &form[..]].concat());
        targets.push([b"/x?", &form[..]].concat());
        if form.starts_with(b"/") {
            targets.push(form);
        }
    }
    targets
}

#[test]
fn a_visitor_without_a_session_or_a_right_is_sent_to_a_login_that_leads_back_here() {
    let gateway = gateway(&TestUpstream::start());
    let mut browser = gateway.browser();
    browser.log_in("bob");
    let (name, value) = browser.session_cookie().unwrap();
    let cookie = format!("{name}={value}");
    let after = |login: &str| -> Option<String> {
        let url = Url::parse(OWN).unwrap().join(login).unwrap();
        url.query_pairs().find(|(key, _)| key == "return_to").map(|(_, value)| value.into_owned())
    };
    for asker in &mut Asker::both(&gateway) {
        let (mut sent, mut denied) = (0, 0);
        for target in CORPUS.iter().flat_map(|line| targets(line)) {
            if let Some(answer) = asker.get(HOST, &target, &NAVIGATION).filter(|a| a.status == 303) {
                stays(OWN, answer.location(), &[], &text(&target));
                assert!(answer.location().starts_with("/_auth/login"), "{}", answer.location());
                after(answer.location()).iter().for_each(|back| stays(OWN, back, &[], &text(&target)));
                sent += 1;
            }
            let staff = [b"/staff", &target[..]].concat();
            let fields = [("Cookie", cookie.as_str()), ("Accept", "text/html")];
            if let Some(page) = asker.get(HOST, &staff, &fields).filter(|a| a.status == 403) {
                let page = page.text();
                let link = page.split("class=\"button primary\" href=\"").nth(1).unwrap();
                let link = unescaped(link.split('"').next().unwrap());
                after(&link).iter().for_each(|back| stays(OWN, back, &[], &text(&staff)));
                denied += 1;
            }
        }
        assert!(sent > 1500 && denied > 1500, "{}: {sent} sent, {denied} denied", asker.protocol());
    }
}

#[test]
fn the_redirect_to_https_stays_on_the_host_that_a_route_serves() {
    let listen = r#"[{ address = "127.0.0.1:0", redirect_to_https = true },
        { address = "127.0.0.1:0", redirect_to_https = true, h2c = true, https_port = 8443 }]"#;
    let upstream = TestUpstream::start();
    let routes = format!("[[routes]]\nhost = \"{HOST}\"\nupstream = [\"{}\"]\n", upstream.url());
    let gateway = Setup::routes(routes).listen(listen).start();
    for (asker, base) in Asker::both(&gateway).iter_mut().zip(["https://app.test/", "https://app.test:8443/"])
    {
        let mut sent = 0;
        for target in CORPUS.iter().flat_map(|line| targets(line)) {
            if let Some(answer) = asker.get(HOST, &target, &[]).filter(|a| a.header("location").is_some()) {
                stays(base, answer.location(), &[], &text(&target));
                sent += 1;
            }
        }
        assert!(sent > 1500, "{}: {sent}", asker.protocol());
        for line in CORPUS.iter().filter_map(|line| std::str::from_utf8(line).ok()) {
            let answer = asker.get(line, "/", &[]);
            assert!(answer.is_none_or(|a| a.header("location").is_none()), "{line}");
        }
    }
    upstream.saw_nothing();
}

#[test]
fn a_redirect_route_leads_to_its_own_target_only() {
    let route = |host: &str, to: &str, more: &str| {
        format!("[[routes]]\nhost = \"{host}\"\naccess = \"public\"\nredirect = {{ to = \"{to}\" }}\n{more}")
    };
    let hosts = [
        ("whole.test", "https://new.test{path}{query}", ""),
        ("below.test", "https://new.test/x{path}{query}", ""),
        ("path.test", "/new{path}", ""),
        ("query.test", "/new{query}", ""),
        ("strip.test", "https://new.test{path}", "path = \"/x\"\nstrip_prefix = true\n"),
        ("named.test", "/a{path}{query}", "path = \"/x\"\nreplace_prefix = \"/y\"\n"),
    ];
    let gateway =
        Setup::routes(hosts.map(|(host, to, more)| route(host, to, more)).concat()).both_protocols().start();
    for asker in &mut Asker::both(&gateway) {
        for (host, ..) in hosts {
            let mut sent = 0;
            for target in CORPUS.iter().flat_map(|line| targets(line)) {
                let target =
                    if host.starts_with(['s', 'n']) { [b"/x", &target[..]].concat() } else { target };
                if let Some(answer) = asker.get(host, &target, &[]).filter(|a| a.header("location").is_some())
                {
                    stays(
                        &format!("http://{host}/"),
                        answer.location(),
                        &["https://new.test"],
                        &text(&target),
                    );
                    sent += 1;
                }
            }
            assert!(sent > 500, "{} {host}: {sent}", asker.protocol());
        }
    }
}

#[test]
fn the_slash_that_a_folder_gets_leads_to_that_folder() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (www, mut folders) = (folder.path().join("www"), BTreeSet::new());
    fs::create_dir(&www).unwrap();
    for line in CORPUS.iter() {
        // Each name that a line holds, in whatever depth.
        let decoded = percent_decode(line).decode_utf8_lossy().into_owned();
        let parts = decoded.split(['/', '\\', '?']).filter(|p| !p.is_empty() && !p.starts_with('.'));
        let fine = |p: &&str| p.len() < 200 && !p.contains('\0');
        let below: std::path::PathBuf = parts.filter(fine).collect();
        let _ = fs::create_dir_all(www.join(&below));
        folders.insert(below);
    }
    let mut setup =
        Setup::routes("[[routes]]\naccess = \"public\"\nstatic = { folder = \"www\" }\n").both_protocols();
    setup.folder = folder;
    let gateway = setup.start();
    for asker in &mut Asker::both(&gateway) {
        let mut sent = 0;
        for target in CORPUS.iter().flat_map(|line| targets(line)) {
            if let Some(answer) = asker.get(HOST, &target, &[]).filter(|a| a.header("location").is_some()) {
                stays("http://app.test/", answer.location(), &[], &text(&target));
                sent += 1;
            }
        }
        assert!(folders.len() > 20 && sent > 20, "{}: {sent} of {} folders", asker.protocol(), folders.len());
    }
}

#[test]
fn a_location_of_an_upstream_is_passed_on_as_it_is_or_made_to_lead_here() {
    let upstream = TestUpstream::with(|request, stream| {
        let say = request.header("say").unwrap_or_default().as_bytes();
        let location: Vec<u8> = percent_decode(say).collect();
        let head =
            [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ", &location[..], b"\r\n\r\n"].concat();
        stream.write_all(&head).map(|()| true)
    });
    let url = upstream.url();
    let route = |path: &str, more: &str| {
        format!("[[routes]]\npath = \"{path}\"\naccess = \"public\"\nupstream = [\"{url}\"]\n{more}\n")
    };
    let routes = route("/s", "strip_prefix = true\nhost_header = \"upstream\"")
        + &route("/r", "replace_prefix = \"/app\"\nhost_header = \"app.internal\"")
        + &route("/h", "host_header = \"upstream\"")
        + &route("/", "replace_prefix = \"/app\"");
    let gateway = Setup::routes(routes).both_protocols().start();
    for asker in &mut Asker::both(&gateway) {
        let mut changed = 0;
        for line in CORPUS.iter() {
            let own = [&url, "http://app.internal", "https://app.internal", "/app", "/app/", ""];
            for start in own.iter().map(|own| [own.as_bytes(), line].concat()) {
                let say = text(&encoded(&start));
                for path in ["/s/x", "/r/x", "/h/x", "/x"] {
                    let answer = asker.get(HOST, path, &[("Say", &say)]).unwrap();
                    upstream.next();
                    let sent = text(&start);
                    match answer.header("location") {
                        Some(location) if location != sent.trim() => {
                            stays("http://app.test/", location, &[], &(path, sent));
                            changed += 1;
                        }
                        _ => {}
                    }
                }
            }
        }
        assert!(changed > 1000, "{}: {changed}", asker.protocol());
    }
}
