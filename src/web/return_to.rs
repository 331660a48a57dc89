//! A redirect target that has been proved to stay on this origin or on an allow-listed one (S30, X12).

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::web::path::read_path;

/// Longest accepted target in bytes.
pub const MAX_RETURN_TO: usize = 2048;

/// Where to go after login: `/path[?query]`, or the same behind an allow-listed origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// The front page of the host that was asked.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Accepts `raw` when it starts with a single `/` (or with one of `origins`, of the form `https://host[:port]`, and then so),
    /// its path has no second reading at all, nothing in it is a control byte, space, backslash or fragment, and it is at most
    /// [`MAX_RETURN_TO`] bytes.
    pub fn parse(raw: &str, origins: &[String]) -> Option<Self> {
        if raw.len() > MAX_RETURN_TO {
            return None;
        }
        let local = origins.iter().find_map(|origin| raw.strip_prefix(origin.as_str())).unwrap_or(raw);
        let origin = raw.get(..raw.len().checked_sub(local.len())?)?;
        if !is_local(local) {
            return None;
        }
        // What is given out is read back from a form, so the bound holds for the encoded form too.
        let text = format!("{origin}{}", utf8_percent_encode(local, UNSAFE));
        (text.len() <= MAX_RETURN_TO).then_some(Self(text))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the value of a Location field.
    pub fn location(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("/"))
    }
}

/// What must not stand in a Location field unencoded; a `%` stays, since the target is already encoded.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'\\');

fn is_local(target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let no_bad_byte = |text: &str| !text.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'\\' || b == b'#');
    // A second reading of the path means empty segments, parameters or encoded slashes: nothing worth a risk in a redirect.
    // Parameters alone are harmless there, so those are let through.
    // Read as it will be sent, encoded.
    let encoded = utf8_percent_encode(path, UNSAFE).to_string();
    let one_reading = read_path(&encoded).is_ok_and(|read| !read.encoded_slash && !path.contains("//"));
    one_reading && no_bad_byte(path) && no_bad_byte(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(raw: &str) -> Option<String> {
        ReturnTo::parse(raw, &["https://app.example.com".into()]).map(|target| target.0)
    }

    #[test]
    fn paths_of_this_origin_are_kept_as_they_are() {
        for raw in ["/", "/a/b?c=d&e=%20%2F", "/caf%C3%A9", "/a;v=1?next=//x", "/x?u=https://y/z"] {
            assert_eq!(accepted(raw).as_deref(), Some(raw));
        }
        assert_eq!(accepted("/é").as_deref(), Some("/%C3%A9"));
    }

    #[test]
    fn a_target_that_grows_over_the_bound_by_its_encoding_is_refused_at_once() {
        let longest = format!("/{}", "\"".repeat((MAX_RETURN_TO - 1) / 3));
        let text = accepted(&longest).unwrap();
        assert_eq!(accepted(&text), Some(text));
        assert_eq!(accepted(&format!("{longest}\"")), None);
    }

    #[test]
    fn targets_that_leave_the_origin_are_refused() {
        for raw in [
            "",
            "a",
            "//evil",
            "///evil",
            "/\\evil",
            "\\/evil",
            "/%09/evil",
            "/%0d/evil",
            "/%5cevil",
            "/./\\evil",
            "/.//evil",
            "https:evil",
            "https://evil",
            "https://good@evil",
            "javascript:alert(1)",
            "java%0dscript:",
            "data:,x",
            "/a\r\nSet-Cookie: x",
            "/%2f%2fevil",
            "/a b",
            "/a?b\\c",
            "/a#b",
            "〵evil",
            "/..//evil",
            "https://app.example.com.evil/x",
            "https://app.example.com@evil/",
            "https://app.example.com:99/",
        ] {
            assert_eq!(accepted(raw), None, "{raw:?}");
        }
        assert_eq!(accepted(&format!("/{}", "a".repeat(MAX_RETURN_TO))), None);
    }

    #[test]
    fn an_allow_listed_origin_is_accepted_with_a_path() {
        assert_eq!(accepted("https://app.example.com/x?y").as_deref(), Some("https://app.example.com/x?y"));
        assert_eq!(accepted("https://app.example.com//x"), None);
        assert_eq!(accepted("https://app.example.com"), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_accepted_starts_with_one_slash_and_fits_a_header(raw in ".{0,60}") {
            if let Some(target) = ReturnTo::parse(&raw, &[]) {
                let text = target.as_str();
                proptest::prop_assert!(text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\"));
                let location = target.location();
                proptest::prop_assert_eq!(location.as_bytes(), text.as_bytes());
            }
        }
    }
}
