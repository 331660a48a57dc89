//! What a client says of itself, of its request or of other requests decides nothing: only the normalised request, its cookie and the
//! peer's address do (X6). Each claim is made by HTTP/1.1 and by HTTP/2, with and without a session.

use crate::support::asker::{Asker, NAVIGATION};
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

const HOST: &str = "app.test";

/// Claims that some gateway, proxy or framework has believed.
fn claims() -> Vec<(&'static str, String)> {
    let mut claims = Vec::new();
    let mut all = |names: &[&'static str], values: &[&str]| {
        for name in names {
            claims.extend(values.iter().map(|value| (*name, (*value).to_owned())));
        }
    };
    all(
        &[
            "X-Forwarded-Uri",
            "X-Original-URL",
            "X-Original-URI",
            "X-Rewrite-URL",
            "X-Original-Path",
            "X-Forwarded-Path",
            "X-Forwarded-Prefix",
            "X-Envoy-Original-Path",
            "X-Auth-Request-Redirect",
            "X-Waws-Unencoded-Url",
            "Request-Uri",
            "Referer",
        ],
        &["/pub", "/pub/../prot", "http://app.test/pub", "/_auth/login"],
    );
    all(
        &[
            "X-Forwarded-Method",
            "X-Original-Method",
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
        ],
        &["OPTIONS", "HEAD", "GET", "POST", "PURGE"],
    );
    all(
        &[
            "X-Forwarded-Host",
            "X-Host",
            "X-Original-Host",
            "X-Forwarded-Server",
            "X-HTTP-Host-Override",
            "X-Backend-Host",
        ],
        &["open.test", "localhost", "127.0.0.1", ""],
    );
    all(
        &[
            "X-Forwarded-For",
            "X-Real-IP",
            "X-Client-IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Cluster-Client-IP",
            "X-Originating-IP",
            "X-Remote-Addr",
        ],
        &["127.0.0.1", "10.0.0.1", "a", "1.2.3.4, ,", "::1"],
    );
    all(
        &["X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Url-Scheme", "Front-End-Https"],
        &["http", "https", "javascript", "on"],
    );
    all(&["X-Forwarded-Port"], &["1", "443", "x"]);
    all(
        &["Forwarded"],
        &[
            "for=127.0.0.1;host=open.test;proto=https",
            "host=open.test",
            "for=_hidden;by=203.0.113.43",
            "for=\"[::1]\"",
        ],
    );
    all(
        &["User-Agent"],
        &[
            "kube-probe/1.30",
            "GoogleHC/1.0",
            "ELB-HealthChecker/2.0",
            "Go-http-client/1.1",
            "OPTIONS",
            "curl/8",
            "Prometheus/3",
        ],
    );
    all(
        &["Authorization", "Proxy-Authorization", "X-Authorization", "X-Api-Key", "X-Auth-Token"],
        &[
            "Basic YWRhOmNvcnJlY3Q=",
            "Basic",
            "Bearer eyJhbGciOiJub25lIn0.e30.",
            "Bearer ada",
            "Negotiate x",
            "ada",
        ],
    );
    all(
        &["X-Fluidgate-Assertion", "Remote-User", "X-Forwarded-User", "X-Auth-Request-User"],
        &["ada", "eyJhbGciOiJub25lIn0.e30."],
    );
    all(
        &[
            "Accept",
            "Content-Type",
            "Origin",
            "Access-Control-Request-Method",
            "X-Requested-With",
            "Upgrade-Insecure-Requests",
        ],
        &["*/*", "GET"],
    );
    all(
        &["Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Purpose", "Purpose"],
        &["image", "cors", "none", "prefetch"],
    );
    claims
}

/// `/pub` and the whole of `open.test` are public, everything else is not, and writing below `/form` is for staff.
fn gateway(upstream: &TestUpstream) -> TestGateway {
    let url = upstream.url();
    Setup::routes(format!(
        "[[routes]]\nhost = \"{HOST}\"\nupstream = [\"{url}\"]\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/pub\"\naccess = \"public\"\nupstream = [\"{url}\"]\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/form\"\nmethods = [\"GET\"]\nupstream = [\"{url}\"]\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/form\"\nmethods = [\"POST\"]\naccess = {{ groups = [\"staff\"] }}\nupstream = [\"{url}\"]\n\
         [[routes]]\nhost = \"open.test\"\naccess = \"public\"\nupstream = [\"{url}\"]\n"
    ))
    .session("max_bad_cookies = 0\n")
    .both_protocols()
    .start()
}

#[test]
fn no_field_of_a_request_opens_a_protected_path_or_closes_a_public_one() {
    let upstream = TestUpstream::start();
    let gateway = gateway(&upstream);
    for asker in &mut Asker::both(&gateway) {
        for (name, value) in claims() {
            let fields = [(name, value.as_str())];
            let told = format!("{}: {name}: {value}", asker.protocol());
            let status = asker.get(HOST, "/prot", &fields).unwrap().status;
            assert!(matches!(status, 401 | 303), "{told}: {status}");
            let open = asker.get(HOST, "/pub/x", &fields).unwrap();
            assert_eq!(open.status, 200, "{told}");
            let seen = upstream.next();
            assert_eq!(
                (seen.line.as_str(), seen.header("host")),
                ("GET /pub/x HTTP/1.1", Some(HOST)),
                "{told}"
            );
            for identity in ["remote-user", "remote-groups"] {
                assert_eq!(seen.header(identity), None, "{told}");
            }
        }
        upstream.saw_nothing();
    }
}

