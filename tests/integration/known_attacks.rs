//! What has opened other gateways and is tested nowhere else: a case per advisory (docs/security-model.md names them).

use crate::support::asker::{Asker, NAVIGATION, OWN_FORM};
use crate::support::gateway::{PASSWORD, Setup, TestGateway};
use crate::support::upstream::TestUpstream;

#[test]
fn nobody_whose_session_lives_is_told_that_they_are_signed_out() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    assert!(browser.open("/_auth/login?signed_out=1").text().contains("signed out"));
    browser.log_in("ada");
    for page in ["/_auth/login?signed_out=1", "/_auth/login"] {
        let page = browser.open(page).text();
        assert!(page.contains("signed in as") && !page.contains("signed out"), "{page}");
    }
    assert_eq!(browser.open("/").status, 200, "and nothing has ended");
}

#[test]
fn a_forwarded_address_that_cannot_be_read_skips_no_password() {
    let upstream = TestUpstream::start();
    for server in ["", "trusted_proxies = [\"127.0.0.1/32\"]\n"] {
        let gateway = Setup::protecting(&upstream).server(server).both_protocols().start();
        for asker in &mut Asker::both(&gateway) {
            for (name, value) in [
                ("X-Forwarded-For", "a"),
                ("X-Forwarded-For", "1.2.3.4, ,"),
                ("X-Forwarded-For", "999.1.1.1"),
                ("X-Forwarded-For", ""),
                ("Forwarded", "for=\"[::1\""),
                ("Forwarded", "for"),
                ("X-Real-IP", "a"),
            ] {
                let fields = [&OWN_FORM[..], &[(name, value)]].concat();
                let form = b"username=ada&password=wrong+password";
                let answer = asker.ask("POST", "app.test", b"/_auth/login", &fields, form).unwrap();
                assert!(matches!(answer.status, 400 | 401 | 429), "{name}: {value}: {}", answer.status);
                assert!(!answer.all("set-cookie").iter().any(|cookie| cookie.contains("fluidgate=v1")));
            }
        }
    }
    upstream.saw_nothing();
}

#[test]
fn no_page_and_no_answer_shows_the_token_of_a_session() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    browser.log_in("ada");
    let (_, value) = browser.session_cookie().unwrap();
    let parts: Vec<&str> = value.split('.').filter(|part| part.len() > 8).collect();
    assert_eq!(parts.len(), 2, "a token and a MAC");
    for page in ["/_auth/account", "/_auth/whoami", "/_auth/login", "/_auth/logout", "/_auth/none"] {
        let answer = browser.open(page);
        for part in &parts {
            assert!(!answer.text().contains(part), "{page} shows it");
            let shown = |(name, text): &(String, String)| name != "set-cookie" && text.contains(part);
            assert!(!answer.headers.iter().any(shown), "{page} has it in a field");
        }
    }
}

#[test]
fn a_preflight_opens_nothing_and_carries_no_identity() {
    let upstream = TestUpstream::start();
    let gateway = Setup::routes(format!(
        "[[routes]]\nupstream = [\"{0}\"]\n[[routes]]\npath = \"/pub\"\naccess = \"public\"\nupstream = [\"{0}\"]\n",
        upstream.url()
    ))
    .both_protocols()
    .start();
    let fields = [
        ("Origin", "https://evil.test"),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "remote-user"),
        ("Remote-User", "ada"),
        ("Remote-Groups", "staff"),
        ("X-Forwarded-User", "ada"),
    ];
    for asker in &mut Asker::both(&gateway) {
        assert_eq!(asker.ask("OPTIONS", "app.test", b"/x", &fields, b"").unwrap().status, 401);
        assert_eq!(asker.ask("OPTIONS", "app.test", b"/pub", &fields, b"").unwrap().status, 200);
        let seen = upstream.next();
        for name in ["remote-user", "remote-groups", "x-forwarded-user"] {
            assert_eq!(seen.header(name), None, "{}: {name}", asker.protocol());
        }
    }
    upstream.saw_nothing();
}

#[test]
fn hosts_are_told_apart_in_any_case_however_many_there_are() {
    let upstream = TestUpstream::start();
    let many: String = (0..150)
        .map(|n| format!("[[routes]]\nhost = \"h{n}.corp.test\"\nupstream = [\"{}\"]\n", upstream.url()))
        .collect();
    let lax =
        "[[routes]]\nhost = \"*.corp.test\"\naccess = \"public\"\nrespond = { status = 200 }\n".to_owned();
    let strict = format!("[[routes]]\nhost = \"*.b.corp.test\"\nupstream = [\"{}\"]\n", upstream.url());
    let gateway = Setup::routes(many + &lax + &strict).both_protocols().start();
    for asker in &mut Asker::both(&gateway) {
        for host in [
            "h7.corp.test",
            "H7.CORP.test",
            "h149.Corp.Test.",
            "a.b.corp.test",
            "a.B.corp.test",
            "A.b.CORP.test.",
        ] {
            assert_eq!(asker.get(host, "/", &[]).unwrap().status, 401, "{}: {host}", asker.protocol());
        }
        assert_eq!(asker.get("c.CORP.test", "/", &[]).unwrap().status, 200);
    }
    upstream.saw_nothing();
}

#[test]
fn a_post_without_a_session_is_not_kept_and_not_sent_on_after_the_login() {
    let upstream = TestUpstream::start();
    let gateway = Setup::protecting(&upstream).both_protocols().start();
    for asker in &mut Asker::both(&gateway) {
        let fields = [&NAVIGATION[..], &[("Content-Type", "application/x-www-form-urlencoded")]].concat();
        let answer = asker.ask("POST", "app.test", b"/transfer?to=eve", &fields, b"amount=100").unwrap();
        assert_eq!(answer.location(), "/_auth/login", "{}", asker.protocol());
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("username", "ada"), ("password", PASSWORD), ("return_to", "/")])
            .finish();
        let answer = asker.ask("POST", "app.test", b"/_auth/login", &OWN_FORM, form.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.location()), (303, "/"));
    }
    upstream.saw_nothing();
}
