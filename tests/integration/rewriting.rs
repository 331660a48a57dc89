//! What the upstream sees another way than the client, and routes that answer themselves (P6, P13, X10, X12).

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::wire::WireResponse;

fn route(upstream: &TestUpstream, lines: &str) -> String {
    format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n{lines}\n", upstream.url())
}

fn get(gateway: &TestGateway, target: &str) -> WireResponse {
    gateway.browser().request("GET", target, &[], b"")
}

#[test]
fn a_stripped_prefix_is_told_and_the_rest_is_forwarded_byte_for_byte() {
    let upstream = TestUpstream::start();
    let gateway = Setup::routes(route(&upstream, "path = \"/wiki\"\nstrip_prefix = true")).start();
    for (target, seen) in [
        ("/wiki", "/"),
        ("/wiki/", "/"),
        ("/wiki/caf%c3%a9/b;c//d?q=%2F&/wiki", "/caf%c3%a9/b;c//d?q=%2F&/wiki"),
        ("/%77iki/x", "/x"),
        ("/wiki?x", "/?x"),
    ] {
        assert_eq!(get(&gateway, target).status, 200, "{target}");
        let received = upstream.next();
        assert_eq!(
            (received.target(), received.header("x-forwarded-prefix")),
            (seen, Some("/wiki")),
            "{target}"
        );
    }
}

#[test]
fn no_spelling_gets_around_a_stripped_prefix() {
    let (upstream, rest) = (TestUpstream::start(), TestUpstream::start());
    let gateway = Setup::routes(
        route(&upstream, "path = \"/api\"\nstrip_prefix = true\nallow_encoded_slashes = true")
            + &format!("[[routes]]\nupstream = [\"{}\"]\n", rest.url()),
    )
    .start();
    for target in [
        "/api../admin",
        "/api/../admin",
        "/api/%2e%2e/admin",
        "/api%2f..%2fadmin",
        "/api;/../admin",
        "/api;x/admin",
        "/api%2fadmin",
        "//api/admin",
        "/api//evil.test",
        "/api//",
        "/apiadmin",
    ] {
        let status = get(&gateway, target).status;
        assert!(matches!(status, 400 | 401), "{target}: {status}");
    }
    upstream.saw_nothing();
    rest.saw_nothing();
}

#[test]
fn a_prefix_is_replaced_and_an_exact_path_is_exchanged() {
    let upstream = TestUpstream::start();
    let gateway = Setup::routes(
        route(&upstream, "path = \"/old\"\nreplace_prefix = \"/new/app\"")
            + &route(&upstream, "path = \"/status\"\nexact = true\nreplace_prefix = \"/internal/health\""),
    )
    .start();
    for (target, seen) in
        [("/old/a?b", "/new/app/a?b"), ("/old", "/new/app"), ("/status?v", "/internal/health?v")]
    {
        assert_eq!(get(&gateway, target).status, 200);
        assert_eq!(upstream.next().target(), seen);
    }
}

#[test]
fn the_host_is_the_clients_the_upstreams_or_a_name() {
    let upstream = TestUpstream::start();
    let gateway = Setup::routes(
        route(&upstream, "")
            + &route(&upstream, "path = \"/own\"\nhost_header = \"upstream\"")
            + &route(&upstream, "path = \"/named\"\nhost_header = \"app.example.com\""),
    )
    .start();
    let client = gateway.address().to_string();
    let own = upstream.url().replace("http://", "");
    for (target, host) in [("/", client.as_str()), ("/own", own.as_str()), ("/named", "app.example.com")] {
        get(&gateway, target);
        let seen = upstream.next();
        assert_eq!(
            (seen.header("host"), seen.header("x-forwarded-host")),
            (Some(host), Some(client.as_str()))
        );
    }
}

#[test]
fn a_location_of_the_upstreams_own_leads_back_through_the_gateway() {
    let upstream = TestUpstream::with(|request, stream| {
        use std::io::Write;
        let to = request.header("x-to").unwrap().replace("SELF", request.header("host").unwrap());
        write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").map(|()| true)
    });
    let gateway = Setup::routes(
        route(&upstream, "path = \"/wiki\"\nstrip_prefix = true\nhost_header = \"upstream\"")
            + &route(&upstream, "path = \"/plain\""),
    )
    .start();
    let located = |path: &str, to: &str| {
        let answer = gateway.browser().request("GET", path, &[("X-To", to)], b"");
        answer.location().to_owned()
    };
    assert_eq!(located("/wiki/x", "/login?a"), "/wiki/login?a");
    assert_eq!(located("/wiki/x", "http://SELF/y"), "/wiki/y");
    assert_eq!(located("/wiki/x", "https://elsewhere.test/y"), "https://elsewhere.test/y");
    assert_eq!(located("/wiki/x", "//elsewhere.test/y"), "//elsewhere.test/y");
    assert_eq!(located("/plain/x", "/login"), "/login");
}

