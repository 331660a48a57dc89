//! One reading of a host: lower case, no trailing dot, port apart. The only place that knows about either (P5, P12).

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A host and the port it was given with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// Lower-case name without a trailing dot, IPv4 address, or IPv6 address in brackets.
    pub name: Cow<'a, str>,
    /// The port, when one was given.
    pub port: Option<u16>,
}

/// The text is not exactly one host with an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host is not a single valid name or address")]
pub struct InvalidHost;

impl<'a> Host<'a> {
    /// Reads `host [":" port]` (RFC 9110 section 7.2). User information, lists, paths, percent-escapes and an empty name or port
    /// are refused. Names are at most 253 bytes of letters, digits, `-`, `_` and inner dots. One that ends in a number is an IPv4
    /// address in its usual form, or refused: many read `10.1` and `0xa.0.0.1` as addresses too (the URL standard does).
    ///
    /// # Errors
    /// [`InvalidHost`] for everything else.
    pub fn parse(text: &'a str) -> Result<Self, InvalidHost> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(InvalidHost)?;
            let address: Ipv6Addr = address.parse().map_err(|_| InvalidHost)?;
            let port = match port {
                "" => None,
                _ => Some(parse_port(port.strip_prefix(':').ok_or(InvalidHost)?)?),
            };
            return Ok(Self { name: Cow::Owned(format!("[{address}]")), port });
        }
        // One walk: every request takes it.
        let (mut before, mut capitals, mut end, mut port) = (b'.', false, text.len(), None);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'.' if before == b'.' => return Err(InvalidHost),
                b'A'..=b'Z' => capitals = true,
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {}
                b':' => {
                    port = Some(parse_port(text.get(at + 1..).ok_or(InvalidHost)?)?);
                    end = at;
                    break;
                }
                _ => return Err(InvalidHost),
            }
            before = byte;
        }
        let name = text.get(..end).ok_or(InvalidHost)?;
        // Of two dots at the end the second was refused.
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty()
            || name.len() > 253
            || (ends_in_a_number(name) && name.parse::<Ipv4Addr>().is_err())
        {
            return Err(InvalidHost);
        }
        let name = if capitals { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
        Ok(Self { name, port })
    }

    /// Whether both name the same place for a scheme whose default port is `default`.
    pub fn same_place(&self, other: &Host<'_>, default: u16) -> bool {
        self.name == other.name && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

/// Whether the last label is one that would be read as a part of an IPv4 address.
fn ends_in_a_number(name: &str) -> bool {
    // Nearly all names end in a letter that is no digit, and that is quickly seen.
    if !name.as_bytes().last().is_some_and(|b| b.is_ascii_hexdigit() || b.eq_ignore_ascii_case(&b'x')) {
        return false;
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let (digits, hexadecimal) = match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(digits) => (digits, true),
        None => (last, false),
    };
    digits.bytes().all(|b| if hexadecimal { b.is_ascii_hexdigit() } else { b.is_ascii_digit() })
}

/// Digits only: `parse` alone would take a leading `+`.
fn parse_port(text: &str) -> Result<u16, InvalidHost> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidHost);
    }
    text.parse().map_err(|_| InvalidHost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_trailing_dot_and_port_are_taken_apart() {
        for (text, name, port) in [
            ("wiki.example.com", "wiki.example.com", None),
            ("Wiki.Example.COM.:8080", "wiki.example.com", Some(8080)),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]:443", "[::1]", Some(443)),
            ("[2001:DB8::1]", "[2001:db8::1]", None),
            ("a_b", "a_b", None),
            ("10.0.0.1.:80", "10.0.0.1", Some(80)),
            ("app.1a", "app.1a", None),
            ("0xg.0xyz", "0xg.0xyz", None),
        ] {
            let host = Host::parse(text).expect(text);
            assert_eq!((&*host.name, host.port), (name, port), "{text}");
        }
    }

    #[test]
    fn anything_but_one_host_is_refused() {
        for text in [
            "", ".", "a..b", ".a", "a,b", "a/b", "a?c", "u@a", "a b", "a:", "a:+80", "a:65536", "a:80:80",
            "a%41", "[::1", "[x]", "[::1]x", "::1", "é", "a\0", "a..", "[::1]:",
        ] {
            assert_eq!(Host::parse(text), Err(InvalidHost), "{text:?}");
        }
    }

    #[test]
    fn a_number_in_another_form_than_that_of_an_address_is_refused() {
        for text in [
            "10.1",
            "10.0.1",
            "167772161",
            "0xa000001",
            "0xA.0.0.1",
            "10.0.0.0x1",
            "012.0.0.1",
            "10.0.0.01",
            "10.0.0.256",
            "1.2.3.4.5",
            "app.1",
            "app.0x1",
            "0x",
            "app.0X",
            "0",
        ] {
            assert_eq!(Host::parse(text), Err(InvalidHost), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn reading_a_read_host_again_changes_nothing(text in "[a-zA-Z0-9.:_\\[\\]-]{0,20}") {
            if let Ok(host) = Host::parse(&text) {
                let again = Host::parse(&host.name).unwrap();
                proptest::prop_assert_eq!(&again.name, &host.name);
            }
        }
    }
}
