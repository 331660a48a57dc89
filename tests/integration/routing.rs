//! Which route a request takes, and that no spelling of a path takes another (P5, P13, X8).

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

fn public_and_protected(public: &TestUpstream, protected: &TestUpstream) -> TestGateway {
    Setup::routes(format!(
        "[[routes]]\npath = \"/pub\"\nupstream = [\"{}\"]\naccess = \"public\"\n[[routes]]\npath = \"/prot\"\nupstream = [\"{}\"]\n",
        public.url(),
        protected.url()
    ))
    .start()
}

#[test]
fn no_spelling_of_a_path_gets_around_a_protected_route() {
    let (public, protected) = (TestUpstream::start(), TestUpstream::start());
    let gateway = public_and_protected(&public, &protected);
    for path in [
        "/pub/../prot",
        "/pub/./../prot",
        "/pub/%2e%2e/prot",
        "/pub/%2E%2E/prot",
        "/pub/.%2e/prot",
        "/pub/..%2fprot",
        "/pub%2f..%2fprot",
        "/pub/%252e%252e/prot",
        "/pub/..\\prot",
        "/pub/..%5cprot",
        "/pub/..;/prot",
        "/pub/..;a=b/prot",
        "//prot",
        "/pub%00/../prot",
        "/pub/x#/../../prot",
        "/pub#",
        "/%u002e",
        "/pub/%c0%ae%c0%ae/prot",
        "http://other/prot",
        "/prot;x/y",
        "/%2570rot",
        "/pro%2574/x",
        "/pub..",
        "/pubX",
        "prot",
        "/pub/%zz",
    ] {
        let mut wire = gateway.wire();
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()));
        let status = wire.receive().map(|response| response.status);
        assert!(matches!(status, Some(400 | 401 | 404) | None), "{path}: {status:?}");
    }
    public.saw_nothing();
    protected.saw_nothing();
}

#[test]
fn an_encoded_letter_takes_the_route_of_the_letter() {
    let (public, protected) = (TestUpstream::start(), TestUpstream::start());
    let gateway = public_and_protected(&public, &protected);
    assert_eq!(gateway.browser().fetch("/%70rot/x").status, 401);
    assert_eq!(gateway.browser().fetch("/%70ub/x").status, 200);
    assert_eq!(public.next().target(), "/%70ub/x");
}

#[test]
fn what_was_decided_on_is_forwarded_byte_for_byte() {
    let upstream = TestUpstream::start();
    let gateway =
        Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
            .start();
    for target in [
        "/a//b/",
        "/caf%c3%a9?q=%2F..%2f&x=a+b",
        "/~a/b;c=d",
        "/%7Ea",
        "/a?",
        "/x/%e9",
        "/?",
        "/a!$&'()*+,;=:@",
    ] {
        assert_eq!(gateway.browser().fetch(target).status, 200, "{target}");
        assert_eq!(upstream.next().target(), target);
    }
}

#[test]
fn encoded_slashes_pass_only_where_the_route_says_so() {
    let upstream = TestUpstream::start();
    let url = upstream.url();
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{url}\"]\naccess = \"public\"\n\
         [[routes]]\npath = \"/repo\"\nupstream = [\"{url}\"]\naccess = \"public\"\nallow_encoded_slashes = true\n"
    ))
    .start();
    assert_eq!(gateway.browser().fetch("/x/a%2Fb").status, 400);
    assert_eq!(gateway.browser().fetch("/repo/a%2Fb%5c").status, 200);
    assert_eq!(upstream.next().target(), "/repo/a%2Fb%5c");
    assert_eq!(gateway.browser().fetch("/repo/..%2f..%2fx").status, 400);
    upstream.saw_nothing();
}

#[test]
fn hosts_are_told_apart_without_regard_to_case_port_and_trailing_dot() {
    let (wiki, rest) = (TestUpstream::start(), TestUpstream::start());
    let gateway = Setup::routes(format!(
        "[[routes]]\nhost = \"wiki.corp.test\"\nupstream = [\"{}\"]\naccess = \"public\"\n\
         [[routes]]\nhost = \"*.corp.test\"\nupstream = [\"{}\"]\n",
        wiki.url(),
        rest.url()
    ))
    .start();
    let ask = |host: &str| {
        let mut wire = gateway.wire();
        wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        wire.receive().unwrap().status
    };
    for host in ["wiki.corp.test", "WIKI.Corp.Test:81", "wiki.corp.test."] {
        assert_eq!(ask(host), 200, "{host}");
        wiki.next();
    }
    for host in ["a.corp.test", "A.B.corp.test.:9"] {
        assert_eq!(ask(host), 401, "{host}");
    }
    for host in ["corp.test", "evilcorp.test", "wiki.corp.test.evil", "127.0.0.1"] {
        assert_eq!(ask(host), 404, "{host}");
    }
    rest.saw_nothing();
}

