//! One reading of a whole message head, or a refusal (P12, P13). Everything behind this trusts its result.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, StatusCode, Version};
use hyper::ext::Protocol;

use crate::web::head_watch::{HeadFacts, MOST_LENGTH};
use crate::web::host::Host;
use crate::web::path::{PathReadings, PathRefusal, read_path};

/// A request of which there is one reading. It borrows from the request it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalRequest<'a> {
    /// Whom it is for.
    pub host: Host<'a>,
    /// The path's readings; `/` for `OPTIONS *`.
    pub path: PathReadings<'a>,
}

/// Why a message was refused. The answer is 400 (or what [`Refusal::status`] says), and the connection ends: what follows on it may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The head was not seen on the wire, as with a request sent right behind a chunked body.
    #[error("the request head could not be followed on the wire")]
    UnseenHead,
    /// CONNECT without a protocol (RFC 8441) is not offered.
    #[error("CONNECT is not offered")]
    Connect,
    /// A `#` stands in the target.
    #[error("the request target holds a fragment")]
    Fragment,
    /// The target is neither origin-form, absolute-form nor `OPTIONS *`.
    #[error("the request target has no valid form")]
    Target,
    /// Host is missing.
    #[error("the Host field is missing")]
    NoHost,
    /// Host stands more than once.
    #[error("there is more than one Host field")]
    SeveralHosts,
    /// Host is not one valid host.
    #[error("the Host field is not one valid host")]
    InvalidHost,
    /// The target's authority is not the one of Host.
    #[error("the request target and the Host field name different hosts")]
    HostMismatch,
    /// The path was refused.
    #[error(transparent)]
    Path(#[from] PathRefusal),
    /// Content-Length beside Transfer-Encoding.
    #[error("Content-Length and Transfer-Encoding stand together")]
    TwoFramings,
    /// Transfer-Encoding is anything but exactly one `chunked`.
    #[error("Transfer-Encoding is not exactly one chunked")]
    TransferEncoding,
    /// Content-Length stands twice or is not a plain decimal number.
    #[error("Content-Length is repeated or not canonical")]
    ContentLength,
    /// The target is longer than allowed.
    #[error("the request target is too long")]
    LongTarget,
    /// There are more fields than allowed.
    #[error("there are too many header fields")]
    ManyFields,
}

/// The largest head that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The target, in bytes. Default 16 KiB.
    pub target: usize,
    /// Header fields. Default 100.
    pub fields: usize,
}

/// Marks a request some of whose fields were let go of, since they were too many: whatever is left of it is to be refused.
#[derive(Clone, Copy, Debug)]
pub struct CutShort;

impl HeadLimits {
    /// Whether `request` is within them.
    ///
    /// # Errors
    /// [`Refusal::LongTarget`] or [`Refusal::ManyFields`].
    pub fn judge<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > self.target) {
            return Err(Refusal::LongTarget);
        }
        let cut_short = request.extensions().get::<CutShort>().is_some();
        if cut_short || request.headers().len() > self.fields { Err(Refusal::ManyFields) } else { Ok(()) }
    }
}

impl Refusal {
    /// The status that tells it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::LongTarget => StatusCode::URI_TOO_LONG,
            Self::ManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The stable code for logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnseenHead => "unseen_head",
            Self::Connect => "connect",
            Self::Fragment => "fragment",
            Self::Target => "target_form",
            Self::NoHost => "no_host",
            Self::SeveralHosts => "several_hosts",
            Self::InvalidHost => "invalid_host",
            Self::HostMismatch => "host_mismatch",
            Self::Path(_) => "path",
            Self::TwoFramings => "two_framings",
            Self::TransferEncoding => "transfer_encoding",
            Self::ContentLength => "content_length",
            Self::LongTarget => "long_target",
            Self::ManyFields => "many_fields",
        }
    }
}

/// Reads `request`. `facts` is what stood on the wire: an HTTP/1 request without them is refused. HTTP/2 frames its messages itself and
/// needs none.
///
/// # Errors
/// The first [`Refusal`] met.
pub fn normalize<'a, B>(
    request: &'a Request<B>,
    facts: Option<HeadFacts>,
) -> Result<NormalRequest<'a>, Refusal> {
    if request.version() == Version::HTTP_2 {
        // An extended CONNECT opens a WebSocket and has a path as other requests have.
        if request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_none() {
            return Err(Refusal::Connect);
        }
        length(request.headers())?;
    } else {
        let facts = facts.ok_or(Refusal::UnseenHead)?;
        if request.method() == Method::CONNECT {
            return Err(Refusal::Connect);
        }
        if facts.fragment {
            return Err(Refusal::Fragment);
        }
        framing(request.headers(), facts)?;
    }
    let host = host(request)?;
    let path = match request.uri().path() {
        "*" if request.method() == Method::OPTIONS => read_path("/")?,
        "*" => return Err(Refusal::Target),
        // A target that begins with its query: the path read there is one that nobody sent.
        _ if request.uri().path_and_query().is_some_and(|target| target.as_str().starts_with('?')) => {
            return Err(Refusal::Target);
        }
        path => read_path(path)?,
    };
    Ok(NormalRequest { host, path })
}

