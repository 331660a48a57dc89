//! W3C Trace Context: a trace that comes in goes on, with this hop as the parent of the next one.
//!
//! No trace is begun here: an app that traces begins its own, and a request without one costs a lookup. A field that cannot be
//! read is dropped, and `tracestate` goes with it (section 3.3 of the recommendation).

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Continues the trace in `headers` with `parent` as the id of this hop.
pub fn continue_trace(headers: &mut HeaderMap, parent: u64) {
    // A walk is cheaper than two lookups of names that the library has no short form for.
    if !headers.keys().any(|name| name.as_str().starts_with("trace")) {
        return;
    }
    let continued = match headers.get(TRACEPARENT) {
        Some(field) if headers.get_all(TRACEPARENT).iter().nth(1).is_none() => next(field.as_bytes(), parent),
        Some(_) => None,
        None => {
            headers.remove(TRACESTATE);
            return;
        }
    };
    match continued {
        Some(field) => drop(headers.insert(TRACEPARENT, field)),
        None => {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
    }
}

/// `version-traceid-parentid-flags` with another parent, if it is valid. A later version is continued as version 00, whose parts it
/// must begin with (section 4.3).
fn next(field: &[u8], parent: u64) -> Option<HeaderValue> {
    let (version, rest) = field.split_first_chunk::<2>()?;
    let (dash, rest) = rest.split_first_chunk::<1>()?;
    let (trace, rest) = rest.split_first_chunk::<32>()?;
    let (second, rest) = rest.split_first_chunk::<1>()?;
    let (before, rest) = rest.split_first_chunk::<16>()?;
    let (third, rest) = rest.split_first_chunk::<1>()?;
    let (flags, rest) = rest.split_first_chunk::<2>()?;
    let is_hex = |text: &[u8]| text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |text: &[u8]| text.iter().all(|b| *b == b'0');
    let whole = match version {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _ => is_hex(version) && (rest.is_empty() || rest.starts_with(b"-")),
    };
    let fine = whole
        && [dash, second, third].iter().all(|d| *d == b"-")
        && is_hex(trace)
        && is_hex(before)
        && is_hex(flags)
        && !is_zero(trace)
        && !is_zero(before);
    // Bits that version 00 does not know must not be passed on as its own: sampled and random are left.
    let known = std::str::from_utf8(flags).ok().and_then(|f| u8::from_str_radix(f, 16).ok())? & 0b11;
    let trace = std::str::from_utf8(trace).ok().filter(|_| fine)?;
    HeaderValue::from_str(&format!("00-{trace}-{:016x}-{known:02x}", parent.max(1))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn continued(parents: &[&str]) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, parent.parse().unwrap());
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("congo=t61rcWkgMzE"));
        continue_trace(&mut headers, 0xabc);
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
        (text(TRACEPARENT), text(TRACESTATE))
    }

    #[test]
    fn a_valid_trace_goes_on_with_another_parent_and_its_state() {
        let state = Some("congo=t61rcWkgMzE".to_owned());
        for (flags, passed) in [("01", "01"), ("00", "00"), ("03", "03"), ("ff", "03")] {
            assert_eq!(
                continued(&[&format!("00-{TRACE}-00f067aa0ba902b7-{flags}")]),
                (Some(format!("00-{TRACE}-0000000000000abc-{passed}")), state.clone())
            );
        }
        let later = format!("cc-{TRACE}-00f067aa0ba902b7-01-what-comes");
        assert_eq!(continued(&[&later]), (Some(format!("00-{TRACE}-0000000000000abc-01")), state));
    }

    #[test]
    fn an_invalid_trace_is_dropped_with_its_state() {
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        for bad in [
            String::new(),
            "x".into(),
            good.to_uppercase(),
            format!("{good}-x"),
            format!("{good} "),
            good[..54].to_owned(),
            good.replacen("00-", "ff-", 1),
            good.replacen("00-", "0g-", 1),
            good.replacen('-', "_", 1),
            good.replace("-01", "_01"),
            good.replace("-00f", "_00f"),
            good.replace("-01", "-0x"),
            good.replace(TRACE, &"0".repeat(32)),
            good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            format!("cc-{TRACE}-00f067aa0ba902b7-01what"),
        ] {
            assert_eq!(continued(&[bad.trim_end()]).0.is_some(), bad.trim_end() == good, "{bad}");
        }
        assert_eq!(continued(&[&good, &good]), (None, None));
        assert_eq!(continued(&[]), (None, None), "a state without a parent means nothing");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_or_pass_without_a_trace(bytes in proptest::collection::vec(32..127_u8, 0..70)) {
            if let Some(passed) = next(&bytes, 7) {
                proptest::prop_assert_eq!(passed.len(), 55);
            }
        }
    }
}
