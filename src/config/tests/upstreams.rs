//! What `check` says of upstreams.

use super::*;

/// A route at `/` with these lines.
fn route(lines: &str) -> String {
    with(&format!("[[routes]]\n{lines}\n"))
}

/// The place and the beginning of the one problem that each route has; its first line is line 6.
#[test]
fn each_problem_of_an_upstream_has_its_place() {
    for (lines, expected) in [
        (r#"upstream = ["wss://a"]"#, r#"6:13: "wss" is no scheme of an upstream"#),
        (r#"upstream = ["a:80"]"#, "6:13: an upstream is written http://host:port, https://"),
        (r#"upstream = ["https://a b"]"#, r#"6:13: "a b" is not a host name or address"#),
        (r#"upstream = ["h2c://a:0"]"#, "6:13: the port is not a number from 1 to 65535"),
        (r#"upstream = ["unix:"]"#, "6:13: the path of the unix socket is empty"),
        (r#"upstream = []"#, "6:12: `upstream` is empty"),
        (r#"upstream = [1]"#, "6:13: `routes.upstream` is of the wrong kind"),
        (r#"upstream = [{ weight = 1 }]"#, "6:13: `routes.upstream.url` is missing"),
        (
            r#"upstream = [{ url = "http://a", weight = 0 }]"#,
            "6:42: `routes.upstream.weight` is out of range",
        ),
        (
            r#"upstream = [{ url = "http://a", drain = true }]"#,
            "6:12: every upstream of this route is drained",
        ),
        (
            r#"upstream = ["http://a", { url = "http://a:80", weight = 2 }]"#,
            "6:25: this upstream is listed twice",
        ),
        (
            "upstream = [\"http://a\"]\nbalance = \"leest\"",
            "7:11: \"leest\" is not a value of `routes.balance`",
        ),
        ("upstream = [\"http://a\"]\nbalance = {}", "7:11: `balance` names neither one cookie nor one field"),
        (
            "upstream = [\"http://a\"]\nbalance = { hash_cookie = \"a b\" }",
            "7:27: \"a b\" is not the name of a cookie",
        ),
        (
            "upstream = [\"http://a\"]\nbalance = { hash_header = \"a b\" }",
            "7:27: \"a b\" is not the name of a field",
        ),
        ("upstream = [\"http://a\"]\nhealth = { path = \"up\" }", "7:19: \"up\" is not a path"),
        ("upstream = [\"http://a\"]\nhealth = {}", "7:10: `routes.health.path` is missing"),
        ("upstream = [\"http://a\"]\nejection = true", "7:12: `routes.ejection` is of the wrong kind"),
        (
            "upstream = [\"http://a\"]\nrequest_timeout = true",
            "7:19: `routes.request_timeout` is of the wrong kind",
        ),
        ("upstream = [\"http://a\"]\nretries = 9", "7:11: `routes.retries` is out of range"),
        (
            "upstream = [\"https://a\"]\nupstream_tls = { ca = \"none.pem\" }",
            "7:23: FOLDER/none.pem: it cannot be read",
        ),
        (
            "upstream = [\"https://a\"]\nupstream_tls = { ca = \"secret.key\" }",
            "7:23: FOLDER/secret.key: it holds no certificate",
        ),
        (
            "upstream = [\"https://a\"]\nupstream_tls = { certificate = \"cert.pem\" }",
            "7:32: a client certificate needs its key",
        ),
        (
            "upstream = [\"https://a\"]\nupstream_tls = { certificate = \"cert.pem\", key = \"cert.pem\" }",
            "7:50: FOLDER/cert.pem: it holds no private key",
        ),
        (
            "upstream = [\"https://a\"]\nupstream_tls = { server_name = \"a/b\" }",
            "7:32: \"a/b\" is not a host name",
        ),
        (
            "upstream = [\"http://a\"]\nupstream_tls = { ca = \"cert.pem\" }",
            "7:16: `upstream_tls` does nothing",
        ),
    ] {
        let problems = lines_in_folder(&route(lines));
        assert_eq!(problems.len(), 1, "{lines}: {problems:#?}");
        assert!(problems[0].starts_with(expected), "{lines}: {problems:#?}");
    }
}

/// As [`lines`](super::lines), with `FOLDER` for the test's own folder.
fn lines_in_folder(text: &str) -> Vec<String> {
    let folder = folder();
    let problems = match parse(text, "gateway.toml", folder.path()) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let line = |p: &Problem| format!("{}:{}: {}", p.line, p.column, p.what);
    let whole = folder.path().display().to_string();
    problems.list().iter().map(|p| line(p).replace(&whole, "FOLDER")).collect()
}

#[test]
fn an_upstream_that_is_one_of_our_own_listeners_is_refused() {
    for (listen, upstream) in [
        ("unix:run/own.sock", "unix:run/own.sock"),
        ("127.0.0.1:7000", "http://localhost:7000"),
        ("0.0.0.0:7000", "h2c://127.0.0.1:7000"),
        ("[::1]:7000", "http://[::1]:7000"),
        ("[::1]:7000", "http://localhost:7000"),
        ("127.0.0.1:7000", "http://0.0.0.0:7000"),
        ("127.0.0.1:7000", "http://[::ffff:127.0.0.1]:7000"),
    ] {
        let text =
            with(&format!("[server]\nlisten = [\"{listen}\"]\n[[routes]]\nupstream = [\"{upstream}\"]\n"));
        only(&text, "8:13: this upstream is the gateway itself");
    }
}

#[test]
fn an_upstream_that_is_the_management_listener_or_the_admin_socket_is_refused() {
    for (management, upstream) in [
        ("listen = \"127.0.0.1:7001\"", "http://localhost:7001"),
        ("listen = \"127.0.0.1:7001\"", "http://[::ffff:127.0.0.1]:7001"),
        ("listen = \"unix:run/management.sock\"", "unix:run/management.sock"),
        ("admin_socket = \"run/admin.sock\"", "unix:run/admin.sock"),
        // The default: said nowhere, and there all the same.
        ("", "http://127.0.0.1:9091"),
    ] {
        let text = with(&format!("[management]\n{management}\n[[routes]]\nupstream = [\"{upstream}\"]\n"));
        only(&text, "8:13: this upstream is what the gateway answers its operator on");
    }
    let off = "[management]\nlisten = false\n[[routes]]\nupstream = [\"http://127.0.0.1:9091\"]\n";
    assert!(checked(&with(off)).is_ok());
}

#[test]
fn a_route_keeps_the_limits_of_the_proxy_section_but_for_its_own() {
    let text = with(
        "[proxy]\nresponse_timeout = \"7s\"\nretries = 3\nmax_connections = 9\nejection = false\n[[routes]]\n\
         upstream = [\"http://a\", { url = \"http://b\", max_connections = 2 }]\nretries = 0\nrequest_timeout = \"1m\"\n",
    );
    let config = checked(&text).unwrap_or_else(|p| panic!("{p}")).config;
    let upstream = &config.gateway.routes[0].upstream;
    let limits = upstream.limits;
    assert_eq!((limits.response_timeout.as_secs(), limits.retries), (7, 0));
    assert_eq!(limits.request_timeout, Some(std::time::Duration::from_secs(60)));
    assert_eq!(upstream.ejection, None);
    assert_eq!(upstream.members.iter().map(|m| m.max_connections).collect::<Vec<_>>(), [Some(9), Some(2)]);
}

#[test]
fn paths_of_sockets_start_at_the_folder_of_the_file() {
    let folder = folder();
    let text = route("upstream = [\"unix:app.sock\"]");
    let loaded = parse(&text, "gateway.toml", folder.path()).unwrap();
    let address = &loaded.config.gateway.routes[0].upstream.members[0].address;
    assert_eq!(address.to_string(), format!("unix:{}", folder.path().join("app.sock").display()));
}