/// Exactly one framing, told in exactly one way (RFC 9112 section 6).
fn framing(headers: &HeaderMap, facts: HeadFacts) -> Result<(), Refusal> {
    if facts.content_lengths > 0 && facts.transfer_encodings > 0 {
        return Err(Refusal::TwoFramings);
    }
    if facts.content_lengths > 1 || (facts.content_lengths == 1 && !facts.canonical_length) {
        return Err(Refusal::ContentLength);
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(first) = encodings.next() {
        let single = encodings.next().is_none() && facts.transfer_encodings == 1;
        if !single
            || !first.as_bytes().eq_ignore_ascii_case(b"chunked")
            || headers.contains_key(CONTENT_LENGTH)
        {
            return Err(Refusal::TransferEncoding);
        }
    }
    Ok(())
}

/// At most one length, in plain decimal. HTTP/2 has no other framing to tell (RFC 9113 section 8.2.2), and its fields reach us as
/// they were sent.
fn length(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::TransferEncoding);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    // Parsing takes a sign and leading zeros, too.
    let plain = match length.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', ..] => {
            let number = length.to_str().ok().and_then(|digits| digits.parse::<u64>().ok());
            number.is_some_and(|number| number <= MOST_LENGTH)
        }
        _ => false,
    };
    if plain && lengths.next().is_none() { Ok(()) } else { Err(Refusal::ContentLength) }
}

