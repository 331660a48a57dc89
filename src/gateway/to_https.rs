//! Where a request that came without TLS is sent: the same host and target by https, never another place.

use http::{HeaderValue, Uri};

use crate::web::host::Host;

/// The address by https. The host was read by [`Host::parse`], so nothing in it ends the authority or names another; the target is
/// behind it and starts with a slash, whatever it says.
pub fn https_location(host: &Host<'_>, port: u16, uri: &Uri) -> Option<HeaderValue> {
    let target = match uri.path_and_query().map_or("/", |target| target.as_str()) {
        "*" => "/",
        target => target,
    };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let location = format!("https://{}{port}{target}", host.name);
    target.starts_with('/').then(|| HeaderValue::from_str(&location).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(host: &str, port: u16, target: &str) -> Option<String> {
        let host = Host::parse(host).unwrap();
        let uri: Uri = target.parse().unwrap();
        https_location(&host, port, &uri).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_same_place_is_named_by_https() {
        let cases = [
            ("Wiki.Test:8080", 443, "/a?b=//c", "https://wiki.test/a?b=//c"),
            ("wiki.test", 8443, "//evil.test/", "https://wiki.test:8443//evil.test/"),
            ("[::1]:80", 443, "/", "https://[::1]/"),
            ("wiki.test", 443, "http://wiki.test/a", "https://wiki.test/a"),
            ("wiki.test", 443, "*", "https://wiki.test/"),
        ];
        for (host, port, target, expected) in cases {
            assert_eq!(location(host, port, target).as_deref(), Some(expected));
        }
    }
}
