//! Each problem is told with its place and its mend.

use super::*;

#[test]
fn each_problem_has_its_exact_place() {
    for (rest, expected) in [
        ("", "1:1: there is no route"),
        ("routes = 1\n", "5:1: unknown key \"routes\" in `login.password`"),
        (&format!("[server]\nlisten = [\"nowhere\"]\n{ROUTE}"), "6:11: \"nowhere\" is not a listen address"),
        (&format!("[server]\nlisten = []\n{ROUTE}"), "6:10: `server.listen` is empty"),
        (
            &format!("[server]\nlisten = [\"[::1]:1\", \"[::1]:1\"]\n{ROUTE}"),
            "6:22: \"[::1]:1\" is listened on twice",
        ),
        (
            &format!("[server]\ntrusted_proxies = [\"10.0.0.1/8\"]\n{ROUTE}"),
            "6:20: \"10.0.0.1/8\" has bits set",
        ),
        (
            &format!("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n{ROUTE}"),
            "6:20: \"0.0.0.0/0\" trusts every",
        ),
        (&format!("[server]\nworkers = 0\n{ROUTE}"), "6:11: `server.workers` is out of range"),
        (
            &format!("[server]\nhead_timeout = \"-5s\"\n{ROUTE}"),
            "6:16: `server.head_timeout` is not a duration",
        ),
        (&format!("[server]\nhead_timeout = \"0s\"\n{ROUTE}"), "6:16: `server.head_timeout` is out of range"),
        (&format!("[server]\nhead_timeout = 5\n{ROUTE}"), "6:16: `server.head_timeout` is of the wrong kind"),
        (&format!("[server]\nprefix = \"/\"\n{ROUTE}"), "6:10: `server.prefix` is /"),
        (&format!("[server]\nlistne = 1\n{ROUTE}"), "6:1: unknown key \"listne\" in `server`"),
        (&format!("[management]\nlisten = \"127.0.0.1:8080\"\n{ROUTE}"), "6:10: the management listener has"),
        (&format!("[management]\nlisten = \"10.0.0.1:99\"\n{ROUTE}"), "6:10: the management listener can be"),
        (&format!("[management]\nlisten = true\n{ROUTE}"), "6:10: `management.listen` is of the wrong kind"),
        (&format!("[audit_log]\ntarget = \"\"\n{ROUTE}"), "6:10: `audit_log.target` is empty"),
        (&format!("[access_log]\nformat = \"jsn\"\n{ROUTE}"), "6:10: \"jsn\" is not a value of"),
        (
            &format!("[login]\nreturn_origins = [\"https://A.example\"]\n{ROUTE}"),
            "6:19: \"https://A.example\" is not",
        ),
        (
            &format!("[login.password.hashing]\nmemory_kib = 2048\n{ROUTE}"),
            "6:14: passwords are cheap to guess",
        ),
        (&format!("{ROUTE}access = \"pubic\"\n"), "8:10: \"pubic\" is not a value of"),
        (&format!("{ROUTE}access = {{}}\n"), "8:10: this `access` names no user and no group"),
        (&format!("{ROUTE}access = {{ users = [] }}\n"), "8:10: this `access` names no user and no group"),
        (&format!("{ROUTE}host = \"a:80\"\n"), "8:8: \"a:80\" is not a host"),
        (&format!("{ROUTE}{ROUTE}"), "9:8: this route has the host and path of the route in line 6"),
        (
            &format!("{ROUTE}{ROUTE}methods = [\"GET\", \"PUT\"]\n{ROUTE}methods = [\"PUT\"]\n"),
            "13:8: this route has the host and path and a method of the route in line 9",
        ),
        (&format!("{ROUTE}methods = []\n"), "8:11: `methods` is empty"),
        (&format!("{ROUTE}max_body = true\n"), "8:12: `routes.max_body` is no limit"),
        (&format!("{ROUTE}max_body = 0\n"), "8:12: `routes.max_body` is out of range"),
        (
            &format!("{ROUTE}access = {{ client_certificates = [\"robot\"] }}\n"),
            "8:34: no client is asked for a certificate",
        ),
        ("[[routes]]\nrespond = {}\nmax_body = 1\n", "7:12: `routes.max_body` means nothing"),
        (&format!("{ROUTE}redirect = {{ to = \"/x\" }}\n"), "8:12: this route has `upstream` and `redirect`"),
        (
            "[[routes]]\nrespond = {}\nstatic = { folder = \"public\" }\n",
            "7:10: this route has `respond` and `static`",
        ),
        ("[[routes]]\nrespond = {}\nhost_header = \"pass\"\n", "7:15: `routes.host_header` means nothing"),
        (
            "[[routes]]\nrespond = {}\npath = \"/a\"\nstrip_prefix = true\n",
            "8:16: `routes.strip_prefix` means nothing",
        ),
        (
            "[[routes]]\nrespond = { status = 204, body = \"x\" }\n",
            "6:34: a response with status 204 has no body",
        ),
        (
            "[[routes]]\nredirect = { to = \"//x\" }\n",
            "6:19: \"//x\" is no target of a redirect: it must start with /",
        ),
        ("[[routes]]\nredirect = { to = \"x\" }\n", "6:19: \"x\" is no target"),
        ("[[routes]]\nredirect = { to = \"javascript:x\" }\n", "6:19: \"javascript:x\" is no target"),
        ("[[routes]]\nredirect = { to = \"{path}\" }\n", "6:19: \"{path}\" is no target"),
        ("[[routes]]\nredirect = { to = \"/{path}\" }\n", "6:19: \"/{path}\" is no target"),
        ("[[routes]]\nredirect = { to = \"https://{path}\" }\n", "6:19: \"https://{path}\" is no target"),
        ("[[routes]]\nredirect = { to = \"https://u@x/\" }\n", "6:19: \"https://u@x/\" is no target"),
        ("[[routes]]\nredirect = { to = \"/a?b{query}\" }\n", "6:19: \"/a?b{query}\" is no target"),
        ("[[routes]]\nredirect = { to = \"/a{host}\" }\n", "6:19: \"/a{host}\" is no target"),
        ("[[routes]]\nredirect = { to = \"/a\\r\\nb\" }\n", "6:19: \"/a\\r\\nb\" is no target"),
        ("[[routes]]\nredirect = { to = \"/a\", status = 304 }\n", "6:34: 304 is no redirect"),
        ("[[routes]]\nstatic = { folder = \".\" }\n", "6:21: this folder holds the configuration"),
        ("[[routes]]\nstatic = { folder = \"/\" }\n", "6:21: this folder holds the configuration"),
        ("[[routes]]\nstatic = { folder = \"x/../..\" }\n", "6:21: this folder holds the configuration"),
        ("[[routes]]\nstatic = { folder = \"p\", index = \"a/b\" }\n", "6:34: \"a/b\" is not a file name"),
        (
            &format!("{ROUTE}strip_prefix = true\n"),
            "8:16: this route has the path \"/\", so there is no prefix",
        ),
        (
            &format!("{}strip_prefix = true\nreplace_prefix = \"/b\"\n", ROUTE.replace("\"/\"", "\"/a\"")),
            "8:16: `strip_prefix` and `replace_prefix` stand together",
        ),
        (&format!("{ROUTE}replace_prefix = \"/a/../b\"\n"), "8:18: \"/a/../b\" is not a path"),
        (&format!("{ROUTE}host_header = \"a/b\"\n"), "8:15: \"a/b\" is not a host"),
        (
            &format!("{ROUTE}request_headers = {{ set = {{ remote_user = \"x\" }} }}\n"),
            "8:29: \"remote_user\" carries an identity",
        ),
        (
            &format!("{ROUTE}request_headers = {{ remove = [\"X-Auth-Request-User\"] }}\n"),
            "8:31: \"x-auth-request-user\" carries",
        ),
        (
            &format!(
                "{ROUTE}headers = {{ user = \"X-Me\" }}\nrequest_headers = {{ add = {{ X_Me = \"x\" }} }}\n"
            ),
            "9:29: \"x_me\" carries",
        ),
        (
            &format!("{ROUTE}request_headers = {{ set = {{ Host = \"x\" }} }}\n"),
            "8:29: \"Host\" cannot be changed by a route",
        ),
        (
            &format!("{ROUTE}request_headers = {{ remove = [\"sec_websocket_key\"] }}\n"),
            "8:31: \"sec_websocket_key\" cannot be changed by a route",
        ),
        (
            &format!("{ROUTE}request_headers = {{ remove = [\"Content.Length\"] }}\n"),
            "8:31: \"Content.Length\" cannot be changed by a route",
        ),
        (
            &format!("{ROUTE}request_headers = {{ set = {{ Cookie = \"x\" }} }}\n"),
            "8:29: \"Cookie\" cannot be changed",
        ),
        (
            &format!("{ROUTE}response_headers = {{ add = {{ Set-Cookie = \"x\" }} }}\n"),
            "8:30: \"Set-Cookie\" cannot be",
        ),
        (
            &format!("{ROUTE}response_headers = {{ remove = [\"Content-Length\"] }}\n"),
            "8:32: \"Content-Length\" cannot be",
        ),
        (
            &format!("{ROUTE}response_headers = {{ remove = [\"Transfer-Encoding\"] }}\n"),
            "8:32: \"Transfer-Encoding\" can",
        ),
        (
            &format!("{ROUTE}response_headers = {{ remove = [\"a b\"] }}\n"),
            "8:32: \"a b\" is not a header name",
        ),
        (
            &format!("{ROUTE}response_headers = {{ set = {{ X-A = \"a\\nb\" }} }}\n"),
            "8:36: `routes.response_headers.set` has a value",
        ),
        (&format!("{ROUTE}methods = [\"get\"]\n"), "8:12: \"get\" is not a method"),
        (&format!("{ROUTE}methods = [\"CONNECT\"]\n"), "8:12: CONNECT is never forwarded"),
        (&format!("{ROUTE}methods = [\"GET\", \"GET\"]\n"), "8:19: \"GET\" stands twice"),
        (&format!("{ROUTE}methods = [\"GETT\"]\n"), "8:12: \"GETT\" is no method that is in common use"),
        (
            &format!(
                "{}access = \"public\"\n[[routes]]\npath = \"/a\"\nexact = true\nupstream = [\"http://127.0.0.1:1\"]\n",
                ROUTE
            ),
            "10:8: this exact path needs a session, but \"/a/\" beside it is public (the route in line 6)",
        ),
        (&format!("{ROUTE}headers = {{ user = \"Cookie\" }}\n"), "8:20: \"Cookie\" has a meaning of its own"),
        (&format!("{ROUTE}headers = {{ user = \"X_U\" }}\n"), "8:20: \"X_U\" can be confused"),
        (&format!("{ROUTE}headers = {{ user = \"X-U\", name = \"x-u\" }}\n"), "8:34: \"x-u\" is used twice"),
        ("[[routes]]\npath = \"/\"\n", "5:1: `routes.upstream` is missing"),
        (
            "[[routes]]\npath = \"/_auth/x\"\nupstream = [\"http://a\"]\n",
            "6:8: \"/_auth/x\" lies below /_auth",
        ),
        ("[[routes]]\npath = \"/a/../b\"\nupstream = [\"http://a\"]\n", "6:8: \"/a/../b\" is not a path"),
        ("[[routes]]\npath = \"/\"\nupstream = [\"http://a/b\"]\n", "7:13: an upstream address has no path"),
        (
            "[[routes]]\npath = \"/\"\nupstream = [\"http://8.8.8.8\"]\n",
            "7:13: requests and identities travel",
        ),
        (
            "[[routes]]\npath = \"/\"\nupstream = [\"http://localhost:8080\"]\n",
            "7:13: this upstream is the gateway",
        ),
    ] {
        let text = with(rest);
        if rest.starts_with("routes") {
            assert!(lines(&text).iter().any(|l| l.starts_with(expected)), "{:#?}", lines(&text));
        } else {
            only(&text, expected);
        }
    }
}

