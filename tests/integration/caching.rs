//! What may be kept by whom: nothing that the gateway answers itself, and by no shared cache what was made for one user or sets a
//! cookie (X10). By HTTP/1.1 and HTTP/2, GET and HEAD.

use std::io::Write;

use crate::support::asker::{Asker, NAVIGATION, OWN_FORM};
use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;
use crate::support::wire::WireResponse;

const HOST: &str = "app.test";

type Fields<'a> = &'a [(&'a str, &'a str)];
/// A status, and what is asked for.
type Get<'a> = (u16, &'a str, Fields<'a>);
/// The same with a body.
type Post<'a> = (u16, &'a str, Fields<'a>, &'a [u8]);

/// Says of a response whether a shared cache may keep it, by its own fields.
fn is_shared(answer: &WireResponse) -> bool {
    let control = answer.all("cache-control").join(",").to_ascii_lowercase();
    let past = [
        "cdn-cache-control",
        "surrogate-control",
        "cloudflare-cdn-cache-control",
        "netlify-cdn-cache-control",
        "vercel-cdn-cache-control",
        "akamai-cache-control",
        "edge-control",
        "x-accel-expires",
    ];
    past.iter().any(|name| answer.header(name).is_some())
        || !control.split(',').any(|word| matches!(word.trim(), "private" | "no-store"))
        || control.split(',').any(|word| word.trim() == "public" || word.trim().starts_with("s-maxage"))
}

#[track_caller]
fn is_kept_nowhere(answer: &WireResponse, told: &str) {
    assert_eq!(answer.all("cache-control"), ["no-store"], "{told}: {answer:?}");
    assert_eq!(answer.all("vary"), ["Cookie"], "{told}: {answer:?}");
}

fn gateway(upstream: &TestUpstream) -> TestGateway {
    let url = upstream.url();
    let dead = "http://127.0.0.1:1";
    Setup::routes(format!(
        "[[routes]]\nhost = \"{HOST}\"\nupstream = [\"{url}\"]\nmax_body = 10\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/pub\"\naccess = \"public\"\nupstream = [\"{url}\"]\nmax_body = 10\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/staff\"\naccess = {{ groups = [\"staff\"] }}\nupstream = [\"{url}\"]\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/dead\"\naccess = \"public\"\nupstream = [\"{dead}\"]\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/moved\"\naccess = \"public\"\nredirect = {{ to = \"/new{{path}}\", status = 301 }}\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/gone\"\naccess = \"public\"\nrespond = {{ status = 410, body = \"gone\" }}\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/files\"\naccess = \"public\"\nstatic = {{ folder = \"www\" }}\n\
         [[routes]]\nhost = \"{HOST}\"\npath = \"/post\"\nmethods = [\"POST\"]\nupstream = [\"{url}\"]\n"
    ))
    .session("max_bad_cookies = 6\n")
    .server("max_uri = 512\nmax_headers = 20\n")
    .sections("[login.throttle]\nper_account = 1\nper_source = 1000\n")
    .both_protocols()
    .start()
}

