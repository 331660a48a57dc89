//! The account page: a user's own sessions, and ending them (S32).

use std::time::Duration;

use crate::support::browser::TestBrowser;
use crate::support::gateway::TestGateway;
use crate::support::upstream::TestUpstream;
use crate::support::wire::{WireResponse, unescaped};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";

/// A browser of this kind, signed in.
fn signed_in(gateway: &TestGateway, user: &str, agent: &str) -> TestBrowser {
    let mut browser = gateway.browser();
    browser.extra.push(("User-Agent".into(), agent.into()));
    browser.log_in(user);
    browser
}

fn token(browser: &mut TestBrowser) -> String {
    browser.open("/_auth/account").form_field("token")
}

/// The handles on the account page; this session's is the first.
fn handles(browser: &mut TestBrowser) -> Vec<String> {
    let page = browser.open("/_auth/account").text();
    let values = page.split("name=\"handle\" value=\"").skip(1);
    values.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

fn post(browser: &mut TestBrowser, token: &str, action: &str, handle: &str) -> WireResponse {
    browser.submit("/_auth/account", &[("token", token), ("action", action), ("handle", handle)])
}

fn leads_back_with(response: &WireResponse, notice: &str) {
    assert_eq!(response.status, 303, "{}", response.text());
    assert_eq!(response.location(), format!("/_auth/account?notice={notice}"));
}

#[test]
fn the_account_page_shows_my_sessions_with_this_one_marked_and_nobody_elses() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut phone = signed_in(&gateway, "ada", SAFARI);
    signed_in(&gateway, "bob", "curl/8.14.1");
    gateway.advance(Duration::from_secs(600));
    let mut desk = signed_in(&gateway, "ada", FIREFOX);
    let page = desk.open("/_auth/account");
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")));
    let text = page.text();
    for part in ["Ada Lovelace", "ada@example.com", "staff", "127.0.0.1", "used"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let (this, other) =
        (text.find("Firefox on Linux").expect("this one"), text.find("Safari on iPhone").expect("the other"));
    assert!(this < other, "this session comes first");
    assert_eq!(text.matches("This session").count(), 1);
    assert!(text.contains("10 minutes ago") && text.contains("just now") && !text.contains("curl"));
    assert_eq!(handles(&mut desk).len(), 2);
    assert_eq!(handles(&mut phone).len(), 2);
    assert!(!text.contains("<script"), "works without a script");
    let (_, secret) = desk.session_cookie().unwrap();
    assert!(!text.contains(secret.split('.').next().unwrap()), "no part of the cookie is shown");
}

#[test]
fn ending_one_session_ends_that_one_on_its_next_request() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut phone = signed_in(&gateway, "ada", SAFARI);
    let mut desk = signed_in(&gateway, "ada", FIREFOX);
    let (token, handle) = (token(&mut desk), handles(&mut desk).pop().unwrap());
    leads_back_with(&post(&mut desk, &token, "end", &handle), "ended");
    assert_eq!(phone.fetch("/").status, 401);
    assert_eq!(desk.fetch("/").status, 200);
    assert!(desk.open("/_auth/account?notice=ended").text().contains("The session has ended."));
    leads_back_with(&post(&mut desk, &token, "end", &handle), "not_found");
}

#[test]
fn ending_all_others_keeps_this_session_and_those_of_other_users() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut others: Vec<_> = (0..3).map(|_| signed_in(&gateway, "ada", SAFARI)).collect();
    let mut bob = signed_in(&gateway, "bob", SAFARI);
    let mut desk = signed_in(&gateway, "ada", FIREFOX);
    let token = token(&mut desk);
    leads_back_with(&post(&mut desk, &token, "end_others", ""), "others_ended");
    assert!(others.iter_mut().all(|other| other.fetch("/").status == 401));
    assert_eq!((desk.fetch("/").status, bob.fetch("/").status), (200, 200));
    assert_eq!(handles(&mut desk).len(), 1);
}

#[test]
fn ending_all_or_this_very_session_signs_out_as_a_logout_does() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut phone = signed_in(&gateway, "ada", SAFARI);
    let mut desk = signed_in(&gateway, "ada", FIREFOX);
    let (token_, own) = (token(&mut desk), handles(&mut desk).remove(0));
    let response = post(&mut desk, &token_, "end", &own);
    assert_eq!((response.status, response.location()), (303, "/_auth/login?signed_out=1"));
    assert_eq!(desk.session_cookie(), None);
    assert_eq!(phone.fetch("/").status, 200, "the other one stays");

    desk.log_in("ada");
    let token_ = token(&mut desk);
    let response = post(&mut desk, &token_, "end_all", "");
    assert_eq!((response.status, response.location()), (303, "/_auth/login?signed_out=1"));
    assert_eq!(response.header("clear-site-data"), Some("\"cache\", \"storage\""));
    assert_eq!((desk.session_cookie(), phone.fetch("/").status), (None, 401));
}

