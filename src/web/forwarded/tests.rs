use proptest::prelude::*;

use super::*;

fn trusted() -> Vec<IpNet> {
    vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn values(peer: &str) -> ConnectionValues {
    ConnectionValues::new(Some(SocketAddr::new(peer.parse().unwrap(), 4711)), false, &trusted())
}

fn client(peer: &str, lines: &[(&str, &str)]) -> (String, bool) {
    let view = values(peer).client(&headers(lines), &trusted());
    (view.address.unwrap().to_string(), view.secure)
}

#[test]
fn nothing_an_untrusted_peer_says_counts() {
    let lines = [
        ("x-forwarded-for", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1;proto=https"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(client("192.0.2.1", &lines), ("192.0.2.1".into(), false));
}

#[test]
fn chains_are_read_right_to_left_past_trusted_proxies() {
    for (chain, expected) in [
        ("6.6.6.6, 192.0.2.7, 10.1.1.1", "192.0.2.7"),
        ("192.0.2.7:99", "192.0.2.7"),
        ("[2001:db9::1]:99, [2001:db8::5]", "2001:db9::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("10.1.1.1, 10.1.1.2", "10.1.1.1"),
        ("192.0.2.7, unknown", "10.0.0.1"),
        ("192.0.2.7, evil, 10.1.1.1", "10.1.1.1"),
        ("192.0.2.7,", "10.0.0.1"),
        ("0x7f.1", "10.0.0.1"),
    ] {
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", chain)]).0, expected, "{chain}");
    }
    let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
    assert_eq!(client("10.0.0.1", &two).0, "192.0.2.7");
}

#[test]
fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
    for (element, expected) in [
        ("for=6.6.6.6, for=192.0.2.7;proto=https", ("192.0.2.7", true)),
        ("For=\"[2001:db9::1]:4711\"; PROTO=http", ("2001:db9::1", false)),
        ("for=_hidden", ("10.0.0.1", false)),
        ("for=192.0.2.7;for=6.6.6.6", ("10.0.0.1", false)),
        ("for=\"192.0.2.7", ("10.0.0.1", false)),
        ("for=192.0.2.7;proto=gopher", ("192.0.2.7", false)),
    ] {
        let (address, secure) = client("10.0.0.1", &[("forwarded", element)]);
        assert_eq!((address.as_str(), secure), expected, "{element}");
    }
}

fn dressed(peer: &str, lines: &[(&str, &str)]) -> Vec<String> {
    let mut map = headers(lines);
    let connection = values(peer);
    let view = connection.client(&map, &trusted());
    connection.set_forwarded(&mut map, &view);
    let mut seen: Vec<_> = map.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    seen.sort();
    seen
}

#[test]
fn what_an_untrusted_peer_sends_is_overwritten_or_dropped() {
    let seen = dressed(
        "192.0.2.1",
        &[
            ("host", "a.example:8080"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/evil"),
            ("x-real-ip", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("x-forwarded-uri", "/admin"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-server", "evil"),
            ("x-forwarded-ssl", "on"),
            ("x-forwarded-protocol", "https"),
            ("x-forwarded-client-cert", "Subject=\"CN=ada\""),
            ("front-end-https", "on"),
            ("x-url-scheme", "https"),
            ("x-client-ip", "1.1.1.1"),
            ("x-cluster-client-ip", "1.1.1.1"),
            ("true-client-ip", "1.1.1.1"),
            ("client-ip", "1.1.1.1"),
            ("x-original-host", "evil"),
            ("x-http-host-override", "evil"),
        ],
    );
    assert_eq!(
        seen,
        [
            "host: a.example:8080",
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-host: a.example:8080",
            "x-forwarded-port: 8080",
            "x-forwarded-proto: http",
            "x-real-ip: 192.0.2.1",
        ]
    );
}

#[test]
fn not_even_a_trusted_peer_names_another_target_than_the_one_that_was_judged() {
    let seen = dressed(
        "10.0.0.1",
        &[
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("x-forwarded-uri", "/admin"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-ssl", "on"),
        ],
    );
    let left = ["x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-forwarded-ssl", "x-real-ip"];
    assert!(seen.iter().map(|line| line.split(':').next().unwrap()).eq(left), "{seen:?}");
}

#[test]
fn to_what_a_trusted_peer_sends_the_peer_is_appended() {
    let seen = dressed(
        "10.0.0.1",
        &[
            ("host", "a"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-for", "10.2.2.2"),
            ("x-forwarded-host", "outer"),
            ("x-forwarded-proto", "https"),
        ],
    );
    assert_eq!(
        seen,
        [
            "host: a",
            "x-forwarded-for: 192.0.2.7, 10.2.2.2, 10.0.0.1",
            "x-forwarded-host: outer",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
            "x-real-ip: 192.0.2.7",
        ]
    );
}

/// The values of one field that the upstream gets.
fn passed_on(peer: &str, name: &str, lines: &[(&str, &str)]) -> Vec<String> {
    let values = values(peer);
    let mut map = headers(lines);
    let client = values.client(&map, &trusted());
    values.set_forwarded(&mut map, &client);
    map.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_forwarded_of_a_trusted_peer_is_continued_and_never_begun() {
    let sent = [("host", "a"), ("forwarded", "for=192.0.2.7;proto=https, for=_hidden")];
    assert_eq!(
        passed_on("10.0.0.1", "forwarded", &sent),
        ["for=192.0.2.7;proto=https, for=_hidden", "for=10.0.0.1"]
    );
    assert_eq!(passed_on("10.0.0.1", "forwarded", &sent[..1]), Vec::<String>::new());
    assert_eq!(passed_on("192.0.2.1", "forwarded", &sent), Vec::<String>::new());
}

#[test]
fn an_ipv6_peer_is_quoted_in_forwarded_and_bare_elsewhere() {
    let values = ConnectionValues::new(
        Some("[2001:db8::1]:4711".parse().unwrap()),
        true,
        &["2001:db8::/32".parse().unwrap()],
    );
    let mut map =
        headers(&[("host", "[2001:db8::9]:8443"), ("forwarded", "for=\"[2001:db8:cafe::17]:47011\"")]);
    let client = values.client(&map, &[]);
    assert_eq!(client.address, Some("2001:db8:cafe::17".parse().unwrap()));
    values.set_forwarded(&mut map, &client);
    let all = |name: &str| map.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("forwarded"), ["for=\"[2001:db8:cafe::17]:47011\"", "for=\"[2001:db8::1]\""]);
    assert_eq!(all("x-forwarded-for"), ["2001:db8:cafe::17, 2001:db8::1"], "both chains say the same");
    assert_eq!(
        (all("x-forwarded-host"), all("x-forwarded-port")),
        (vec!["[2001:db8::9]:8443"], vec!["8443"])
    );
}

#[test]
fn a_prefix_counts_from_a_trusted_peer_alone_and_only_once() {
    let once = [("host", "a"), ("x-forwarded-prefix", "/outer")];
    assert_eq!(passed_on("10.0.0.1", "x-forwarded-prefix", &once), ["/outer"]);
    assert_eq!(passed_on("192.0.2.1", "x-forwarded-prefix", &once), Vec::<String>::new());
    let twice = [("host", "a"), ("x-forwarded-prefix", "/a"), ("x-forwarded-prefix", "/b")];
    assert_eq!(passed_on("10.0.0.1", "x-forwarded-prefix", &twice), Vec::<String>::new());
}

proptest! {
    #[test]
    fn an_untrusted_address_right_of_all_lies_always_wins(lies in "[ -~]{0,60}") {
        let chain = format!("{lies}, 192.0.2.7, 10.9.9.9");
        prop_assert_eq!(client("10.0.0.1", &[("x-forwarded-for", &chain)]).0, "192.0.2.7");
        prop_assert_eq!(client("192.0.2.1", &[("x-forwarded-for", &chain)]).0, "192.0.2.1");
    }

    #[test]
    fn any_line_yields_an_address_and_valid_fields(
        xff in prop::collection::vec("[ -~]{0,40}", 0..3),
        forwarded in prop::collection::vec("[ -~]{0,60}", 0..3),
    ) {
        let lines: Vec<_> = xff.iter().map(|v| ("x-forwarded-for", v.as_str()))
            .chain(forwarded.iter().map(|v| ("forwarded", v.as_str()))).collect();
        prop_assert!(values("10.0.0.1").client(&headers(&lines), &trusted()).address.is_some());
        prop_assert!(dressed("10.0.0.1", &lines).iter().any(|l| l.ends_with("10.0.0.1")));
    }
}
