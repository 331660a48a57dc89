//! Many requests on one connection, which remembers its last cookie: each is judged by what holds at its own moment.

use std::io::Write;
use std::time::Duration;

use http::Method;

use crate::support::browser::TestBrowser;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::h2::{Http2Client, Http2Stream, request};
use crate::support::upstream::TestUpstream;
use crate::support::wire::Wire;

const IDLE: Duration = Duration::from_secs(7200);

/// One connection, and what is asked on it.
struct Kept<'a> {
    wire: Wire,
    gateway: &'a TestGateway,
    upstream: &'a TestUpstream,
}

impl<'a> Kept<'a> {
    fn new(gateway: &'a TestGateway, upstream: &'a TestUpstream) -> Self {
        Self { wire: gateway.wire(), gateway, upstream }
    }

    /// Who the upstream sees, and its Cookie field; the status when it sees nobody.
    fn ask(&mut self, fields: &[&str]) -> Result<(String, Option<String>), u16> {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.gateway.address()));
        match self.wire.receive().unwrap().status {
            200 => {
                let seen = self.upstream.next();
                let cookie = seen.header("cookie").map(str::to_owned);
                Ok((seen.header("remote-user").unwrap_or_default().to_owned(), cookie))
            }
            status => Err(status),
        }
    }

    fn user(&mut self, fields: &[&str]) -> Result<String, u16> {
        self.ask(fields).map(|(user, _)| user)
    }
}

fn signed_in(gateway: &TestGateway, user: &str) -> (TestBrowser, String) {
    let mut browser = gateway.browser();
    browser.log_in(user);
    let (name, value) = browser.session_cookie().unwrap();
    (browser, format!("Cookie: {name}={value}"))
}

fn is(user: &str) -> Result<String, u16> {
    Ok(user.to_owned())
}

#[test]
fn a_logout_elsewhere_a_limit_and_a_removed_user_count_on_the_next_request() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let ((mut ada, adas), (_bob, bobs), (_, late)) =
        (signed_in(&gateway, "ada"), signed_in(&gateway, "bob"), signed_in(&gateway, "ada"));
    let mut kept: Vec<_> = (0..3).map(|_| Kept::new(&gateway, &upstream)).collect();
    for (kept, (cookie, user)) in kept.iter_mut().zip([(&adas, "ada"), (&bobs, "bob"), (&late, "ada")]) {
        assert_eq!((kept.user(&[cookie]), kept.user(&[cookie])), (is(user), is(user)));
    }
    ada.log_out();
    assert_eq!(kept[0].user(&[&adas]), Err(401), "logged out");
    gateway.change_users(|users| users.replace("[users.bob]", "[users.rob]"));
    assert!(gateway.reload());
    assert_eq!(kept[1].user(&[&bobs]), Err(401), "removed");
    gateway.advance(IDLE);
    assert_eq!(kept[2].user(&[&late]), Err(401), "idle");
    assert_eq!(kept[2].user(&[&late]), Err(401), "for good");
}

#[test]
fn requests_of_a_remembered_cookie_are_activity_and_see_the_user_as_they_are_now() {
    let upstream = TestUpstream::start();
    let routes =
        format!("[[routes]]\nupstream = [\"{}\"]\naccess = {{ groups = [\"staff\"] }}\n", upstream.url());
    let gateway = Setup::routes(routes).start();
    let (_, adas) = signed_in(&gateway, "ada");
    let mut kept = Kept::new(&gateway, &upstream);
    for _ in 0..3 {
        assert_eq!(kept.user(&[&adas]), is("ada"));
        gateway.advance(IDLE - Duration::from_secs(1));
    }
    gateway.change_users(|users| users.replace("[\"staff\", \"wiki\"]", "[\"wiki\"]"));
    assert!(gateway.reload());
    assert_eq!(kept.user(&[&adas]), Err(403));
}

#[test]
fn another_cookie_none_and_two_are_told_apart_in_any_order() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let ((_, adas), (_, bobs)) = (signed_in(&gateway, "ada"), signed_in(&gateway, "bob"));
    let mut kept = Kept::new(&gateway, &upstream);
    let seen = |user: &str, cookie: Option<&str>| Ok((user.to_owned(), cookie.map(str::to_owned)));
    for _ in 0..2 {
        assert_eq!(kept.ask(&[&adas]), seen("ada", None));
        assert_eq!(kept.ask(&[&bobs]), seen("bob", None));
        assert_eq!(kept.ask(&[]), Err(401));
        assert_eq!(kept.ask(&[&format!("{adas}; theme=dark")]), seen("ada", Some("theme=dark")));
        assert_eq!(kept.ask(&[&format!("{adas}; theme=dark")]), seen("ada", Some("theme=dark")));
        assert_eq!(kept.ask(&[&format!("{adas}; theme=light")]), seen("ada", Some("theme=light")));
        assert_eq!(kept.ask(&[&adas, "Cookie: theme=dark"]), seen("ada", Some("theme=dark")));
        assert_eq!(kept.ask(&[&adas, &bobs]), Err(401), "two sessions are none");
        assert_eq!(kept.ask(&[&adas, "Connection: cookie"]), seen("ada", None));
    }
}

#[test]
fn a_cookie_of_one_scheme_is_not_remembered_for_the_other() {
    let upstream = TestUpstream::start();
    let gateway = Setup::protecting(&upstream).server("trusted_proxies = [\"127.0.0.1/32\"]\n").start();
    let (_, plain) = signed_in(&gateway, "ada");
    let mut kept = Kept::new(&gateway, &upstream);
    for _ in 0..2 {
        assert_eq!(kept.user(&[&plain]), is("ada"));
        assert_eq!(kept.user(&[&plain, "X-Forwarded-Proto: https"]), Err(401));
    }
}