#[test]
fn header_rules_change_both_directions_and_never_the_marks_of_a_user() {
    let upstream = TestUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: app/1\r\nVary: Accept\r\n\r\n",
    );
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{}\"]\n\
         request_headers = {{ set = {{ X-Theme = \"dark\" }}, add = {{ X-Tag = \"b\" }}, remove = [\"Referer\", \"X-Forwarded-Port\"] }}\n\
         response_headers = {{ set = {{ Cache-Control = \"public, max-age=60\" }}, add = {{ Vary = \"X-Theme\" }}, remove = [\"Server\"] }}\n",
        upstream.url()
    ))
    .start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let fields = [
        ("X-Theme", "light"),
        ("X-Theme", "pink"),
        ("X-Tag", "a"),
        ("Referer", "http://x/"),
        ("Remote-User", "eve"),
    ];
    let answer = ada.request("GET", "/", &fields, b"");
    let seen = upstream.next();
    assert_eq!((seen.all("x-theme"), seen.all("x-tag")), (vec!["dark"], vec!["a", "b"]));
    assert_eq!((seen.header("referer"), seen.header("x-forwarded-port")), (None, None));
    assert_eq!(seen.header("remote-user"), Some("ada"));
    assert_eq!((answer.header("server"), answer.all("vary")), (None, vec!["Accept", "X-Theme"]));
    assert_eq!(answer.header("cache-control"), Some("private, max-age=60"), "for one user all the same");
}

#[test]
fn a_redirect_route_sends_elsewhere_with_what_it_asks_for() {
    let gateway = Setup::routes(
        "[[routes]]\naccess = \"public\"\nredirect = { to = \"https://new.example.com{path}{query}\" }\n\
         [[routes]]\npath = \"/old\"\naccess = \"public\"\nstrip_prefix = true\nredirect = { to = \"/new{path}\", status = 302 }\n\
         [[routes]]\npath = \"/secret\"\nredirect = { to = \"/elsewhere\" }\n",
    )
    .start();
    for (target, status, location) in [
        ("/a%20b//c?q=/x", 308, "https://new.example.com/a%20b//c?q=/x"),
        ("/", 308, "https://new.example.com/"),
        ("//evil.test/", 308, "https://new.example.com//evil.test/"),
        ("/old/x?q", 302, "/new/x"),
        ("/old", 302, "/new/"),
    ] {
        let answer = get(&gateway, target);
        assert_eq!((answer.status, answer.location()), (status, location), "{target}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(get(&gateway, "/secret").status, 401, "its rule comes first");
    let mut ada = gateway.browser();
    ada.log_in("ada");
    assert_eq!(ada.fetch("/secret").location(), "/elsewhere");
}

#[test]
fn a_fixed_response_is_given_word_for_word() {
    let gateway = Setup::routes(
        "[[routes]]\naccess = \"public\"\nrespond = { status = 503, body = \"<p>Back soon</p>\", content_type = \"text/html\" }\n\
         response_headers = { set = { Retry-After = \"60\" } }\n\
         [[routes]]\npath = \"/none\"\naccess = \"public\"\nrespond = { status = 204 }\n",
    )
    .start();
    let answer = gateway.browser().request("POST", "/x", &[], b"body");
    assert_eq!((answer.status, answer.text().as_str()), (503, "<p>Back soon</p>"));
    assert_eq!(
        (answer.header("content-type"), answer.header("retry-after")),
        (Some("text/html"), Some("60"))
    );
    assert_eq!((answer.header("cache-control"), answer.header("vary")), (Some("no-store"), Some("Cookie")));
    let head = gateway.browser().request("HEAD", "/x", &[], b"");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (503, Some("16"), 0));
    let none = get(&gateway, "/none");
    assert_eq!((none.status, none.header("content-type"), none.header("content-length")), (204, None, None));
}

/// A gateway whose `/docs` are files, behind a login where `access` says so.
fn serving_files(access: &str) -> TestGateway {
    let setup = Setup::routes(format!(
        "[[routes]]\npath = \"/docs\"\naccess = \"{access}\"\nstatic = {{ folder = \"public\" }}\n"
    ));
    let root = setup.folder.path();
    let public = root.join("public");
    fs::create_dir_all(public.join("sub/.hidden")).unwrap();
    fs::write(root.join("outside.txt"), "outside").unwrap();
    for (name, text) in [
        ("index.html", "<p>index</p>"),
        ("a b.txt", "0123456789"),
        ("empty.txt", ""),
        ("sub/index.html", "sub"),
        (".env", "secret"),
        ("sub/.hidden/x.txt", "hidden"),
    ] {
        fs::write(public.join(name), text).unwrap();
    }
    symlink(root.join("outside.txt"), public.join("escape.txt")).unwrap();
    symlink(root, public.join("up")).unwrap();
    symlink(public.join(".env"), public.join("env.txt")).unwrap();
    symlink(public.join("a b.txt"), public.join("inside.txt")).unwrap();
    setup.start()
}

#[test]
fn files_of_a_folder_are_served_with_ranges_and_conditions() {
    let gateway = serving_files("public");
    let page = get(&gateway, "/docs/");
    assert_eq!((page.status, page.text().as_str()), (200, "<p>index</p>"));
    assert_eq!(
        (page.header("content-type"), page.header("x-content-type-options")),
        (Some("text/html"), Some("nosniff"))
    );
    assert_eq!(get(&gateway, "/docs/sub/").text(), "sub");
    assert_eq!(get(&gateway, "/docs/inside.txt").text(), "0123456789");
    let file = get(&gateway, "/docs/a%20b.txt");
    assert_eq!((file.text().as_str(), file.header("accept-ranges")), ("0123456789", Some("bytes")));
    let etag = file.header("etag").unwrap().to_owned();
    let ask = |fields: &[(&str, &str)]| {
        let answer = gateway.browser().request("GET", "/docs/a%20b.txt", fields, b"");
        (answer.status, answer.text())
    };
    assert_eq!(ask(&[("Range", "bytes=2-4")]), (206, "234".into()));
    assert_eq!(ask(&[("Range", "bytes=90-")]).0, 416);
    assert_eq!(ask(&[("If-None-Match", &etag)]).0, 304);
    assert_eq!(ask(&[("Range", "bytes=2-4"), ("If-Range", &etag)]), (206, "234".into()));
    assert_eq!(ask(&[("Range", "bytes=2-4"), ("If-Range", "\"other\"")]), (200, "0123456789".into()));
    let head = gateway.browser().request("HEAD", "/docs/a%20b.txt", &[], b"");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("10"), 0));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = gateway.browser().request(method, "/docs/a%20b.txt", &[], b"");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for path in ["/docs", "/docs/sub?q=1"] {
        let moved = get(&gateway, path);
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let mark = if query.is_empty() { "" } else { "?" };
        assert_eq!((moved.status, moved.location()), (308, format!("{bare}/{mark}{query}").as_str()));
    }
}

