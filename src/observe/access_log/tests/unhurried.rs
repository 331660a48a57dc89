//! The two forms of a line, written the simple way: what is quick must say the same.

use proptest::prelude::*;

use super::*;

/// As it is sent, nearly always; and whatever else could be.
fn sent() -> impl Strategy<Value = Vec<u8>> {
    let plain = proptest::collection::vec(b' '..=b'~', 0..80);
    let wild = proptest::collection::vec(any::<u8>(), 0..80);
    let long = proptest::collection::vec(prop_oneof![9 => b'a'..=b'z', 1 => any::<u8>()], 1000..1100);
    prop_oneof![4 => plain, 4 => wild, 1 => long]
}

fn said() -> impl Strategy<Value = String> {
    sent().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![(0..2000_u64).prop_map(Duration::from_micros), any::<u64>().prop_map(Duration::from_nanos)]
}

/// The JSON form without any haste.
fn unhurried_json(opening: &Opening<'_>, [route, user]: [Option<&str>; 2], outcome: &Outcome) -> String {
    let string = |bytes: &[u8]| {
        let mut out = Vec::new();
        escape::json_string(&mut out, &String::from_utf8_lossy(bytes));
        String::from_utf8(out).unwrap()
    };
    let ms = |span: Duration| {
        let micros = (span.as_nanos() + 500) / 1000;
        format!("{}.{:03}", micros / 1000, micros % 1000)
    };
    let fields = [
        ("ts", Some(format!("\"{}\"", opening.at))),
        ("kind", Some("\"access\"".into())),
        ("request_id", Some(string(opening.request_id))),
        ("client_ip", opening.client.map(|client| format!("\"{client}\""))),
        ("method", Some(string(opening.method.as_bytes()))),
        ("host", Some(string(opening.host))),
        ("path", Some(string(opening.path.as_bytes()))),
        ("protocol", Some(string(opening.protocol.as_bytes()))),
        ("status", Some(outcome.status.to_string())),
        ("bytes_out", Some(outcome.bytes_out.to_string())),
        ("duration_ms", Some(ms(outcome.duration))),
        ("upstream_ms", outcome.upstream.map(ms)),
        ("bytes_in", outcome.bytes_in.map(|count| count.to_string())),
        ("decision", Some(string(outcome.decision.as_bytes()))),
        ("route", route.map(|route| string(route.as_bytes()))),
        ("user", user.map(|user| string(user.as_bytes()))),
        ("reason", outcome.reason.map(|reason| string(reason.as_bytes()))),
        ("user_agent", opening.user_agent.map(string)),
    ];
    let said = fields.into_iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?)));
    format!("{{{}}}\n", said.collect::<Vec<_>>().join(","))
}

/// The text form without any haste.
fn unhurried_text(opening: &Opening<'_>, user: Option<&str>, outcome: &Outcome) -> String {
    let quoted = |bytes: &[u8]| {
        let mut out = Vec::new();
        escape::quoted(&mut out, &String::from_utf8_lossy(bytes));
        String::from_utf8(out).unwrap()
    };
    format!(
        "{} - {} [{}] \"{} {} {}\" {} {} \"-\" \"{}\"\n",
        opening.client.map_or("-".into(), |client| client.to_string()),
        quoted(user.unwrap_or("-").as_bytes()),
        Seconds::default().text(opening.at),
        quoted(opening.method.as_bytes()),
        quoted(opening.path.as_bytes()),
        opening.protocol,
        outcome.status,
        outcome.bytes_out,
        quoted(opening.user_agent.unwrap_or(b"-")),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_line_is_as_it_would_be_made_without_haste_whatever_it_says(
        (millis, client, status) in (0..4_102_444_800_000_u64, any::<Option<IpAddr>>(), any::<u16>()),
        (method, path, host) in (said(), said(), sent()),
        user_agent in proptest::option::of(sent()),
        (bytes_out, bytes_in) in (prop_oneof![0..20_000_u64, any::<u64>()], any::<Option<u64>>()),
        (duration, upstream) in (span(), proptest::option::of(span())),
        (route, user) in (proptest::option::of(said()), proptest::option::of(said())),
        reason in proptest::option::of(Just("broken_off")),
    ) {
        let opening = Opening {
            at: Timestamp::from_millis(millis),
            client,
            method: &method,
            path: &path,
            host: &host,
            user_agent: user_agent.as_deref(),
            ..OPENING
        };
        let outcome = Outcome {
            status,
            bytes_out,
            bytes_in,
            duration,
            upstream,
            reason,
            ..OUTCOME
        };
        let names @ [route, user] = [route.as_deref(), user.as_deref()];
        let mut draft = Draft::default();
        draft.begin(&opening);
        draft.names(route, user);
        draft.end(outcome);
        prop_assert_eq!(written(Format::Json, &draft), unhurried_json(&opening, names, &outcome));
        prop_assert_eq!(written(Format::Text, &draft), unhurried_text(&opening, user, &outcome));
    }
}
