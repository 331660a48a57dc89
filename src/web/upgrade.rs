//! What a request asks to switch to, and the WebSocket handshake's two fields (RFC 9110 section 7.8, RFC 6455, RFC 8441).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use http_body::Body;
use hyper::ext::Protocol;

use crate::base::secret::{Random, RandomError};

const WEBSOCKET: &str = "websocket";
/// What the server appends to the key before hashing it (RFC 6455 section 1.3).
const HANDSHAKE_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request asks its connection, or its HTTP/2 stream, to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An HTTP/1.1 upgrade to this one protocol, spelt as the client spelt it.
    Upgrade(HeaderValue),
    /// A WebSocket over HTTP/2, by extended CONNECT.
    ExtendedConnect,
    /// An extended CONNECT to a protocol that is not offered: 501 (RFC 8441 section 4).
    UnknownConnect,
}

impl Asked {
    /// What `request` asks for, if an upstream may hear of it. Everything else is no upgrade: a recipient may ignore one (RFC 9110
    /// section 7.8), so the request goes on without it. Ignored are several protocols at once, a request with a body, a WebSocket
    /// by another method than GET or without a key, an HTTP/1.0 request, and every protocol whose messages would need decisions of their own
    /// behind our back: `h2c` and other forms of HTTP, and TLS.
    pub fn by<B: Body>(request: &Request<B>) -> Option<Self> {
        if let Some(protocol) = request.extensions().get::<Protocol>() {
            let known = request.method() == Method::CONNECT && protocol.as_str() == WEBSOCKET;
            return Some(if known { Self::ExtendedConnect } else { Self::UnknownConnect });
        }
        let headers = request.headers();
        if !headers.contains_key(UPGRADE) {
            return None;
        }
        let mut fields = headers.get_all(UPGRADE).iter();
        let (Some(only), None) = (fields.next(), fields.next()) else { return None };
        let protocol = only.to_str().ok()?;
        let asks = request.version() == Version::HTTP_11
            && names_upgrade(headers)
            && is_opaque(protocol)
            && request.body().is_end_stream()
            && (!protocol.eq_ignore_ascii_case(WEBSOCKET)
                || request.method() == Method::GET && has_key(headers));
        asks.then(|| Self::Upgrade(only.clone()))
    }

    /// Whether it is a WebSocket, which browsers open for any page that asks.
    pub fn is_websocket(&self) -> bool {
        match self {
            Self::Upgrade(protocol) => protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()),
            Self::ExtendedConnect | Self::UnknownConnect => true,
        }
    }
}

/// Sets the fields of one hop that ask for `protocol`, or agree to it.
pub fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Our key of a WebSocket handshake with an upstream, in place of the client's or for an extended CONNECT, which has none. A proof of
/// it comes from whoever was told it: what answers with fields that a client chose does not know it, but a server that an app passes our
/// request's fields on to does.
#[derive(Debug)]
pub struct HandshakeKey(HeaderValue);

impl HandshakeKey {
    /// A fresh key (RFC 6455 section 4.1).
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn new(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        // Base64 is always a header value.
        Ok(Self(
            HeaderValue::from_str(&BASE64.encode(&bytes)).unwrap_or_else(|_| HeaderValue::from_static("")),
        ))
    }

    /// Turns an extended CONNECT into the HTTP/1.1 request that asks for the same.
    pub fn open<B>(&self, request: &mut Request<B>) {
        *request.method_mut() = Method::GET;
        request.extensions_mut().remove::<Protocol>();
        let headers = request.headers_mut();
        set_upgrade(headers, HeaderValue::from_static(WEBSOCKET));
        headers.insert(SEC_WEBSOCKET_KEY, self.0.clone());
    }

    /// Takes the place of the client's key, and gives that.
    pub fn stand_in(&self, headers: &mut HeaderMap) -> Option<HeaderValue> {
        headers.insert(SEC_WEBSOCKET_KEY, self.0.clone())
    }

    /// Whether the upstream's 101 proves that it read this key as a WebSocket server. The proof is for us alone, and is taken out.
    pub fn take_proof(&self, headers: &mut HeaderMap) -> bool {
        let several = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter().nth(1).is_some();
        let proof = headers.remove(SEC_WEBSOCKET_ACCEPT);
        !several && proof.is_some_and(|proof| proof.as_bytes() == accept_of(self.0.as_bytes()).as_bytes())
    }
}

/// Proves to a client that its `key` has been read.
pub fn prove(headers: &mut HeaderMap, key: &HeaderValue) {
    // Base64 is always a header value.
    if let Ok(proof) = HeaderValue::from_str(&accept_of(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
    }
}

/// Whether there is one key of 16 bytes (RFC 6455 section 4.1).
fn has_key(headers: &HeaderMap) -> bool {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return false };
    BASE64.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16)
}

fn accept_of(key: &[u8]) -> String {
    let answered = [key, HANDSHAKE_SUFFIX.as_bytes()].concat();
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &answered).as_ref())
}

/// Whether some Connection line names `upgrade`.
fn names_upgrade(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(UPGRADE.as_str().as_bytes()))
}