fn host<B>(request: &Request<B>) -> Result<Host<'_>, Refusal> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Refusal::SeveralHosts);
    }
    let field = match field {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| Refusal::InvalidHost)?;
            Some(Host::parse(text).map_err(|_| Refusal::InvalidHost)?)
        }
    };
    match (request.uri().authority(), field) {
        (None, Some(host)) => Ok(host),
        // Another scheme names something that we do not serve.
        (Some(_), _) if !matches!(request.uri().scheme_str(), Some("http" | "https")) => Err(Refusal::Target),
        (Some(authority), Some(host)) => {
            let named = Host::parse(authority.as_str()).map_err(|_| Refusal::InvalidHost)?;
            let default = if request.uri().scheme_str() == Some("https") { 443 } else { 80 };
            if named.same_place(&host, default) { Ok(host) } else { Err(Refusal::HostMismatch) }
        }
        // HTTP/2 may leave Host out; HTTP/1 may not.
        (Some(authority), None) if request.version() == Version::HTTP_2 => {
            Host::parse(authority.as_str()).map_err(|_| Refusal::InvalidHost)
        }
        (_, None) => Err(Refusal::NoHost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Option<HeadFacts> = Some(HeadFacts {
        fragment: false,
        content_lengths: 0,
        canonical_length: true,
        transfer_encodings: 0,
    });

    fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    fn refused(target: &str, headers: &[(&str, &str)]) -> Refusal {
        normalize(&request(target, headers), SEEN).expect_err(target)
    }

    #[test]
    fn an_ordinary_request_has_one_reading() {
        let request = request("/a/b?c=/../d", &[("host", "Wiki.Test:8080")]);
        let normal = normalize(&request, SEEN).unwrap();
        assert_eq!((&*normal.host.name, &*normal.path.primary), ("wiki.test", "/a/b"));
    }

    #[test]
    fn missing_repeated_empty_and_malformed_hosts_are_refused() {
        assert_eq!(refused("/", &[]), Refusal::NoHost);
        assert_eq!(refused("/", &[("host", "a"), ("host", "a")]), Refusal::SeveralHosts);
        for host in ["", "a,b", "a/b?c", "u@a", "a b"] {
            assert_eq!(refused("/", &[("host", host)]), Refusal::InvalidHost, "{host}");
        }
    }

    #[test]
    fn absolute_form_must_name_the_host_of_the_host_field() {
        assert_eq!(refused("http://b/x", &[("host", "a")]), Refusal::HostMismatch);
        assert_eq!(refused("http://a:81/x", &[("host", "a")]), Refusal::HostMismatch);
        assert_eq!(refused("http://u@a/x", &[("host", "a")]), Refusal::InvalidHost);
        assert_eq!(refused("http://a/x", &[]), Refusal::NoHost);
        assert!(normalize(&request("http://A:80/x", &[("host", "a")]), SEEN).is_ok());
        assert_eq!(refused("ftp://a/x", &[("host", "a")]), Refusal::Target);
    }

    #[test]
    fn connect_fragments_asterisks_and_unseen_heads_are_refused() {
        let mut connect = request("/", &[("host", "a")]);
        *connect.method_mut() = Method::CONNECT;
        assert_eq!(normalize(&connect, SEEN), Err(Refusal::Connect));
        let hash = SEEN.map(|facts| HeadFacts { fragment: true, ..facts });
        assert_eq!(normalize(&request("/a", &[("host", "a")]), hash), Err(Refusal::Fragment));
        assert_eq!(normalize(&request("/a", &[("host", "a")]), None), Err(Refusal::UnseenHead));
        assert_eq!(refused("*", &[("host", "a")]), Refusal::Target);
        let mut options = request("*", &[("host", "a")]);
        *options.method_mut() = Method::OPTIONS;
        assert!(normalize(&options, SEEN).is_ok());
    }

    fn over_http2(target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = request(target, headers);
        *request.version_mut() = Version::HTTP_2;
        request
    }

    #[test]
    fn over_http_2_the_authority_is_the_host_and_another_host_field_is_refused() {
        let alone = over_http2("https://Wiki.Test/a", &[]);
        let normal = normalize(&alone, None).unwrap();
        assert_eq!((&*normal.host.name, &*normal.path.primary), ("wiki.test", "/a"));
        let same = over_http2("https://wiki.test/a", &[("host", "wiki.test:443")]);
        assert!(normalize(&same, None).is_ok());
        assert_eq!(normalize(&over_http2("https://wiki.test?a", &[]), None), Err(Refusal::Target));
        let other = over_http2("https://wiki.test/a", &[("host", "other.test")]);
        assert_eq!(normalize(&other, None), Err(Refusal::HostMismatch));
        let twice = over_http2("https://wiki.test/a", &[("host", "wiki.test"), ("host", "wiki.test")]);
        assert_eq!(normalize(&twice, None), Err(Refusal::SeveralHosts));
        assert_eq!(normalize(&over_http2("/a", &[]), None), Err(Refusal::NoHost));
    }

    #[test]
    fn over_http_2_connect_needs_a_protocol() {
        let connect = |uri: &str| {
            let mut request = over_http2(uri, &[]);
            *request.method_mut() = Method::CONNECT;
            request
        };
        assert_eq!(normalize(&connect("wiki.test:443"), None), Err(Refusal::Connect));
        let mut extended = connect("https://wiki.test/chat");
        extended.extensions_mut().insert(Protocol::from_static("websocket"));
        assert_eq!(&*normalize(&extended, None).unwrap().path.primary, "/chat");
    }

    #[test]
    fn over_http_2_a_length_that_is_repeated_or_odd_is_refused() {
        for lengths in
            [&["3", "3"][..], &["+3"], &["03"], &["3, 3"], &[""], &["0x3"], &["9223372036854775808"]]
        {
            let fields: Vec<_> = lengths.iter().map(|l| ("content-length", *l)).collect();
            let request = over_http2("https://a/", &fields);
            assert_eq!(normalize(&request, None), Err(Refusal::ContentLength), "{lengths:?}");
        }
        for length in ["0", "30"] {
            assert!(normalize(&over_http2("https://a/", &[("content-length", length)]), None).is_ok());
        }
    }

    #[test]
    fn every_second_framing_is_refused() {
        let host = ("host", "a");
        let facts = |content_lengths, canonical_length, transfer_encodings| {
            Some(HeadFacts { fragment: false, content_lengths, canonical_length, transfer_encodings })
        };
        let with = |headers: &[(&str, &str)], facts| normalize(&request("/", headers), facts).map(|_| ());
        assert_eq!(
            with(&[host, ("transfer-encoding", "chunked")], facts(1, true, 1)),
            Err(Refusal::TwoFramings)
        );
        assert_eq!(with(&[host, ("content-length", "1")], facts(2, true, 0)), Err(Refusal::ContentLength));
        assert_eq!(with(&[host, ("content-length", "1")], facts(1, false, 0)), Err(Refusal::ContentLength));
        for encoding in ["gzip, chunked", "chunked, chunked", ",chunked", "identity", "xchunked", ""] {
            assert_eq!(
                with(&[host, ("transfer-encoding", encoding)], facts(0, true, 1)),
                Err(Refusal::TransferEncoding),
                "{encoding}"
            );
        }
        assert_eq!(
            with(&[host, ("transfer-encoding", "chunked")], facts(0, true, 2)),
            Err(Refusal::TransferEncoding)
        );
        assert_eq!(with(&[host, ("transfer-encoding", "Chunked")], facts(0, true, 1)), Ok(()));
        assert_eq!(with(&[host, ("content-length", "1")], facts(1, true, 0)), Ok(()));
    }
}