#[test]
fn a_handle_of_another_user_ends_nothing() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut ada = signed_in(&gateway, "ada", FIREFOX);
    let mut bob = signed_in(&gateway, "bob", FIREFOX);
    let (token, handle) = (token(&mut bob), handles(&mut ada).remove(0));
    leads_back_with(&post(&mut bob, &token, "end", &handle), "not_found");
    assert_eq!(ada.fetch("/").status, 200);
}

#[test]
fn a_post_from_another_site_or_without_the_token_of_this_session_ends_nothing() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut ada = signed_in(&gateway, "ada", FIREFOX);
    let mut bob = signed_in(&gateway, "bob", FIREFOX);
    let (own, foreign) = (token(&mut ada), token(&mut bob));
    for proof in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.test")] {
        let fields = [("token", own.as_str()), ("action", "end_all")];
        assert_eq!(ada.post("/_auth/account", &[proof], &fields).status, 403, "{proof:?}");
    }
    for token in ["", "x", foreign.as_str()] {
        leads_back_with(&post(&mut ada, token, "end_all", ""), "expired");
        let fields = [("token", token), ("action", "end_all")];
        assert_eq!(ada.post("/_auth/account", &[], &fields).status, 403, "a browser that says nothing");
    }
    assert_eq!(ada.fetch("/").status, 200);
    assert_eq!(ada.post("/_auth/account", &[], &[("token", &own), ("action", "end_all")]).status, 303);
    assert_eq!(ada.fetch("/").status, 401);
}

#[test]
fn an_anonymous_visitor_signs_in_first_and_comes_back_to_the_account() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    let response = browser.open("/_auth/account");
    assert_eq!((response.status, response.location()), (303, "/_auth/login?return_to=/_auth/account"));
    let page = browser.open("/_auth/login?return_to=/_auth/account");
    assert_eq!(page.form_field("return_to"), "/_auth/account");
    assert_eq!(browser.submit("/_auth/account", &[("action", "end_all")]).status, 303);
    let response =
        browser.log_in_with("ada", crate::support::gateway::PASSWORD, &page.form_field("return_to"));
    assert_eq!(response.location(), "/_auth/account");
    for own in ["/_auth/logout", "/_auth/login", "/_auth/account/x", "/_auth//account"] {
        let page = browser.open(&format!("/_auth/login?return_to={own}"));
        assert_eq!(page.form_field("return_to"), "/", "{own}");
    }
}

#[test]
fn the_login_and_logout_pages_lead_a_signed_in_user_to_the_account() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    let link = "href=\"/_auth/account\"";
    let links = |browser: &mut TestBrowser, page| unescaped(&browser.open(page).text()).contains(link);
    assert!(!links(&mut browser, "/_auth/login"));
    browser.log_in("ada");
    assert!(links(&mut browser, "/_auth/login") && links(&mut browser, "/_auth/logout"));
}

#[test]
fn whoami_says_user_groups_and_when_the_session_ends() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut browser = gateway.browser();
    browser.log_in("ada");
    let said = browser.fetch("/_auth/whoami").json();
    assert_eq!(said["user"], "ada");
    assert_eq!(said["groups"], serde_json::json!(["staff", "wiki"]));
    assert_eq!(said["expires_at"], "2027-01-15T10:00:00.000Z", "the idle limit, two hours from now");
}

#[test]
fn a_user_with_very_many_sessions_sees_the_last_hundred_and_ends_all_others() {
    let gateway = TestGateway::protecting(&TestUpstream::start());
    let mut first = signed_in(&gateway, "ada", SAFARI);
    for _ in 0..103 {
        gateway.browser().log_in("ada");
    }
    gateway.advance(Duration::from_secs(60));
    let mut desk = signed_in(&gateway, "ada", FIREFOX);
    let page = desk.open("/_auth/account").text();
    assert_eq!(handles(&mut desk).len(), 100);
    assert_eq!(page.matches("This session").count(), 1);
    assert!(page.contains("5 more sessions, used longer ago, are not shown"), "{page}");
    assert!(page.len() < 100_000, "{} bytes", page.len());
    let token = token(&mut desk);
    leads_back_with(&post(&mut desk, &token, "end_others", ""), "others_ended");
    assert_eq!((first.fetch("/").status, desk.fetch("/").status), (401, 200));
    let page = desk.open("/_auth/account").text();
    assert!(!page.contains("not shown"));
    assert_eq!(handles(&mut desk).len(), 1);
}