/// Whether `protocol` is one protocol, and none that carries HTTP requests or hides them.
fn is_opaque(protocol: &str) -> bool {
    let (name, version) = protocol.split_once('/').unwrap_or((protocol, "1"));
    let is_token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
    let name = name.to_ascii_lowercase();
    is_token(&name)
        && is_token(version)
        && !name.starts_with("h2")
        && !name.starts_with("http")
        && name != "tls"
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;
    use crate::base::secret::SystemRandom;

    /// That of RFC 6455 section 1.3.
    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

    fn request(method: &str, fields: &[(&str, &str)]) -> Request<Empty<bytes::Bytes>> {
        let mut builder = Request::builder().method(method).uri("/");
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(Empty::new()).unwrap()
    }

    fn asked(fields: &[(&str, &str)]) -> Option<String> {
        match Asked::by(&request("GET", fields))? {
            Asked::Upgrade(protocol) => Some(protocol.to_str().unwrap().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_protocol_that_the_connection_field_names_is_asked_for() {
        let connection = ("connection", "keep-alive, Upgrade");
        assert_eq!(asked(&[connection, KEY, ("upgrade", "WebSocket")]).as_deref(), Some("WebSocket"));
        assert_eq!(asked(&[connection, ("upgrade", "SPDY/3.1")]).as_deref(), Some("SPDY/3.1"));
        assert_eq!(asked(&[KEY, ("upgrade", "websocket")]), None);
        assert_eq!(asked(&[("connection", "close"), KEY, ("upgrade", "websocket")]), None);
        assert_eq!(asked(&[connection]), None);
    }

    #[test]
    fn no_form_of_http_no_tls_and_no_list_is_ever_asked_for() {
        let connection = ("connection", "upgrade");
        for protocol in [
            "h2c",
            "H2C",
            "h2",
            "HTTP/2.0",
            "http",
            "TLS/1.2",
            "websocket, h2c",
            "h2c,websocket",
            "",
            "a b",
            "a/",
        ] {
            assert_eq!(asked(&[connection, KEY, ("upgrade", protocol)]), None, "{protocol}");
        }
        assert_eq!(asked(&[connection, KEY, ("upgrade", "websocket"), ("upgrade", "h2c")]), None);
    }

    #[test]
    fn a_websocket_without_one_key_of_16_bytes_is_not_asked_for() {
        let asks = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert_eq!(asked(&asks), None);
        for key in ["", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ=="] {
            assert_eq!(asked(&[asks[0], asks[1], ("sec-websocket-key", key)]), None, "{key}");
        }
        assert_eq!(asked(&[asks[0], asks[1], KEY, KEY]), None);
    }

    #[test]
    fn a_websocket_is_asked_for_by_get_without_a_body_over_http_1_1() {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket"), KEY];
        assert_eq!(Asked::by(&request("POST", &fields)), None);
        let mut old = request("GET", &fields);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(Asked::by(&old), None);
        let with_body = request("GET", &fields).map(|_| Full::new(bytes::Bytes::from_static(b"x")));
        assert_eq!(Asked::by(&with_body), None);
        let other = [("connection", "upgrade"), ("upgrade", "tcp")];
        assert!(Asked::by(&request("POST", &other)).is_some_and(|asked| !asked.is_websocket()));
    }

    #[test]
    fn an_extended_connect_is_a_websocket_or_unknown() {
        for (protocol, known) in
            [("websocket", Asked::ExtendedConnect), ("connect-udp", Asked::UnknownConnect)]
        {
            let mut connect = request("CONNECT", &[]);
            connect.extensions_mut().insert(Protocol::from_static(protocol));
            assert_eq!(Asked::by(&connect), Some(known), "{protocol}");
        }
    }

    #[test]
    fn an_extended_connect_becomes_the_handshake_of_http_1() {
        let mut connect = request("CONNECT", &[("sec-websocket-protocol", "chat")]);
        connect.extensions_mut().insert(Protocol::from_static(WEBSOCKET));
        let key = HandshakeKey::new(&SystemRandom).unwrap();
        key.open(&mut connect);
        assert_eq!(
            (connect.method(), connect.headers()["upgrade"].as_bytes()),
            (&Method::GET, &b"websocket"[..])
        );
        assert_eq!(BASE64.decode(connect.headers()[SEC_WEBSOCKET_KEY].as_bytes()).unwrap().len(), 16);
        assert!(
            matches!(Asked::by(&connect), Some(Asked::Upgrade(_))),
            "the handshake of a client of HTTP/1.1"
        );
    }

    #[test]
    fn only_the_proof_of_the_very_key_counts() {
        // RFC 6455 section 1.3.
        let key = HandshakeKey(HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        let proof = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(value));
            }
            let proved = key.take_proof(&mut headers);
            assert!(headers.is_empty());
            proved
        };
        assert!(proof(&["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]));
        assert!(!proof(&[]));
        assert!(!proof(&["x"]));
        assert!(!proof(&["s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "x"]));
    }
}
