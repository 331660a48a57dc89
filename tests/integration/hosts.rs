//! One reading of the host, by every way in (P5, P12): the same place whatever the case, port and trailing dot, and nothing at all
//! where two parties could find two hosts.

use crate::support::PATIENCE;
use crate::support::frames::{Frames, field};
use crate::support::gateway::Setup;
use crate::support::upstream::TestUpstream;
use crate::support::ways::{Ask, Doors, HOST, Way};

/// `wiki.test` and `open.corp.test` are open, all else below `corp.test` needs a session.
fn doors(upstream: &TestUpstream) -> Doors {
    let url = upstream.url();
    let route = |lines: &str| format!("[[routes]]\nupstream = [\"{url}\"]\n{lines}\n");
    Doors::of(Setup::routes(
        route("host = \"wiki.test\"\naccess = \"public\"")
            + &route("host = \"*.corp.test\"")
            + &route("host = \"open.corp.test\"\naccess = \"public\"")
            + &route("host = \"[::1]\"\naccess = \"public\""),
    ))
}

#[test]
fn a_host_is_the_same_whatever_its_case_port_and_trailing_dot() {
    let upstream = TestUpstream::start();
    let doors = doors(&upstream);
    for way in Way::ALL {
        for (host, status) in [
            ("wiki.test", 200),
            ("WIKI.Test", 200),
            ("wiki.test.", 200),
            ("Wiki.TEST.:8443", 200),
            ("wiki.test:0", 200),
            ("OPEN.corp.test", 200),
            ("[::1]:443", 200),
            ("[0:0:0:0:0:0:0:1]", 200),
            ("a.corp.test", 401),
            ("a.B.corp.test.", 401),
            ("x.open.corp.test:80", 401),
            ("openx.corp.test", 401),
            ("corp.test", 404),
            ("evil.test", 404),
            ("xwiki.test", 404),
            ("wiki.test.evil.test", 404),
            ("evilcorp.test", 404),
            ("127.0.0.1", 404),
            ("[::2]", 404),
            ("[::ffff:127.0.0.1]", 404),
        ] {
            assert_eq!(doors.status(way, &Ask::get("/").hosts(&[host])), Some(status), "{way:?} {host}");
            if status == 200 {
                assert_eq!(upstream.next().header("host"), Some(host), "{way:?}");
            }
        }
    }
    upstream.saw_nothing();
}

#[test]
fn what_is_not_exactly_one_host_is_refused() {
    let upstream = TestUpstream::start();
    let doors = doors(&upstream);
    for way in Way::ALL {
        for host in [
            "",
            ".",
            "wiki.test,evil.test",
            "wiki.test, evil.test",
            "wiki.test evil.test",
            "u@wiki.test",
            "u:p@wiki.test",
            "wiki.test/x",
            "/wiki.test",
            "wiki.test?x",
            "wiki.test#x",
            "wiki.test\\x",
            "wiki.test:",
            "wiki.test:x",
            "wiki.test:+80",
            "wiki.test:99999",
            "wiki.test:80:80",
            "wiki..test",
            ".wiki.test",
            "wiki.test..",
            "%77iki.test",
            "wiki%2etest",
            "w\u{131}ki.test",
            "w\u{ff49}ki.test",
            "xn--\u{e9}.test",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "[wiki.test]",
            "wiki.test\0",
            "wiki.test\x01",
            "wiki\ttest",
            "http://wiki.test",
            "wiki.test;x",
            "\"wiki.test\"",
            "*.corp.test",
        ] {
            let status = doors.status(way, &Ask::get("/").hosts(&[host]));
            assert!(matches!(status, Some(400) | None), "{way:?} {host:?}: {status:?}");
        }
        for hosts in [
            ["wiki.test", "wiki.test"],
            ["wiki.test", "a.corp.test"],
            ["a.corp.test", "wiki.test"],
            ["wiki.test", ""],
            ["WIKI.test", "wiki.test:81"],
        ] {
            let status = doors.status(way, &Ask::get("/").hosts(&hosts));
            // Over HTTP/2 the same host may be said twice, as the authority and as the field.
            let same = way == Way::Http2 && hosts[0] == hosts[1];
            assert_eq!(status == Some(200), same, "{way:?} {hosts:?}: {status:?}");
            if same {
                upstream.next();
            }
        }
        let status = doors.status(way, &Ask::get("/").hosts::<&str>(&[]));
        assert!(matches!(status, Some(400) | None), "{way:?} without a host: {status:?}");
    }
    upstream.saw_nothing();
}