#[test]
fn no_field_of_a_request_makes_somebody_else_of_a_user() {
    let upstream = TestUpstream::start();
    let gateway = gateway(&upstream);
    let cookie = gateway.cookie_at(HOST, "bob");
    for asker in &mut Asker::both(&gateway) {
        for (name, value) in claims() {
            let fields = [("Cookie", cookie.as_str()), (name, value.as_str())];
            let told = format!("{}: {name}: {value}", asker.protocol());
            assert_eq!(asker.get(HOST, "/prot", &fields).unwrap().status, 200, "{told}");
            let seen = upstream.next();
            assert_eq!(
                (seen.line.as_str(), seen.header("host")),
                ("GET /prot HTTP/1.1", Some(HOST)),
                "{told}"
            );
            assert_eq!((seen.header("remote-user"), seen.header("cookie")), (Some("bob"), None), "{told}");
            // Reading is for everybody, writing for staff, whatever the request says its method was.
            assert_eq!(asker.ask("POST", HOST, b"/form", &fields, b"x=1").unwrap().status, 403, "{told}");
        }
        upstream.saw_nothing();
    }
}

#[test]
fn a_method_that_a_field_names_is_not_told_to_the_app_where_methods_decide() {
    let upstream = TestUpstream::start();
    let gateway = gateway(&upstream);
    let cookie = gateway.cookie_at(HOST, "bob");
    for asker in &mut Asker::both(&gateway) {
        for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
            let fields = [("Cookie", cookie.as_str()), (name, "POST")];
            assert_eq!(asker.get(HOST, "/form", &fields).unwrap().status, 200);
            assert_eq!(upstream.next().header(name), None, "{}: {name}", asker.protocol());
        }
    }
}

#[test]
fn no_query_and_no_fragment_makes_a_path_of_another() {
    let upstream = TestUpstream::start();
    let gateway = gateway(&upstream);
    let queries = [
        "?x=/pub/",
        "?/pub",
        "?/../pub",
        "?host=open.test",
        "?_method=OPTIONS",
        "?return_to=/pub",
        "?;/pub",
        "??/pub",
        "?#/pub",
        "?url=http://app.test/pub",
        "?%2fpub",
        "?path=/_auth/login",
        "?access=public",
        "?Remote-User=ada",
        "#/pub",
        "#/../pub",
        "%23/pub",
        "%3f/pub",
        "/%23/../pub",
        ";/pub",
        "/..;/pub",
        "%2f..%2fpub",
        "/../pub",
    ];
    for asker in &mut Asker::both(&gateway) {
        for query in queries {
            for fields in [&[][..], &NAVIGATION[..]] {
                let answer = asker.get(HOST, format!("/prot{query}"), fields);
                let status = answer.map_or(400, |answer| answer.status);
                assert!(matches!(status, 303 | 400 | 401), "{}: /prot{query}: {status}", asker.protocol());
            }
        }
    }
    upstream.saw_nothing();
}

#[test]
fn every_spelling_of_a_host_is_that_host_or_none() {
    let upstream = TestUpstream::start();
    let gateway = gateway(&upstream);
    let hosts = [
        "app.test",
        "APP.test",
        "app.test.",
        "app.test:80",
        "app.test:443",
        "app.test:8080",
        "App.Test.:80",
        "app.test:",
        "open.test@app.test",
        "app.test@open.test",
        "open.test,app.test",
        "app.test/open.test",
        "app.test#open.test",
        "",
        "app.test\\.open.test",
        "app.test%2eopen.test",
        "open.test%00.app.test",
        "app..test",
        ".open.test",
        "open.test..",
        "[::1]",
        "127.0.0.1",
        "localhost",
        "notopen.test",
        "open.test.evil.test",
        "xopen.test",
    ];
    for asker in &mut Asker::both(&gateway) {
        for host in hosts {
            let status = asker.get(host, "/prot", &[]).map_or(400, |answer| answer.status);
            assert!(matches!(status, 400 | 401 | 404), "{}: {host}: {status}", asker.protocol());
        }
    }
    upstream.saw_nothing();
}

#[test]
fn two_authorities_that_differ_are_refused() {
    let upstream = TestUpstream::start();
    let gateway = gateway(&upstream);
    let [mut http1, mut http2] = Asker::both(&gateway);
    for target in ["http://open.test/prot", "https://open.test/prot", "HTTP://OPEN.TEST/prot"] {
        assert_eq!(http1.get(HOST, target, &[]).unwrap().status, 400, "{target}");
    }
    assert_eq!(http1.get(HOST, "/prot", &[("Host", "open.test")]).unwrap().status, 400);
    assert_eq!(http2.get(HOST, "/prot", &[("host", "open.test")]).unwrap().status, 400);
    upstream.saw_nothing();
}