#[test]
fn a_column_counts_characters() {
    only(&with(&format!("[access_log]\n\"é\" = 1\n{ROUTE}")), "6:1: unknown key \"é\"");
    only(
        &with(&format!("{ROUTE}access = {{ users = [\"é\", 1] }}\n")),
        "8:26: `routes.access.users` is of the wrong",
    );
}

#[test]
fn all_problems_of_a_file_are_reported_together() {
    let text =
        with("[server]\nlisten = [\"x\"]\nworkers = 0\n[proxy]\nmax_idel = 1\n[[routes]]\npath = \"a\"\n");
    let have = lines(&text);
    assert_eq!(have.len(), 5, "{have:#?}");
}

#[test]
fn syntax_errors_and_other_problems_are_reported_together() {
    let have = lines(&with(&format!("[server]\nworkers = \n[proxy]\nmax_idel = 1\n{ROUTE}")));
    assert!(have.iter().any(|l| l.starts_with("6:")), "{have:#?}");
    assert!(have.iter().any(|l| l.starts_with("8:1: unknown key \"max_idel\"")), "{have:#?}");
}

#[test]
fn a_repeated_key_names_the_first() {
    let problems = checked(&with(&format!("[proxy]\nmax_idle = 1\nmax_idle = 2\n{ROUTE}"))).unwrap_err();
    let problem = &problems.list()[0];
    assert_eq!((problem.line, problem.column, &*problem.what), (7, 1, "duplicate key"));
    assert_eq!(problem.mend.as_deref(), Some("it stands first in line 6: take one out"));
}

#[test]
fn a_repeated_table_names_the_first() {
    let problems =
        checked(&with(&format!("[proxy]\nmax_idle = 1\n[proxy]\nmax_idle = 2\n{ROUTE}"))).unwrap_err();
    assert!(problems.to_string().contains("it stands first in line 5"), "{problems}");
}

#[test]
fn a_value_that_is_no_toml_is_one_problem() {
    only(&with(&format!("[server]\nworkers = \n{ROUTE}")), "6:11: ");
}

#[test]
fn a_problem_shows_its_place_its_line_and_the_mend() {
    let shown = checked(&with(&format!("[server]\nlistne = 1\n{ROUTE}"))).unwrap_err().to_string();
    assert!(shown.starts_with("gateway.toml:6:1: unknown key \"listne\" in `server`\n"), "{shown}");
    assert!(shown.contains("listne = 1\n") && shown.contains("^^^^^^"), "{shown}");
    assert!(shown.contains("did you mean `listen`?"), "{shown}");
}