#[test]
fn a_target_that_names_a_host_names_that_of_the_host_field() {
    let upstream = TestUpstream::start();
    let doors = doors(&upstream);
    for way in [Way::Http1, Way::Http1Tls] {
        for (target, status) in [
            ("http://wiki.test/a", 200),
            ("HTTP://WIKI.test:80/a", 200),
            ("http://a.corp.test/a", 400),
            ("http://wiki.test:81/a", 400),
            ("http://wiki.test@a.corp.test/a", 400),
            ("http://a.corp.test@wiki.test/a", 400),
            ("http://wiki.test.evil.test/a", 400),
            ("http:///a", 400),
            ("http:/a", 400),
            ("http://wiki.test:80:80/a", 400),
            ("http://wiki.test/../a", 400),
            ("http://wiki.test/a#b", 400),
            ("http://wiki.test\\a", 400),
            ("ftp://wiki.test/a", 400),
            ("javascript://wiki.test/a", 400),
            ("ws://wiki.test/a", 400),
            ("//wiki.test/a", 200),
        ] {
            let answered = doors.status(way, &Ask::get(target));
            assert!(
                answered == Some(status) || (status == 400 && answered.is_none()),
                "{way:?} {target}: {answered:?}"
            );
            if status == 200 {
                let seen = upstream.next();
                let expected = if target.starts_with("//") { target } else { "/a" };
                assert_eq!((seen.target(), seen.header("host")), (expected, Some(HOST)), "{way:?} {target}");
            }
        }
    }
    upstream.saw_nothing();
}

#[test]
fn over_http_2_a_host_may_stand_for_the_authority_and_must_not_differ_from_it() {
    let upstream = TestUpstream::start();
    let doors = doors(&upstream);
    let ask = |fields: &[(&str, &str)]| {
        let mut frames = Frames::over(doors.stream(Way::Http2, PATIENCE));
        let mut all = vec![field(":method", "GET"), field(":path", "/")];
        all.extend(fields.iter().map(|(name, value)| field(name, value)));
        frames.headers(1, &all, true);
        frames.fates(&[1]).remove(&1).and_then(|fate| fate.status)
    };
    let https = (":scheme", "https");
    assert_eq!(ask(&[https, ("host", "a.corp.test")]), Some(401), "judged by its host");
    assert_eq!(ask(&[https, ("host", "wiki.test")]), Some(200));
    assert_eq!(upstream.next().header("host"), Some("wiki.test"));
    for (authority, host) in [
        ("wiki.test", "a.corp.test"),
        ("a.corp.test", "wiki.test"),
        ("wiki.test", "wiki.test:444"),
        ("wiki.test", ""),
    ] {
        let status = ask(&[https, (":authority", authority), ("host", host)]);
        assert!(matches!(status, Some(400) | None), "{authority} {host}: {status:?}");
    }
    for scheme in ["ftp", "javascript", "https://evil.test/?", ""] {
        let status = ask(&[(":scheme", scheme), (":authority", "wiki.test")]);
        assert!(matches!(status, Some(400) | None), "{scheme}: {status:?}");
    }
    upstream.saw_nothing();
}

#[test]
fn the_name_of_the_handshake_decides_nothing() {
    let upstream = TestUpstream::start();
    let doors = doors(&upstream);
    // Every handshake is for `wiki.test`, which is open; the request's own host is what counts.
    for way in [Way::Http1Tls, Way::Http2] {
        assert_eq!(doors.status(way, &Ask::get("/").hosts(&["a.corp.test"])), Some(401), "{way:?}");
        assert_eq!(doors.status(way, &Ask::get("/").hosts(&["nobody.test"])), Some(404), "{way:?}");
    }
    upstream.saw_nothing();
}