#[test]
fn whatever_the_gateway_answers_itself_is_kept_nowhere() {
    let upstream = TestUpstream::start();
    let gateway = gateway(&upstream);
    let bob = gateway.cookie_at(HOST, "bob");
    std::fs::create_dir_all(gateway.file("www/folder")).unwrap();
    let long = format!("/{}", "x".repeat(600));
    let many: Vec<(String, &str)> = (0..30).map(|n| (format!("x-{n}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let as_bob = [("Cookie", bob.as_str()), ("Accept", "text/html")];
    let bad = [("Cookie", "fluidgate=v1.junk")];
    let gets: &[Get<'_>] = &[
        (303, "/x", &NAVIGATION),
        (401, "/x", &[]),
        (401, "/x", &bad),
        (403, "/staff", &as_bob),
        (403, "/staff", &as_bob[..1]),
        (400, "/pub/%zz", &[]),
        (400, "/pub/..%2fx", &NAVIGATION),
        (400, "/_auth/login?username=ada", &[]),
        (404, "/files/none", &[]),
        (404, "/_auth/none", &[]),
        (404, "/_auth/account/x.css", &as_bob),
        (404, "/_auth/assets/none.css", &as_bob),
        (405, "/post", &as_bob),
        (414, &long, &[]),
        (431, "/pub", &many),
        (502, "/dead", &[]),
        (502, "/dead", &NAVIGATION),
        (508, "/pub", &[("Via", "self")]),
        (301, "/moved/x", &[]),
        (308, "/files/folder", &[]),
        (410, "/gone", &[]),
        (200, "/_auth/login", &NAVIGATION),
        (200, "/_auth/login", &as_bob),
        (200, "/_auth/account", &as_bob),
        (200, "/_auth/logout", &as_bob),
        (303, "/_auth/logout", &[]),
        (303, "/_auth/account", &NAVIGATION),
        (200, "/_auth/whoami", &as_bob),
        (401, "/_auth/whoami", &[]),
    ];
    for asker in &mut Asker::both(&gateway) {
        // What the gateway calls itself is only to be seen where it says so.
        asker.get(HOST, "/pub", &[]).unwrap();
        let via = upstream.next().header("via").unwrap().to_owned();
        for (status, target, fields) in gets {
            let fields: Vec<_> =
                fields.iter().map(|(n, v)| (*n, if *v == "self" { via.as_str() } else { *v })).collect();
            for method in ["GET", "HEAD"] {
                let told = format!("{} {method} {target:.40}", asker.protocol());
                let answer = asker.ask(method, HOST, target.as_bytes(), &fields, b"").unwrap();
                assert_eq!(answer.status, *status, "{told}");
                is_kept_nowhere(&answer, &told);
            }
        }
        assert_eq!(asker.get("other.test", "/", &[]).unwrap().status, 404);
        is_kept_nowhere(&asker.get("other.test", "/", &[]).unwrap(), "no route");
        let other_type = [("Sec-Fetch-Site", "same-origin"), ("Content-Type", "text/plain")];
        let posts: &[Post<'_>] = &[
            (403, "/_auth/login", &[("Sec-Fetch-Site", "cross-site")], b"x=1"),
            (403, "/_auth/logout", &[("Sec-Fetch-Site", "cross-site")], b"x=1"),
            (415, "/_auth/login", &other_type, b"x=1"),
            (400, "/_auth/login", &OWN_FORM, b"username=a&username=b"),
            (303, "/_auth/logout", &OWN_FORM, b"x=1"),
            (405, "/_auth/whoami", &OWN_FORM, b"x=1"),
            (413, "/pub", &[], b"more than ten bytes"),
            (405, "/files/x", &[], b"x"),
        ];
        for (status, target, fields, body) in posts {
            let told = format!("{} POST {target}", asker.protocol());
            let answer = asker.ask("POST", HOST, target.as_bytes(), fields, body).unwrap();
            assert_eq!(answer.status, *status, "{told}");
            is_kept_nowhere(&answer, &told);
        }
        let form = b"username=ada&password=wrong-password";
        let statuses: Vec<_> = (0..3)
            .map(|_| {
                let answer = asker.ask("POST", HOST, b"/_auth/login", &OWN_FORM, form).unwrap();
                is_kept_nowhere(&answer, "a failed login");
                answer.status
            })
            .collect();
        assert!(statuses.contains(&429), "{statuses:?}");
    }
    // Enough bad cookies for a refusal of their own.
    let mut asker = Asker::http1(gateway.listener(0));
    let statuses: Vec<_> = (0..9)
        .map(|_| {
            let answer = asker.get(HOST, "/x", &bad).unwrap();
            is_kept_nowhere(&answer, "a bad cookie");
            answer.status
        })
        .collect();
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn what_the_http_library_refuses_before_us_says_nothing_of_keeping_and_is_not_kept_by_default() {
    let gateway = gateway(&TestUpstream::start());
    let huge = format!("GET /pub HTTP/1.1\r\nHost: {HOST}\r\nX: {}\r\n\r\n", "x".repeat(80_000));
    for (request, status) in [(huge.as_str(), 431), ("GET / HTTP/1.1\r\nbroken\r\n\r\n", 400)] {
        let answer = gateway.wire().try_send(request).receive().unwrap();
        // Not among the statuses that a cache may keep without being told (RFC 9110 section 15.1).
        assert_eq!(
            (answer.status, answer.header("cache-control"), answer.header("expires")),
            (status, None, None)
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
}

/// An upstream that answers with the status and the fields that the query asks for.
fn obedient() -> TestUpstream {
    TestUpstream::with(|request, stream| {
        let query = request.target().split_once('?').map_or("", |(_, query)| query).to_owned();
        let asked: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let status = asked.iter().find(|(name, _)| name == "status").map_or("200", |(_, status)| status);
        let fields: String =
            asked.iter().filter(|(name, _)| name != "status").map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let bare = request.line.starts_with("HEAD") || status == "304";
        let (length, body) = if bare { ("", "") } else { ("Content-Length: 5\r\n", "hello") };
        let answer = format!("HTTP/1.1 {status} As Asked\r\n{fields}{length}\r\n{body}");
        stream.write_all(answer.as_bytes()).map(|()| true)
    })
}

/// What apps say of keeping.
const CONTROLS: [&str; 10] = [
    "",
    "Cache-Control=public,max-age=600",
    "Cache-Control=s-maxage%3D600",
    "Cache-Control=max-age%3D600&Expires=Thu,%2001%20Jan%202099%2000:00:00%20GMT",
    "Cache-Control=private%3D%22x%22,max-age=600",
    "Cache-Control=public&Cache-Control=max-age%3D600",
    "CDN-Cache-Control=max-age%3D600&Cache-Control=private",
    "Netlify-CDN-Cache-Control=public&Vercel-CDN-Cache-Control=public&Akamai-Cache-Control=public",
    "Surrogate-Control=max-age%3D600&X-Accel-Expires=600",
    "Cache-Control=no-cache,must-revalidate",
];

#[test]
fn no_shared_cache_keeps_what_was_made_for_one_user_whatever_the_path_looks_like() {
    let upstream = obedient();
    let gateway = gateway(&upstream);
    let cookie = gateway.cookie_at(HOST, "bob");
    let fields = [("Cookie", cookie.as_str())];
    for asker in &mut Asker::both(&gateway) {
        for control in CONTROLS {
            for status in [200, 203, 206, 300, 301, 304, 404, 410, 500] {
                // A cache in front may keep by the ending of the path alone, unless the answer forbids it.
                for path in ["/account/x.css", "/account;x.js", "/pub/x.png"] {
                    for method in ["GET", "HEAD"] {
                        let target = format!("{path}?status={status}&{control}");
                        let told = format!("{} {method} {target}", asker.protocol());
                        let answer = asker.ask(method, HOST, target.as_bytes(), &fields, b"").unwrap();
                        assert_eq!(answer.status, status, "{told}");
                        assert!(!is_shared(&answer), "{told}: {answer:?}");
                    }
                }
            }
        }
        let strict = asker.get(HOST, "/a?Cache-Control=no-store", &fields).unwrap();
        assert_eq!(strict.all("cache-control"), ["no-store"]);
    }
}

#[test]
fn nothing_both_sets_a_cookie_and_may_be_kept_by_a_shared_cache() {
    let upstream = obedient();
    let gateway = gateway(&upstream);
    let cookie = gateway.cookie_at(HOST, "bob");
    let bad = format!("{cookie}x");
    for asker in &mut Asker::both(&gateway) {
        for control in CONTROLS {
            let plain = asker.get(HOST, format!("/pub/x.css?{control}"), &[]).unwrap();
            assert!(
                control.is_empty() || is_shared(&plain) || control.contains("private"),
                "an anonymous page is the app's"
            );
            for fields in [&[][..], &[("Cookie", cookie.as_str())][..], &[("Cookie", bad.as_str())][..]] {
                for target in
                    [format!("/pub/x.css?Set-Cookie=app%3D1&{control}"), format!("/pub/x.css?{control}")]
                {
                    let answer = asker.get(HOST, &target, fields).unwrap();
                    assert!(
                        answer.header("set-cookie").is_none() || !is_shared(&answer),
                        "{target}: {answer:?}"
                    );
                }
            }
        }
    }
}