#[test]
fn an_upstream_never_sees_a_reserved_path() {
    let upstream = TestUpstream::start();
    let gateway =
        Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
            .start();
    for path in [
        "/_auth",
        "/_auth/",
        "/_auth/nothing",
        "//_auth/login",
        "/_auth;x/login",
        "/%5Fauth/whoami",
        "/_auth/assets/none",
    ] {
        let status = gateway.browser().fetch(path).status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    upstream.saw_nothing();
}

#[test]
fn an_exact_path_and_a_method_choose_the_route_and_a_foreign_method_is_405() {
    let (exact, read, write, rest) =
        (TestUpstream::start(), TestUpstream::start(), TestUpstream::start(), TestUpstream::start());
    let route = |lines: &str, upstream: &TestUpstream| {
        format!("[[routes]]\naccess = \"public\"\nupstream = [\"{}\"]\n{lines}\n", upstream.url())
    };
    let gateway = Setup::routes(
        route("", &rest)
            + &route("path = \"/api\"\nexact = true", &exact)
            + &route("path = \"/api\"\nmethods = [\"GET\"]", &read)
            + &route("path = \"/api\"\nmethods = [\"POST\", \"PUT\"]", &write),
    )
    .start();
    let mut browser = gateway.browser();
    for (method, path, upstream) in [
        ("GET", "/api", &exact),
        ("DELETE", "/api", &exact),
        ("GET", "/api/", &read),
        ("HEAD", "/api/x", &read),
        ("POST", "/api/x", &write),
        ("POST", "/apix", &rest),
    ] {
        assert_eq!(browser.request(method, path, &[], b"").status, 200, "{method} {path}");
        assert_eq!(upstream.next().line, format!("{method} {path} HTTP/1.1"));
    }
    for method in ["DELETE", "PATCH", "OPTIONS", "get", "XYZ"] {
        let refused = browser.request(method, "/api/x", &[], b"");
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("GET, POST, PUT, HEAD")),
            "{method}"
        );
    }
    for path in ["//api", "/api;x", "/api%2f"] {
        assert_eq!(browser.request("GET", path, &[], b"").status, 400, "{path}");
    }
    for upstream in [exact, read, write, rest] {
        upstream.saw_nothing();
    }
}

#[test]
fn where_the_method_decides_no_field_names_another_one_to_the_upstream() {
    let upstream = TestUpstream::start();
    let route = |lines: &str| {
        format!("[[routes]]\naccess = \"public\"\nupstream = [\"{}\"]\n{lines}\n", upstream.url())
    };
    let gateway = Setup::routes(
        route("") + &route("path = \"/api\"\nmethods = [\"GET\", \"POST\"]") + &route("path = \"/api\""),
    )
    .start();
    let names = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override"];
    let fields = names.map(|name| (name, "DELETE"));
    let seen = |method: &str, path: &str| {
        assert_eq!(gateway.browser().request(method, path, &fields, b"").status, 200, "{method} {path}");
        let seen = upstream.next();
        names.into_iter().filter(|name| seen.header(&name.to_lowercase()).is_some()).collect::<Vec<_>>()
    };
    for method in ["POST", "PUT"] {
        assert_eq!(seen(method, "/api/x"), [""; 0], "{method}");
    }
    // Elsewhere it is the app's business.
    assert_eq!(seen("POST", "/x"), names[..3]);
}

#[test]
fn no_method_leads_from_a_protected_place_to_a_public_one() {
    let (public, protected) = (TestUpstream::start(), TestUpstream::start());
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n\
         [[routes]]\npath = \"/admin\"\nmethods = [\"GET\", \"POST\"]\nupstream = [\"{}\"]\n",
        public.url(),
        protected.url()
    ))
    .start();
    for (method, status) in [("GET", 401), ("HEAD", 401), ("POST", 401), ("PUT", 405), ("X", 405)] {
        let answer = gateway.browser().request(method, "/admin/x", &[("X-HTTP-Method-Override", "GET")], b"");
        assert_eq!(answer.status, status, "{method}");
    }
    public.saw_nothing();
    protected.saw_nothing();
}
