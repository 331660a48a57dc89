//! HTTP/2 clients of the whole gateway: every stream is judged alone (X7), and what HTTP/1 has words for is said in HTTP/2's.

use fluidgate::app::Ended;
use h2::Reason;
use http::Method;

use crate::support::PATIENCE;
use crate::support::gateway::{Setup, TestGateway};
use crate::support::h2::{Http2Client, piece, request, rest};
use crate::support::tls::{Authority, TlsClient};
use crate::support::upstream::TestUpstream;

const HOST: &str = "https://wiki.test";

fn public(upstream: &TestUpstream) -> Setup {
    Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
}

fn client(setup: Setup) -> (TestGateway, Http2Client) {
    let authority = Authority::new();
    let gateway = setup.tls(&authority, &["wiki.test"]).start();
    let client = TlsClient::trusting(&authority).http2(gateway.tls_address(), "wiki.test");
    (gateway, client)
}

#[test]
fn a_request_over_http_2_reaches_an_upstream_of_http_1_with_its_authority_as_host() {
    let upstream = TestUpstream::start();
    let (_gateway, mut client) = client(public(&upstream));
    for path in ["/a", "/b?c=d"] {
        let answer = client.get(&format!("{HOST}{path}"), &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        let seen = upstream.next();
        assert_eq!(seen.line, format!("GET {path} HTTP/1.1"));
        assert_eq!(seen.header("host"), Some("wiki.test"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    }
}

#[test]
fn a_body_over_http_2_arrives_whole_with_and_without_its_length() {
    let upstream = TestUpstream::start();
    let (_gateway, mut client) = client(public(&upstream));
    for fields in [&[][..], &[("content-length", "8")]] {
        let mut stream = client.open(request(Method::POST, HOST, fields), false);
        stream.send("one ", false);
        stream.send("body", true);
        assert_eq!(stream.answer().status, 200);
        assert_eq!(upstream.next().body, b"one body");
    }
}

#[test]
fn users_guests_and_hosts_on_one_connection_are_each_judged_alone() {
    let (wiki, open, staff) = (TestUpstream::start(), TestUpstream::start(), TestUpstream::start());
    let routes = format!(
        "[[routes]]\nhost = \"wiki.test\"\nupstream = [\"{}\"]\n\
         [[routes]]\nhost = \"open.test\"\nupstream = [\"{}\"]\naccess = \"public\"\n\
         [[routes]]\nhost = \"staff.test\"\nupstream = [\"{}\"]\naccess = {{ groups = [\"staff\"] }}\n\
         [[routes]]\nhost = \"127.0.0.1\"\nupstream = [\"{}\"]\n",
        wiki.url(),
        open.url(),
        staff.url(),
        wiki.url(),
    );
    // One cookie for both listeners, so that logging in over the plain one will do.
    let cookie = "[session.cookie]\nname = \"my-fluidgate\"\nsecure = false\n";
    let (gateway, mut client) = client(Setup::routes(routes).sections(cookie));
    let (ada, bob) = (gateway.cookie_of("ada"), gateway.cookie_of("bob"));
    let ask = |host: &str, cookie: Option<&str>| {
        let fields: Vec<_> = cookie.map(|cookie| ("cookie", cookie)).into_iter().collect();
        request(Method::GET, &format!("https://{host}/"), &fields)
    };
    // All under way at once, over and over, in another order each time.
    for round in 0..5 {
        let mut asked: Vec<(&str, Option<&str>, u16)> = vec![
            ("wiki.test", Some(&ada), 200),
            ("wiki.test", Some(&bob), 200),
            ("wiki.test", None, 401),
            ("staff.test", Some(&ada), 200),
            ("staff.test", Some(&bob), 403),
            ("staff.test", None, 401),
            ("wiki.test", Some("my-fluidgate=v1.a.b.c"), 401),
            ("nobody.test", Some(&ada), 404),
        ];
        asked.rotate_left(round);
        let streams: Vec<_> =
            asked.iter().map(|(host, cookie, _)| client.open(ask(host, *cookie), true)).collect();
        for (stream, (host, _, status)) in streams.into_iter().zip(&asked) {
            assert_eq!(stream.answer().status, *status, "{host}");
        }
        let mut users: Vec<_> =
            (0..2).map(|_| wiki.next().header("remote-user").unwrap().to_owned()).collect();
        users.sort();
        assert_eq!(users, ["ada", "bob"]);
        assert_eq!(staff.next().header("remote-user"), Some("ada"));
        let guest = client.open(ask("open.test", None), true);
        assert_eq!(guest.answer().status, 200);
        assert_eq!(open.next().header("remote-user"), None);
    }
    wiki.saw_nothing();
    staff.saw_nothing();
}

#[test]
fn a_cookie_in_pieces_is_the_session_and_the_rest_reaches_the_upstream_as_one_field() {
    let upstream = TestUpstream::start();
    let cookie = "[session.cookie]\nname = \"my-fluidgate\"\nsecure = false\n";
    let (gateway, mut client) = client(Setup::protecting(&upstream).sections(cookie));
    let session = gateway.cookie_of("ada");
    for _ in 0..2 {
        let fields = [("cookie", "a=b"), ("cookie", session.as_str()), ("cookie", "c=d; e=f")];
        assert_eq!(client.get(HOST, &fields).status, 200);
        let seen = upstream.next();
        assert_eq!(seen.header("remote-user"), Some("ada"));
        assert_eq!(seen.header("cookie"), Some("a=b; c=d; e=f"));
    }
}

#[test]
fn what_two_parties_could_read_differently_is_refused_and_its_neighbours_go_on() {
    let upstream = TestUpstream::start();
    let (_gateway, mut client) = client(public(&upstream));
    for (uri, fields) in [
        (HOST, &[("host", "evil.test")][..]),
        (HOST, &[("host", "wiki.test"), ("host", "wiki.test")]),
        (HOST, &[("host", "wiki.test:8443")]),
        ("https://user@wiki.test/", &[]),
        ("https://wiki.test/%2e%2e/a", &[]),
        ("https://wiki.test/a%00b", &[]),
        ("https://wiki.test/a\\b", &[]),
    ] {
        let Ok(uri) = uri.parse::<http::Uri>() else { continue };
        let status = client.open(request(Method::GET, &uri.to_string(), fields), true).head();
        assert_eq!(status.unwrap().status(), 400, "{uri} {fields:?}");
    }
    for lengths in [&[("content-length", "3"), ("content-length", "3")][..], &[("content-length", "+3")]] {
        let mut stream = client.open(request(Method::POST, HOST, lengths), false);
        stream.send("abc", true);
        assert!(stream.head().is_err_and(|e| e.is_reset()) || upstream_saw_nothing(&upstream));
    }
    upstream.saw_nothing();
    assert_eq!(client.get(HOST, &[]).status, 200);
}

fn upstream_saw_nothing(upstream: &TestUpstream) -> bool {
    upstream.saw_nothing();
    true
}

#[test]
fn plain_connect_is_refused_and_fields_of_a_connection_are_none_of_http_2s() {
    let upstream = TestUpstream::start();
    let (_gateway, mut client) = client(public(&upstream));
    let head = client.open(request(Method::CONNECT, "wiki.test:443", &[]), true).head();
    assert!(head.is_err() || head.is_ok_and(|head| head.status() == 400));
    let unknown = {
        let mut request = request(Method::CONNECT, HOST, &[]);
        request.extensions_mut().insert(h2::ext::Protocol::from_static("connect-udp"));
        client.open(request, true).head()
    };
    assert_eq!(unknown.unwrap().status(), 501);
    upstream.saw_nothing();
    assert_eq!(client.get(HOST, &[]).status, 200);
}

const WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status, remote-user\r\n\r\n\
                             3\r\nabc\r\n0\r\ngrpc-status: 0\r\nconnection: close\r\n\r\n";

#[test]
fn trailers_of_an_upstream_reach_a_client_of_http_2() {
    let upstream = TestUpstream::answering(WITH_TRAILERS);
    let (_gateway, mut client) = client(public(&upstream));
    let answer = client.get(HOST, &[("te", "trailers")]);
    assert_eq!(answer.text(), "abc");
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    assert!(!trailers.contains_key("connection"));
    assert_eq!(upstream.next().header("te"), Some("trailers"));
}

#[test]
fn trailers_of_an_upstream_reach_a_client_of_http_1_1_that_asks_for_them() {
    let upstream = TestUpstream::answering(WITH_TRAILERS);
    let gateway = public(&upstream).start();
    for (te, expected) in [("TE: trailers\r\nConnection: te\r\n", true), ("", false)] {
        let mut wire = gateway.wire();
        let request = format!("GET / HTTP/1.1\r\nHost: wiki.test\r\n{te}Connection: close\r\n\r\n");
        wire.send(request).receive_head().unwrap();
        let body = wire.rest_text().to_lowercase();
        let (data, trailers) = body.split_once("\r\n0\r\n").unwrap();
        assert_eq!((data, trailers.contains("grpc-status: 0")), ("3\r\nabc", expected), "{te}");
        assert!(!trailers.contains("connection"), "{trailers}");
    }
}

#[test]
fn a_stop_says_goaway_and_ends_clean_once_the_streams_in_flight_are_done() {
    let (enter, entered) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let upstream = TestUpstream::with(move |request, stream| {
        use std::io::Write;
        if request.target() == "/held" {
            enter.send(()).unwrap();
            released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld").map(|()| true)
    });
    let (gateway, mut client) = client(public(&upstream));
    let held = client.open(request(Method::GET, &format!("{HOST}/held"), &[]), true);
    entered.recv_timeout(PATIENCE).unwrap();
    let stopping = std::thread::spawn(move || gateway.stop());
    // Refused once the farewell is here.
    let deadline = std::time::Instant::now() + PATIENCE;
    while client.takes_requests() {
        assert!(std::time::Instant::now() < deadline, "no GOAWAY");
    }
    release.send(()).unwrap();
    assert_eq!(held.answer().text(), "held");
    assert!(matches!(client.wait_for_end(), None | Some(Reason::NO_ERROR)));
    assert_eq!(stopping.join().unwrap(), Ended::Clean);
}

#[test]
fn an_answer_streams_over_http_2_as_it_comes() {
    let (go_on, gone_on) = std::sync::mpsc::channel::<()>();
    let gone_on = std::sync::Mutex::new(gone_on);
    let upstream = TestUpstream::with(move |_, stream| {
        use std::io::Write;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        gone_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").map(|()| true)
    });
    let (_gateway, mut client) = client(public(&upstream));
    let mut body = client.open(request(Method::GET, HOST, &[]), true).head().unwrap().into_body();
    assert_eq!(piece(&mut body).unwrap().unwrap(), "first");
    go_on.send(()).unwrap();
    assert_eq!(rest(&mut body).unwrap(), b"second");
}