#[test]
fn what_is_not_one_range_of_bytes_gets_the_whole_file_and_never_a_refusal() {
    let gateway = serving_files("public");
    let ask = |method: &str, ranges: &[&str]| {
        let fields: Vec<_> = ranges.iter().map(|range| ("Range", *range)).collect();
        let answer = gateway.browser().request(method, "/docs/a%20b.txt", &fields, b"");
        (answer.status, answer.text())
    };
    for range in [
        "items=0-5",
        "bytes=0-0,5-9",
        "bytes=abc",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes 0-1",
        "0-1",
        "",
    ] {
        assert_eq!(ask("GET", &[range]), (200, "0123456789".into()), "{range}");
    }
    assert_eq!(ask("GET", &["bytes=0-1", "bytes=2-3"]), (200, "0123456789".into()), "two fields");
    assert_eq!(ask("GET", &["bytes=-90"]), (200, "0123456789".into()), "more of the end than there is");
    assert_eq!(ask("HEAD", &["bytes=0-1"]).0, 200, "only a GET asks for parts");
    for (range, part) in [
        ("BYTES=0-1", "01"),
        ("bytes=0000002-0004", "234"),
        ("bytes=8-99999999999999999999999999", "89"),
        ("bytes=8-", "89"),
        ("bytes=-2", "89"),
    ] {
        assert_eq!(ask("GET", &[range]), (206, part.into()), "{range}");
    }
    for range in ["bytes=10-", "bytes=99999999999999999999999999-"] {
        assert_eq!(ask("GET", &[range]).0, 416, "{range}");
    }
    for range in ["bytes=0-0", "bytes=0-", "bytes=-1"] {
        let answer = gateway.browser().request("GET", "/docs/empty.txt", &[("Range", range)], b"");
        assert_eq!((answer.status, answer.header("content-range")), (200, None), "an empty file: {range}");
    }
}

#[test]
fn nothing_hidden_and_nothing_outside_the_folder_is_ever_served() {
    let gateway = serving_files("public");
    for path in [
        "/docs/.env",
        "/docs/%2eenv",
        "/docs/env.txt",
        "/docs/sub/.hidden/x.txt",
        "/docs/escape.txt",
        "/docs/up/outside.txt",
        "/docs/up/secret.key",
        "/docs/../outside.txt",
        "/docs/%2e%2e/outside.txt",
        "/docs/..%2foutside.txt",
        "/docs/sub%2findex.html",
        "/docs//index.html",
        "/docs/sub//index.html",
        "/docs/index.html/",
        "/docs/none",
        "/docs/index.html%00",
        "/docs/sub\\index.html",
        "/docs//etc/passwd",
    ] {
        let answer = get(&gateway, path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        let text = answer.text();
        assert!(!text.contains("secret") && !text.contains("outside") && !text.contains("hidden"), "{path}");
    }
}

#[test]
fn files_behind_a_login_need_one_and_are_private() {
    let gateway = serving_files("authenticated");
    for path in ["/docs/", "/docs/a%20b.txt", "/docs/none", "/docs"] {
        assert_eq!(gateway.browser().fetch(path).status, 401, "{path}");
    }
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let file = ada.fetch("/docs/a%20b.txt");
    assert_eq!((file.status, file.header("cache-control")), (200, Some("private")));
}
