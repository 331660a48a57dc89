//! What holds for every page. The wording is free to change: no test compares whole pages.

use std::time::Duration;

use super::*;
use crate::base::clock::Timestamp;

const HOSTILE: &str = "\"><script>alert('1')</script><img src=x onerror=\"alert(2)\" style='x'>";

fn pages() -> Pages {
    Pages::new("/_auth").unwrap()
}

fn login(text: &str, message: Option<LoginMessage>) -> String {
    pages().login(&LoginView {
        return_to: text,
        token: text,
        username: text,
        message,
        host: text,
        signed_in_as: Some(text),
    })
}

fn logout(text: &str) -> String {
    pages().logout(&LogoutView { token: text, user: text, name: Some(text), return_to: text })
}

fn account(text: &str) -> String {
    let now = Timestamp::from_secs(1_700_000_000);
    let session = |handle, current| SessionView {
        handle,
        current,
        created: now.before(Duration::from_secs(90_000)),
        last_seen: now.before(Duration::from_secs(300)),
        address: text,
        browser: text,
    };
    pages().account(&AccountView {
        user: text,
        name: Some(text),
        email: Some(text),
        groups: &[text, text],
        token: text,
        sessions: &[session(text, true), session("other", false)],
        hidden: 0,
        notice: Some(AccountNotice::Ended),
        now,
    })
}

fn denied(text: &str) -> String {
    pages().denied(&DeniedView { user: text, reason: text, request_id: text, host: text, return_to: text })
}

fn message(text: &str) -> String {
    pages().message(&MessageView { status: 502, title: text, text, request_id: text, retry: true })
}

/// Every page, with `text` in every place that takes one.
fn every_page(text: &str) -> [(&'static str, String); 5] {
    [
        ("login", login(text, Some(LoginMessage::Refused))),
        ("logout", logout(text)),
        ("account", account(text)),
        ("denied", denied(text)),
        ("message", message(text)),
    ]
}

/// The values of the attribute `name` in `page`.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The piece of `page` from each `<form` to its end.
fn forms(page: &str) -> Vec<&str> {
    page.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()).collect()
}

#[test]
fn every_page_renders() {
    for (name, page) in every_page("ada") {
        assert_ne!(page, FALLBACK, "{name}");
        assert!(
            page.contains("ada") && page.contains("<h1>") && page.trim_end().ends_with("</html>"),
            "{name}"
        );
    }
}

#[test]
fn every_page_renders_without_its_optional_parts() {
    let pages = pages();
    let login = LoginView {
        return_to: "/",
        token: "t",
        username: "",
        message: None,
        host: "wiki.example",
        signed_in_as: None,
    };
    let logout = LogoutView { token: "t", user: "ada", name: None, return_to: "/" };
    let account = AccountView {
        user: "ada",
        name: None,
        email: None,
        groups: &[],
        token: "t",
        sessions: &[],
        hidden: 0,
        notice: None,
        now: Timestamp::default(),
    };
    let message = MessageView { status: 404, title: "Not found", text: "-", request_id: "r", retry: false };
    for page in [pages.login(&login), pages.logout(&logout), pages.account(&account), pages.message(&message)]
    {
        assert_ne!(page, FALLBACK);
        assert!(!page.contains(">none<"));
    }
}

#[test]
fn every_page_escapes_hostile_values() {
    for (name, page) in every_page(HOSTILE) {
        assert_ne!(page, FALLBACK, "{name}");
        for tag in ["<script", "<img src=x", "\">\"", "alert('"] {
            assert!(!page.contains(tag), "{name} lets {tag} through");
        }
        let tame = every_page("ada").into_iter().find(|(other, _)| *other == name).unwrap().1;
        assert_eq!(page.matches('<').count(), tame.matches('<').count(), "{name} has a tag too many");
        assert_eq!(page.matches('"').count(), tame.matches('"').count(), "{name} has a quote too many");
    }
}

