//! What ties a request's traces together: its id, W3C trace context, Via (P18; RFC 9110 section 7.6.3).

use crate::support::gateway::{Setup, TestGateway};
use crate::support::upstream::TestUpstream;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn open(upstream: &TestUpstream) -> Setup {
    Setup::routes(format!("[[routes]]\nupstream = [\"{}\"]\naccess = \"public\"\n", upstream.url()))
}

#[test]
fn every_request_has_one_id_that_the_upstream_the_client_and_the_log_are_told() {
    let upstream =
        TestUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-Id: of-the-app\r\n\r\n");
    let gateway = open(&upstream).start();
    let mut ids = Vec::new();
    for forged in ["client-1", "client-2"] {
        let answer =
            gateway.browser().request("GET", "/", &[("X-Request-Id", forged), ("X_Request_Id", forged)], b"");
        let seen = upstream.next();
        let id = seen.header("x-request-id").unwrap().to_owned();
        assert_eq!(answer.all("x-request-id"), [id.as_str()]);
        assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert!(seen.header("x_request_id").is_none());
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
    let log = gateway.stop_and_read("access.log");
    let logged: Vec<_> = log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()).collect();
    let mut logged: Vec<_> = logged.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    logged.sort_unstable();
    ids.sort_unstable();
    assert_eq!(logged, ids);
}

#[test]
fn the_id_of_a_trusted_proxy_is_kept_and_an_odd_one_is_not() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream).server("trusted_proxies = [\"127.0.0.0/8\"]\n").start();
    let ask = |id: &str| {
        let answer = gateway.browser().request("GET", "/", &[("X-Request-Id", id)], b"");
        let seen = upstream.next().header("x-request-id").unwrap().to_owned();
        assert_eq!(answer.header("x-request-id"), Some(seen.as_str()));
        seen
    };
    assert_eq!(ask("7b1d2c9e-3a5f"), "7b1d2c9e-3a5f");
    for odd in ["a b", "<x>", "a\"b", &"x".repeat(65)] {
        assert_ne!(ask(odd), odd);
    }
    let log = gateway.stop_and_read("access.log");
    // Each worker hands its lines over when it does.
    assert!(log.lines().any(|line| line.contains(r#""request_id":"7b1d2c9e-3a5f""#)), "{log}");
}

#[test]
fn answers_of_our_own_carry_the_id_that_they_show() {
    let upstream = TestUpstream::start();
    let gateway = TestGateway::protecting(&upstream);
    let mut browser = gateway.browser();
    let refused = browser.fetch("/");
    assert_eq!(refused.header("x-request-id"), refused.json()["request_id"].as_str());
    for path in ["/_auth/login", "/_auth/whoami", "/x//../y"] {
        assert!(browser.fetch(path).header("x-request-id").is_some(), "{path}");
    }
}

#[test]
fn a_trace_is_continued_and_an_invalid_one_ends_here() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream).start();
    let ask = |fields: &[(&str, &str)]| {
        let answer = gateway.browser().request("GET", "/", fields, b"");
        (answer.header("x-request-id").unwrap().to_owned(), upstream.next())
    };
    let (id, seen) = ask(&[("traceparent", TRACE), ("tracestate", "a=1"), ("tracestate", "b=2")]);
    let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id}-01");
    assert_eq!(seen.header("traceparent"), Some(expected.as_str()));
    assert_eq!(seen.all("tracestate"), ["a=1", "b=2"]);
    let upper = TRACE.to_uppercase();
    for fields in
        [vec![("traceparent", upper.as_str())], vec![("traceparent", TRACE), ("traceparent", TRACE)], vec![]]
    {
        let (_, seen) = ask(&[&fields[..], &[("tracestate", "a=1")]].concat());
        assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (None, None), "{fields:?}");
    }
}

#[test]
fn upstreams_are_told_of_the_gateway_by_via_and_clients_are_not() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream).start();
    let answer = gateway.browser().request("GET", "/", &[("Via", "1.0 outer")], b"");
    let seen = upstream.next();
    let via = seen.all("via");
    assert_eq!((via.len(), via[0]), (2, "1.0 outer"));
    assert!(via[1].starts_with("1.1 fluidgate-"), "{via:?}");
    assert_eq!(answer.header("via"), None);
}

#[test]
fn a_request_that_comes_round_again_is_508_and_other_gateways_are_no_loop() {
    let upstream = TestUpstream::start();
    let gateway = open(&upstream).start();
    gateway.browser().fetch("/");
    let name = upstream.next().header("via").unwrap().split(' ').nth(1).unwrap().to_owned();
    let ask = |via: &str| gateway.browser().request("GET", "/", &[("Via", via)], b"").status;
    assert_eq!(ask(&format!("1.1 a, 1.1 {name}, 1.1 b")), 508);
    upstream.saw_nothing();
    assert_eq!(ask("1.1 fluidgate-01234567"), 200);
    upstream.next();
    // Two gateways in front of each other are none either.
    let outer = Setup::routes(format!(
        "[[routes]]\nupstream = [\"http://{}\"]\naccess = \"public\"\n",
        gateway.address()
    ))
    .start();
    assert_eq!(outer.browser().fetch("/").status, 200);
    assert_eq!(upstream.next().all("via").len(), 2);
}
