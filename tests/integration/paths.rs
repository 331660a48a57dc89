//! Paths that two parties could read differently (P13), by every way in. A public place stands beside a protected one; thousands of
//! spellings try to be the one for the gateway and the other for the app. The judge knows nothing of the gateway's own reading: it
//! takes what the upstream got and reads it in all the ways that apps do.

mod readings;

use crate::support::gateway::Setup;
use crate::support::strict;
use crate::support::upstream::TestUpstream;
use crate::support::ways::{Ask, Doors, Way};
use readings::{leads_into, leads_to, stays_in};

#[rustfmt::skip]
const DOTS: &[&str] = &[
    "..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "%25252e%25252e", "%25%32%65%25%32%65", "%252%65%252%65", "%2525%32%65%2525%32%65",
    "%25%32%35%32%65.", "%c0%ae%c0%ae", "%e0%80%ae.", "%f0%80%80%ae.", "%25c0%25ae%25c0%25ae", "%c0%2e.", "%u002e%u002e", "%25u002e.",
    "..;", "..;a=b", "%2e%2e;x", "..%3b", "..%3bx", "..%253bx", "..%25253bx", "..%3fx", "..%253f", "..%23", "..%2523x", "..%00", "..%2500",
    "..%20", "..%09", "..%0a", "..%250a", ".", "...", "\u{ff0e}\u{ff0e}", "..#", "..\\", "%5c..", ".%00.", ".%2500.", ".;.", "%252e.",
];
#[rustfmt::skip]
const SLASHES: &[&str] = &[
    "/", "%2f", "%2F", "%5c", "\\", "%252f", "%25252f", "%25%32%66", "%2525%32%66", "%255c", "%25%35%63", "//", "/./", "/%2e/", "%c0%af", "%c1%9c",
    "%25c0%25af", "%e0%80%af", "%u002f", "%u2215", ";/", "/;/", "/;x/", "%3b/", "%253b/", "%00/", "/%20/", "%2f/", "/%5c", "\u{2215}", "%09/", "?/", "%3f/", "%23/",
];
/// `prot`, spelt.
const PROTECTED: &[&str] = &[
    "prot",
    "%70rot",
    "%2570rot",
    "%252570rot",
    "%25%37%30rot",
    "prot;x",
    "prot%3bx",
    "prot%253bx",
    "prot%3fx",
    "prot%2523",
    "pro%u0074",
    "prot%00",
];

/// Every spelling of a way from `from` to the protected place, and of the place itself.
fn spellings(from: &str) -> Vec<String> {
    let mut all = vec![
        "*".to_owned(),
        "prot/x".into(),
        "http:/prot/x".into(),
        format!("{from}#/../prot/x"),
        format!("{from}?/../prot/x"),
        format!("{from}X"),
        format!("{from}.."),
        format!("{from}%2e%2e"),
        "/%".into(),
        "/%2".into(),
        "/prot%zz/x".into(),
        "/prot/%".into(),
        format!("/%{}", "25".repeat(3000)),
    ];
    for dots in DOTS {
        for slash in SLASHES {
            all.push(format!("{from}{slash}{dots}{slash}prot/x"));
        }
        all.push(format!("{from}/{dots}/prot/x"));
        all.push(format!("{from}/a/{dots}/{dots}/prot/x"));
        all.push(format!("{from}{dots}/prot/x"));
        all.push(format!("/{dots}/prot/x"));
    }
    for protected in PROTECTED {
        for slash in SLASHES {
            all.push(format!("{slash}{protected}{slash}x"));
            all.push(format!("/{slash}{protected}/x"));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Byte for byte, but that HTTP/2's own parser cuts a fragment off.
fn was_sent(paths: &[String], target: &str) -> bool {
    paths.iter().any(|path| path.split('#').next() == Some(target))
}

/// Asks for every one of `paths` by every way, without a session; answers what `upstream` got.
fn ask_all(setup: Setup, upstream: TestUpstream, paths: &[String]) -> Vec<strict::Message> {
    let doors = Doors::of(setup);
    std::thread::scope(|scope| {
        for way in Way::ALL {
            let doors = &doors;
            scope.spawn(move || {
                // Behind the TLS and the frames is the same reader, and handshakes take their time.
                for path in paths.iter().step_by(if way == Way::Http1 { 1 } else { 5 }) {
                    let status = doors.status(way, &Ask::get(path));
                    assert!(
                        matches!(status, Some(200 | 400 | 401 | 404) | None),
                        "{way:?} {path}: {status:?}"
                    );
                }
            });
        }
    });
    drop(doors);
    let tapes = upstream.into_tapes();
    let seen: Vec<_> = tapes.iter().flat_map(|tape| strict::messages(tape).unwrap()).collect();
    println!("{} paths, {} requests reached the upstream", paths.len(), seen.len());
    // Most are refused; of what is never forwarded nothing is judged.
    assert!(seen.len() > 50, "little is left to judge: {}", seen.len());
    seen
}

#[test]
fn no_spelling_leads_from_a_public_place_into_a_protected_one() {
    let upstream = TestUpstream::echoing_targets();
    let url = upstream.url();
    let setup = Setup::routes(format!(
        "[[routes]]\npath = \"/pub\"\nupstream = [\"{url}\"]\naccess = \"public\"\n[[routes]]\npath = \"/prot\"\nupstream = [\"{url}\"]\n"
    ));
    let paths = spellings("/pub");
    for request in ask_all(setup, upstream, &paths) {
        assert!(was_sent(&paths, &request.target), "not what was sent: {}", request.target);
        assert!(!leads_into(&request.target, "/prot"), "{}", request.target);
    }
}

#[test]
fn no_spelling_of_a_protected_place_is_public_where_all_else_is_even_with_encoded_slashes() {
    let upstream = TestUpstream::echoing_targets();
    let url = upstream.url();
    let setup = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{url}\"]\naccess = \"public\"\nallow_encoded_slashes = true\n\
         [[routes]]\npath = \"/prot\"\nupstream = [\"{url}\"]\n"
    ));
    let paths = spellings("/pub");
    for request in ask_all(setup, upstream, &paths) {
        assert!(was_sent(&paths, &request.target), "not what was sent: {}", request.target);
        assert!(!leads_into(&request.target, "/prot"), "{}", request.target);
    }
}

/// Spellings of the one path `/prot` that end in what an app may take for a query.
fn with_a_hidden_query() -> Vec<String> {
    let mut all = Vec::new();
    for place in ["/prot", "/%70rot", "/%2570rot", "//prot", "//host/prot", "/prot;x"] {
        for sign in ["%3f", "%3F", "%23", "%253f", "%2523", "%25253f", "%25%33%66"] {
            all.extend(["", "/x", "x/y", "/x/%3f/y", "//x"].map(|rest| format!("{place}{sign}{rest}")));
        }
    }
    all
}

#[test]
fn no_spelling_leads_to_the_one_protected_path_of_a_public_place() {
    let upstream = TestUpstream::echoing_targets();
    let url = upstream.url();
    let setup = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{url}\"]\naccess = \"public\"\n\
         [[routes]]\npath = \"/prot\"\nexact = true\nupstream = [\"{url}\"]\n"
    ));
    let paths = [spellings("/pub"), with_a_hidden_query()].concat();
    for request in ask_all(setup, upstream, &paths) {
        assert!(was_sent(&paths, &request.target), "not what was sent: {}", request.target);
        assert!(!leads_to(&request.target, "/prot"), "{}", request.target);
    }
}