#[test]
fn no_page_has_a_script_an_inline_style_or_anything_from_elsewhere() {
    for (name, page) in every_page("ada") {
        // The escaper writes slashes as references.
        let page = page.replace("&#x2f;", "/");
        for banned in [
            "<script",
            "<style",
            " style=",
            " onclick=",
            " onload=",
            "javascript:",
            "://",
            "<base",
            "@import",
        ] {
            assert!(!page.contains(banned), "{name} has {banned}");
        }
        for attribute in ["href", "src", "action"] {
            for value in attributes(&page, attribute) {
                let ours = value.starts_with("/_auth/");
                assert!(
                    ours || ["", "/", "end", "end_others", "end_all"].contains(&value),
                    "{name}: {value}"
                );
            }
        }
    }
}

#[test]
fn the_stylesheet_loads_nothing() {
    let style = std::str::from_utf8(include_bytes!("assets/style.css")).unwrap();
    assert!(!style.contains("url(") && !style.contains("@import") && !style.contains("://"));
}

#[test]
fn every_form_posts_its_fields() {
    let expect = |form: &str, action: &str, names: &[&str]| {
        assert_eq!(attributes(form, "method"), ["post"]);
        assert_eq!(attributes(form, "action")[0].replace("&#x2f;", "/"), action);
        assert_eq!(attributes(form, "name"), names);
    };
    let page = login("ada", None);
    expect(forms(&page)[0], "/_auth/login", &["return_to", "token", "username", "password"]);
    let page = logout("ada");
    expect(forms(&page)[0], "/_auth/logout", &["return_to", "token"]);
    let page = account("ada");
    let account = forms(&page);
    assert_eq!(account.len(), 3);
    expect(account[0], "/_auth/account", &["token", "handle", "action"]);
    expect(account[1], "/_auth/account", &["token", "handle", "action"]);
    expect(account[2], "/_auth/account", &["token", "action", "action"]);
    assert!(forms(&denied("ada")).is_empty() && forms(&message("ada")).is_empty());
}

#[test]
fn every_field_has_a_label_and_the_browser_is_told_what_it_holds() {
    let page = login("", None);
    for (id, purpose) in [("username", "username"), ("password", "current-password")] {
        assert!(page.contains(&format!("<label for=\"{id}\">")));
        assert!(page.contains(&format!("autocomplete=\"{purpose}\"")));
    }
    assert_eq!(page.matches("autofocus").count(), 1);
}

#[test]
fn a_refusal_is_announced_and_does_not_say_what_was_wrong() {
    let page = login("ada", Some(LoginMessage::Refused));
    assert!(page.contains("role=\"alert\"") && page.contains("aria-describedby=\"message\""));
    assert!(page.contains("User name or password is wrong"));
}

#[test]
fn a_pause_is_told_in_minutes() {
    assert!(login("ada", Some(LoginMessage::Throttled { minutes: 15 })).contains("wait 15 minutes"));
    assert!(login("ada", Some(LoginMessage::Throttled { minutes: 1 })).contains("wait a minute"));
}

#[test]
fn a_denied_user_sees_who_they_are_why_the_request_id_and_a_way_to_switch() {
    let page = pages().denied(&DeniedView {
        user: "ada",
        reason: "Only members of staff may enter.",
        request_id: "01J9",
        host: "wiki.example",
        return_to: "/a?b=c&d",
    });
    for part in ["ada", "Only members of staff may enter.", "01J9", "wiki.example"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("login?return_to=%2Fa%3Fb%3Dc%26d"));
}

#[test]
fn only_a_path_or_a_web_address_becomes_a_link() {
    for target in [
        "javascript:alert(1)",
        "//evil.example",
        "/\\evil.example",
        "data:text/html,x",
        "",
        "/\t/evil.example",
    ] {
        assert_eq!(view::link_to(target), "/", "{target}");
    }
    assert_eq!(view::link_to("/a?b"), "/a?b");
    assert_eq!(view::link_to("https://wiki.example/"), "https://wiki.example/");
}