#[test]
fn requests_of_one_connection_for_several_hosts_and_users_never_mix() {
    let (wiki, files) = (TestUpstream::start(), TestUpstream::start());
    let gateway = Setup::routes(format!(
        "[[routes]]\nhost = \"wiki.test\"\nupstream = [\"{}\"]\naccess = {{ groups = [\"staff\"] }}\n\
         [[routes]]\nhost = \"files.test\"\nupstream = [\"{}\"]\naccess = \"public\"\nheaders = \"x-forwarded\"\n\
         [[routes]]\nupstream = [\"{}\"]\n",
        wiki.url(),
        files.url(),
        wiki.url()
    ))
    .start();
    let ((_, adas), (_, bobs)) = (signed_in(&gateway, "ada"), signed_in(&gateway, "bob"));
    let mut wire = gateway.wire();
    let mut ask = |host: &str, cookie: &str| {
        wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n"));
        wire.receive().unwrap().status
    };
    let (adas, bobs) = (format!("{adas}\r\n"), format!("{bobs}\r\n"));
    for _ in 0..3 {
        assert_eq!(ask("wiki.test", &adas), 200);
        assert_eq!(wiki.next().header("remote-user"), Some("ada"));
        assert_eq!(ask("wiki.test", &bobs), 403);
        assert_eq!(ask("files.test", &bobs), 200);
        let seen = files.next();
        assert_eq!((seen.header("x-forwarded-user"), seen.header("remote-user")), (Some("bob"), None));
        assert_eq!(ask("files.test", ""), 200);
        let seen = files.next();
        assert_eq!((seen.header("x-forwarded-user"), seen.header("cookie")), (None, None));
        assert_eq!(ask("wiki.test", ""), 401);
    }
    wiki.saw_nothing();
    files.saw_nothing();
}

/// A stream of one HTTP/2 connection that is open, and what its request must come to.
struct Asked {
    stream: Http2Stream,
    host: &'static str,
    who: Option<&'static str>,
}

#[test]
fn streams_of_one_http2_connection_for_several_hosts_and_users_never_mix() {
    // Answers with whom it was told of and the host, so that each stream shows whose answer it got.
    let upstream = TestUpstream::with(|request, stream| {
        let user = request.header("remote-user").or(request.header("x-forwarded-user")).unwrap_or("nobody");
        let body = format!("{user} {}", request.header("host").unwrap_or_default());
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).map(|()| true)
    });
    let gateway = Setup::routes(format!(
        "[[routes]]\nhost = \"wiki.test\"\nupstream = [\"{0}\"]\naccess = {{ groups = [\"staff\"] }}\n\
         [[routes]]\nhost = \"files.test\"\nupstream = [\"{0}\"]\naccess = \"public\"\nheaders = \"x-forwarded\"\n\
         [[routes]]\nupstream = [\"{0}\"]\n",
        upstream.url()
    ))
    .both_protocols()
    .start();
    let ((mut ada, adas), (_, bobs)) = (signed_in(&gateway, "ada"), signed_in(&gateway, "bob"));
    let value = |cookie: &str| cookie.strip_prefix("Cookie: ").unwrap().to_owned();
    let users = [("", None), (&*value(&adas), Some("ada")), (&*value(&bobs), Some("bob"))]
        .map(|(cookie, user)| (cookie.to_owned(), user));
    let mut client = Http2Client::with_prior_knowledge(gateway.listener(1));
    let mut ask = |host: &'static str, (cookie, who): &(String, Option<&'static str>), crumbs: bool| {
        let uri = format!("http://{host}/");
        // A browser may send each cookie as a field of its own.
        let fields = [("cookie", "theme=dark"), ("cookie", cookie.as_str())];
        let fields = match (cookie.is_empty(), crumbs) {
            (true, _) => &fields[..1],
            (false, true) => &fields[..],
            (false, false) => &fields[1..],
        };
        Asked { stream: client.open(request(Method::GET, &uri, fields), true), host, who: *who }
    };
    let expected = |host: &str, who: Option<&str>| match (host, who) {
        ("wiki.test", Some("ada")) | ("files.test" | "all.test", Some(_)) => {
            (200, format!("{} {host}", who.unwrap()))
        }
        ("files.test", None) => (200, format!("nobody {host}")),
        ("wiki.test", Some(_)) => (403, String::new()),
        _ => (401, String::new()),
    };
    for round in 0..6 {
        // All at once, in another order each time.
        let mut open: Vec<_> = (0..27)
            .map(|n| {
                let n = (n * 7 + round * 5) % 27;
                ask(["wiki.test", "files.test", "all.test"][n % 3], &users[n / 3 % 3], n % 2 == 0)
            })
            .collect();
        open.reverse();
        for Asked { stream, host, who } in open {
            let answer = stream.answer();
            let (status, body) = expected(host, who);
            assert_eq!(answer.status, status, "{who:?} at {host}");
            assert!(status != 200 || answer.text() == body, "{who:?} at {host} got {}", answer.text());
        }
    }
    // And a logout elsewhere counts on the next stream.
    ada.log_out();
    assert_eq!(ask("all.test", &users[1], false).stream.answer().status, 401);
    assert_eq!(ask("all.test", &users[2], false).stream.answer().text(), "bob all.test");
}