#[test]
fn no_spelling_leaves_the_place_that_a_prefix_is_replaced_by() {
    let upstream = TestUpstream::echoing_targets();
    let url = upstream.url();
    let setup = Setup::routes(format!(
        "[[routes]]\npath = \"/api\"\nupstream = [\"{url}\"]\naccess = \"public\"\nreplace_prefix = \"/app\"\nallow_encoded_slashes = true\n\
         [[routes]]\nupstream = [\"{url}\"]\n"
    ));
    for request in ask_all(setup, upstream, &spellings("/api")) {
        assert!(stays_in(&request.target, "/app"), "{}", request.target);
    }
}

#[test]
fn no_spelling_leaves_the_root_where_a_prefix_is_stripped() {
    let upstream = TestUpstream::echoing_targets();
    let url = upstream.url();
    let setup = Setup::routes(format!(
        "[[routes]]\npath = \"/api\"\nupstream = [\"{url}\"]\naccess = \"public\"\nstrip_prefix = true\n[[routes]]\nupstream = [\"{url}\"]\n"
    ));
    for request in ask_all(setup, upstream, &spellings("/api")) {
        assert!(stays_in(&request.target, "") && !request.target.starts_with("//"), "{}", request.target);
    }
}

#[test]
fn what_is_no_plain_path_is_refused_on_every_way() {
    let upstream = TestUpstream::start();
    let doors = Doors::of(Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n",
        upstream.url()
    )));
    for path in [
        "/a/../b",
        "/a/./b",
        "/..",
        "/.",
        "/%2e%2e/a",
        "/a/%2E./b",
        "/a/..;/b",
        "/a/.;x",
        "/a%2fb",
        "/a%5Cb",
        "/a\\b",
        "/a%00b",
        "/a%0ab",
        "/a%0d%0ab",
        "/a%7f",
        "/%zz",
        "/%",
        "/%4",
        "/%u002e",
        "/%c0%ae",
        "/%e0%80%af",
        "/a%252fb",
        "/a%252eb",
        "/a%25%32%66b",
        "/a%25252e",
        "/a%2500",
        "/a%250a",
        "/%25252561",
        "/caf\u{e9}",
        "/a\tb",
        "/a\x01",
        "/a\x7fb",
        "*",
        "a",
        "?a",
        "",
        &format!("/%{}", "25".repeat(3000)),
    ] {
        for way in Way::ALL {
            let status = doors.status(way, &Ask::get(path));
            assert!(matches!(status, Some(400) | None), "{way:?} {path:?}: {status:?}");
        }
    }
    // HTTP/2's own parser cuts a fragment off before anybody decides.
    assert_eq!(doors.status(Way::Http1, &Ask::get("/a#b")), Some(400));
    assert_eq!(doors.status(Way::Http1Tls, &Ask::get("/a#b")), Some(400));
    upstream.saw_nothing();
    assert_eq!(doors.status(Way::Http2, &Ask::get("/a#/../b")), Some(200));
    assert_eq!(upstream.next().target(), "/a");
    for path in [
        "/",
        "/a//b",
        "/a;b",
        "/a%20b",
        "/caf%C3%A9",
        "/100%25",
        "/a%2561",
        "/a..b",
        "/..a",
        "/a.",
        "/a?b=../%2e",
        "/a?%zz\\",
    ] {
        for way in Way::ALL {
            assert_eq!(doors.status(way, &Ask::get(path)), Some(200), "{way:?} {path:?}");
            assert_eq!(upstream.next().target(), path, "{way:?}");
        }
    }
}