#[test]
fn every_file_a_page_names_is_there_under_a_name_that_follows_its_content() {
    let pages = pages();
    let page = login("ada", None).replace("&#x2f;", "/");
    let named: Vec<&str> = attributes(&page, "href").into_iter().chain(attributes(&page, "src")).collect();
    let files: Vec<&str> = named.into_iter().filter(|path| path.contains("/assets/")).collect();
    assert_eq!(files.len(), 3);
    for path in files {
        let asset = pages.asset(path).unwrap();
        assert!(!asset.bytes.is_empty());
        assert!(asset.content_type == "image/svg+xml" || asset.content_type.starts_with("text/css"));
    }
    assert!(pages.asset("/_auth/assets/style.css").is_none());
    assert!(pages.asset("/_auth/assets/../../etc/passwd").is_none());
}

#[test]
fn only_a_plain_absolute_prefix_is_taken() {
    for prefix in ["", "_auth", "/", "//_auth", "/_auth/", "/a b", "/\"><x"] {
        assert!(matches!(Pages::new(prefix), Err(PageError::Prefix(_))), "{prefix}");
    }
    assert!(
        Pages::new("/our/door")
            .unwrap()
            .denied(&DeniedView { user: "ada", reason: "-", request_id: "r", host: "h", return_to: "/" })
            .replace("&#x2f;", "/")
            .contains("/our/door/login?")
    );
}

/// Writes every page where `PAGES_OUT` says, to be looked at in a browser.
#[test]
#[ignore = "writes files for the eye; judges nothing"]
fn pages_for_the_eye() {
    let out = std::path::PathBuf::from(std::env::var("PAGES_OUT").unwrap());
    let pages = pages();
    let now = Timestamp::from_secs(1_700_000_000);
    let view = LoginView {
        return_to: "/notes",
        token: "t",
        username: "",
        message: None,
        host: "wiki.example.com",
        signed_in_as: None,
    };
    let session = |handle, current, age: u64, browser, address| SessionView {
        handle,
        current,
        created: now.before(Duration::from_secs(age * 9)),
        last_seen: now.before(Duration::from_secs(age)),
        address,
        browser,
    };
    let sessions = [
        session("a", true, 10, "Firefox on Linux", "192.0.2.17"),
        session("b", false, 4000, "Safari on iPhone", "2001:db8:12:3400:5c1e:88ff:fe00:17"),
        session("c", false, 200_000, "Chrome on Windows", "198.51.100.4"),
    ];
    let files = [
        ("login.html", pages.login(&view)),
        (
            "refused.html",
            pages.login(&LoginView { username: "ada", message: Some(LoginMessage::Refused), ..view.clone() }),
        ),
        (
            "signedout.html",
            pages.login(&LoginView {
                message: Some(LoginMessage::SignedOut),
                signed_in_as: Some("ada"),
                ..view
            }),
        ),
        (
            "logout.html",
            pages.logout(&LogoutView { token: "t", user: "ada", name: Some("Ada Lovelace"), return_to: "/" }),
        ),
        (
            "account.html",
            pages.account(&AccountView {
                user: "ada",
                name: Some("Ada Lovelace"),
                email: Some("ada@example.com"),
                groups: &["staff", "editors"],
                token: "t",
                sessions: &sessions,
                hidden: 0,
                notice: Some(AccountNotice::Ended),
                now,
            }),
        ),
        (
            "denied.html",
            pages.denied(&DeniedView {
                user: "ada",
                reason: "Only members of the group “staff” may open this page.",
                request_id: "01JCW5T8Q9Z3",
                host: "wiki.example.com",
                return_to: "/",
            }),
        ),
        (
            "message.html",
            pages.message(&MessageView {
                status: 502,
                title: "The app does not answer",
                text: "The app behind this address could not be reached. Please try again in a moment.",
                request_id: "01JCW5T8Q9Z3",
                retry: true,
            }),
        ),
    ];
    std::fs::create_dir_all(out.join("_auth/assets")).unwrap();
    for (name, page) in files {
        std::fs::write(out.join(name), page).unwrap();
    }
    for path in [pages.assets.style(), pages.assets.mark()] {
        std::fs::write(out.join(path.trim_start_matches('/')), pages.asset(path).unwrap().bytes).unwrap();
    }
}
