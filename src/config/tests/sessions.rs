//! `[session]`.

use super::*;

#[test]
fn impossible_cookies_name_the_key() {
    let proxy = "[server]\ntrusted_proxies = [\"10.0.0.5\"]\n";
    for (cookie, expected) in [
        ("same_site = \"none\"", "6:13: browsers refuse `same_site`"),
        ("name = \"__host-a\"", "6:8: browsers refuse the `name`"),
        ("name = \"__Secure-a\"", "6:8: browsers refuse the `name`"),
        (
            "name = \"__Host-a\"\nsecure = true\ndomain = \"a.example\"",
            "8:10: a __Host- cookie has no `domain`",
        ),
        ("domain = \"a.example\"", "6:10: the default name __Host-fluidgate excludes a `domain`"),
        ("name = \"a\"\npath = \"/app\"", "7:8: the pages below /_auth would never see"),
        ("signed = false", "6:10: `session.cookie.signed` is false"),
        ("http_only = false", "6:13: scripts of the apps can read"),
        ("expires = \"soon\"", "6:11: \"soon\" is not a date"),
    ] {
        only(&with(&format!("[session.cookie]\n{cookie}\n{proxy}{ROUTE}")), expected);
    }
}

#[test]
fn a_secure_cookie_on_plain_listeners_alone_is_refused() {
    only(&with(&format!("[session.cookie]\nsecure = true\n{ROUTE}")), "6:10: `secure` is true, but every");
}

#[test]
fn an_idle_timeout_above_the_duration_is_refused() {
    let text = with(ROUTE).replace("[login", "duration = \"1h\"\nidle_timeout = \"2h\"\n[login");
    only(&text, "4:16: `session.idle_timeout` is longer");
}

#[test]
fn a_redis_store_is_taken_and_its_password_never_shown() {
    let store = |keys: &str| {
        with(ROUTE).replace("[login", &format!("store = {{ type = \"redis\", {keys} }}\n[login"))
    };
    let config = checked(&store("url = \"redis://:hunter2@h/2\", grace = \"0s\"")).unwrap().config;
    let StoreSettings::Redis { address, grace } = &config.session.store else { panic!("another store") };
    assert_eq!((address.to_string().as_str(), grace.as_secs()), ("redis://h:6379/2", 0));
    assert!(!format!("{config:?}").contains("hunter2"));
    for (keys, expected) in [
        ("grace = \"1s\"", "a redis store needs a `url`"),
        ("url = \"rediss://:hunter2@h\"", "TLS to Redis is not in this version"),
        ("url = \"http://:hunter2@h\"", "not the address of a Redis server"),
        ("url = \"redis://:hunter2@h\", grace = \"1h\"", "`session.store.grace` is out of range"),
        ("url = \"redis://:hunter2@h\", path = \"x\"", "a redis store has no path"),
        ("url = \"env:NO_SUCH_VARIABLE\"", "the environment has no"),
    ] {
        let problems = checked(&store(keys)).unwrap_err();
        assert!(problems.to_string().contains(expected), "{keys}: {problems}");
        assert!(!format!("{problems}{problems:?}").contains("hunter2"), "{keys}: {problems}");
    }
}

#[test]
fn the_redis_address_may_stand_in_a_file_of_its_own() {
    let folder = folder();
    let file = folder.path().join("redis.url");
    fs::write(&file, "redis://:hunter2@h/1\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("store = {{ type = \"redis\", url = \"file:{}\" }}\n[login", file.display());
    let config = checked(&with(ROUTE).replace("[login", &url)).unwrap().config;
    let StoreSettings::Redis { address, .. } = &config.session.store else { panic!("another store") };
    assert_eq!(address.to_string(), "redis://h:6379/1");
}

#[test]
fn a_cap_is_a_number_and_what_happens_at_it() {
    let session = |lines: &str| checked(&with(ROUTE).replace("[login", &format!("{lines}\n[login")));
    let cap = |lines: &str| session(lines).unwrap().config.session.cap;
    assert_eq!(cap(""), None);
    assert_eq!(cap("max_per_user = 3"), Some(Cap { max_per_user: 3, at_limit: AtLimit::EndOldest }));
    let refuse = "max_per_user = 10000\nat_limit = \"refuse\"";
    assert_eq!(cap(refuse), Some(Cap { max_per_user: 10_000, at_limit: AtLimit::Refuse }));
    for (lines, what) in [
        ("max_per_user = 0", "`session.max_per_user` is out of range"),
        ("max_per_user = 10001", "`session.max_per_user` is out of range"),
        ("max_per_user = 3\nat_limit = \"oldest\"", "did you mean \"end_oldest\"?"),
        ("at_limit = \"refuse\"", "does nothing without `session.max_per_user`"),
        ("max_bad_cookies = -1", "`session.max_bad_cookies` is out of range"),
    ] {
        let problems = session(lines).unwrap_err().to_string();
        assert!(problems.contains(what), "{lines}: {problems}");
    }
    assert_eq!(session("").unwrap().config.session.max_bad_cookies, 100);
    assert_eq!(session("max_bad_cookies = 0").unwrap().config.session.max_bad_cookies, 0);
}

#[test]
fn a_memory_store_is_taken() {
    let text = with(ROUTE).replace("[login", "store = { type = \"memory\" }\n[login");
    assert_eq!(checked(&text).unwrap().config.session.store, StoreSettings::Memory);
}
