//! The header firewall on every kind of request (X1, X2, X3).

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::{Received, TestUpstream};

const SPELLINGS: &[&str] = &[
    "Remote-User",
    "remote-user",
    "REMOTE-USER",
    "Remote_User",
    "remote_user",
    "Remote.User",
    "REMOTE.user",
    "X-Remote-User",
    "x_remote_user",
    "X.Remote.User",
    "X_Remote-User",
    "Remote-Groups",
    "Remote_Email",
    "X-Forwarded-User",
    "X_Forwarded_User",
    "X-Forwarded-Email",
    "X.Forwarded.Groups",
    "X-Auth-Request-User",
    "X_Auth_Request_Email",
    "X-Auth-Request-Preferred-Username",
    "X-Fluidgate-Assertion",
];

fn forged() -> Vec<(&'static str, &'static str)> {
    SPELLINGS.iter().map(|name| (*name, "root")).collect()
}

/// Every field whose name folds to that of an identity header, lower case.
fn identity_fields(request: &Received) -> Vec<(String, String)> {
    let mut found: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| {
            let folded = name.replace(['_', '.'], "-");
            SPELLINGS.iter().any(|spelling| spelling.to_ascii_lowercase().replace(['_', '.'], "-") == folded)
                || folded == "remote-name"
        })
        .collect();
    found.sort();
    found
}

fn fields(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const ADA: &[(&str, &str)] = &[
    ("remote-email", "ada@example.com"),
    ("remote-groups", "staff,wiki"),
    ("remote-name", "Ada Lovelace"),
    ("remote-user", "ada"),
];

#[test]
fn a_signed_in_user_reaches_the_upstream_once_whatever_the_client_sent() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    for method in ["GET", "POST", "OPTIONS", "DELETE"] {
        assert_eq!(ada.request(method, "/", &forged(), b"").status, 200);
        assert_eq!(identity_fields(&upstream.next()), fields(ADA), "{method}");
    }
}

#[test]
fn a_public_route_shows_no_identity_of_an_anonymous_client_whatever_it_sent() {
    let upstream = TestUpstream::start();
    let routes = format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url());
    let gateway = Setup::routes(routes).start();
    gateway.browser().request("GET", "/", &forged(), b"");
    assert_eq!(identity_fields(&upstream.next()), fields(&[]));
}

#[test]
fn a_public_route_shows_the_identity_of_a_session() {
    let upstream = TestUpstream::start();
    let routes = format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url());
    let gateway = Setup::routes(routes).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    ada.request("GET", "/", &forged(), b"");
    assert_eq!(identity_fields(&upstream.next()), fields(ADA));
}

#[test]
fn an_attribute_the_user_lacks_is_an_absent_header_not_the_clients() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut bob = gateway.browser();
    bob.log_in("bob");
    bob.request("GET", "/", &forged(), b"");
    assert_eq!(identity_fields(&upstream.next()), fields(&[("remote-user", "bob")]));
}

#[test]
fn a_client_cannot_nominate_our_headers_away_by_connection() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    for nominated in [
        "close, Remote-User",
        "remote-user",
        "keep-alive, REMOTE-groups, remote-name, remote-email",
        "Cookie, Host, Remote-User",
    ] {
        ada.request("GET", "/", &[("Connection", nominated), ("Remote-User", "root")], b"");
        let seen = upstream.next();
        assert_eq!(identity_fields(&seen), fields(ADA), "{nominated}");
        assert!(seen.header("host").is_some());
    }
}

#[test]
fn an_identity_header_is_never_accepted_as_a_trailer() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let (name, value) = ada.session_cookie().unwrap();
    let mut wire = gateway.wire();
    wire.send(format!(
        "POST /t HTTP/1.1\r\nHost: {}\r\nCookie: {name}={value}\r\nTransfer-Encoding: chunked\r\nTrailer: Remote-User\r\n\r\n\
         3\r\nabc\r\n0\r\nRemote-User: root\r\nRemote_User: root\r\n\r\n",
        gateway.address()
    ));
    assert_eq!(wire.receive().unwrap().status, 200);
    let seen = upstream.next();
    assert_eq!(seen.body, b"abc");
    assert_eq!(identity_fields(&seen), fields(ADA));
    // The upstream reads the next head right behind the body: a trailer would show up as a request.
    upstream.saw_nothing();
}

#[test]
fn values_are_encoded_so_that_nothing_injects_splits_or_truncates() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut zoe = gateway.browser();
    zoe.log_in("zoe");
    zoe.open("/");
    let seen = upstream.next();
    assert_eq!(seen.header("remote-name"), Some("Zo%C3%AB, 100%25"));
    assert_eq!(seen.header("remote-groups"), Some("a%2Cb"));
}

#[test]
fn every_preset_and_own_names_work_and_are_stripped_on_every_other_route() {
    let upstream = TestUpstream::start();
    let url = upstream.url();
    let routes = [
        ("/f", "\"x-forwarded\""),
        ("/a", "\"x-auth-request\""),
        ("/o", "{ user = \"X-My-User\" }"),
        ("/n", "\"none\""),
    ]
    .map(|(path, headers)| {
        format!("[[routes]]\npath = \"{path}\"\nupstream = [\"{url}\"]\nheaders = {headers}\n")
    })
    .concat();
    let gateway = Setup::routes(routes).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let mut forged = forged();
    forged.extend([("X-My-User", "root"), ("x_my.user", "root")]);
    let expected: [(&str, &[(&str, &str)]); 4] = [
        (
            "/f",
            &[
                ("x-forwarded-email", "ada@example.com"),
                ("x-forwarded-groups", "staff,wiki"),
                ("x-forwarded-user", "ada"),
            ],
        ),
        (
            "/a",
            &[
                ("x-auth-request-email", "ada@example.com"),
                ("x-auth-request-preferred-username", "ada"),
                ("x-auth-request-user", "ada"),
            ],
        ),
        ("/o", &[]),
        ("/n", &[]),
    ];
    for (path, expected) in expected {
        ada.request("GET", path, &forged, b"");
        let seen = upstream.next();
        assert_eq!(identity_fields(&seen), fields(expected), "{path}");
        let own: Vec<_> = seen
            .headers
            .iter()
            .filter(|(name, _)| name.to_ascii_lowercase().replace(['_', '.'], "-") == "x-my-user")
            .collect();
        assert_eq!(
            own.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>(),
            if path == "/o" { vec!["ada"] } else { vec![] },
            "{path}"
        );
    }
}

#[test]
fn names_with_an_underscore_or_dot_pass_only_where_the_route_says_so() {
    let upstream = TestUpstream::start();
    let url = upstream.url();
    let routes = format!(
        "[[routes]]\nupstream = [\"{url}\"]\n[[routes]]\npath = \"/odd\"\nupstream = [\"{url}\"]\nallow_odd_header_names = true\n"
    );
    let gateway = Setup::routes(routes).start();
    let mut ada = gateway.browser();
    ada.log_in("ada");
    let odd = [("api_key", "1"), ("x.y", "2"), ("remote_user", "root")];
    ada.request("GET", "/", &odd, b"");
    let seen = upstream.next();
    assert_eq!((seen.header("api_key"), seen.header("x.y")), (None, None));
    ada.request("GET", "/odd", &odd, b"");
    let seen = upstream.next();
    assert_eq!(
        (seen.header("api_key"), seen.header("x.y"), seen.header("remote_user")),
        (Some("1"), Some("2"), None)
    );
}
