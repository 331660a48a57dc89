//! The `Via` field (RFC 9110 section 7.6.3): upstreams hear that they are spoken to by a gateway, and a request that has passed here
//! before is known by it.

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};

/// What one process calls itself in `Via`: other gateways of the same kind in a chain are no loop.
#[derive(Clone, Debug)]
pub struct ViaName {
    name: Box<str>,
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

impl ViaName {
    /// `fluidgate-` and the lower half of `number` in hexadecimal.
    pub fn new(number: u64) -> Self {
        let name: Box<str> = format!("fluidgate-{:08x}", number & 0xffff_ffff).into();
        let field = |version: &str| {
            let text = format!("{version} {name}");
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("1.1 fluidgate"))
        };
        Self { http_10: field("1.0"), http_11: field("1.1"), http_2: field("2.0"), name }
    }

    /// Whether the request has passed here before.
    pub fn has_passed(&self, headers: &HeaderMap) -> bool {
        let entries = headers.get_all(VIA).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
        let mut hosts = entries.filter_map(|entry| entry.trim_ascii().split(|b| *b == b' ').nth(1));
        hosts.any(|host| host == self.name.as_bytes())
    }

    /// Notes that a request of `version` passes here.
    pub fn pass(&self, headers: &mut HeaderMap, version: Version) {
        let field = match version {
            Version::HTTP_09 | Version::HTTP_10 => &self.http_10,
            Version::HTTP_2 => &self.http_2,
            _ => &self.http_11,
        };
        headers.append(VIA, field.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_again_by_the_very_name() {
        let (ours, other) = (ViaName::new(0x1_0000_00ab), ViaName::new(0xac));
        let mut headers = HeaderMap::new();
        headers.append(VIA, HeaderValue::from_static("1.0 fluidgate, 1.1 proxy.test (fluidgate-000000ab)"));
        other.pass(&mut headers, Version::HTTP_2);
        assert!(!ours.has_passed(&headers) && other.has_passed(&headers));
        ours.pass(&mut headers, Version::HTTP_10);
        assert!(ours.has_passed(&headers));
        let lines: Vec<_> = headers.get_all(VIA).iter().skip(1).collect();
        assert_eq!(lines, ["2.0 fluidgate-000000ac", "1.0 fluidgate-000000ab"]);
        let joined =
            HeaderMap::from_iter([(VIA, HeaderValue::from_static("1.1 a,1.1 fluidgate-000000ab ,1.1 b"))]);
        assert!(ours.has_passed(&joined));
    }
}
