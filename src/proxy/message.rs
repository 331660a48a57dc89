//! A request as an upstream gets it, and a response as the client does, whichever version of HTTP is between us.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version};
use http_body::Body;

use crate::proxy::body::RequestBody;
use crate::web::hop_by_hop;

const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// The request by HTTP/1.1: origin-form, framed by us.
pub(super) fn outbound(request: &mut Request<RequestBody>) {
    *request.version_mut() = Version::HTTP_11;
    request.extensions_mut().clear();
    if request.uri().authority().is_some() {
        *request.uri_mut() = origin_form(request.uri());
    }
    request.headers_mut().remove(TRANSFER_ENCODING);
    frame(request);
}

/// hyper would leave a GET of unknown length without a body; the client's own framing said there is one.
fn frame(request: &mut Request<RequestBody>) {
    if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, CHUNKED);
    }
}

/// An outbound request by HTTP/2: the host is a part of the target, and the stream frames the body.
pub(super) fn by_http2(request: &mut Request<RequestBody>, encrypted: bool) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    request.headers_mut().remove(TRANSFER_ENCODING);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if encrypted { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
    parts.authority = authority.or_else(|| Some(Authority::from_static("localhost")));
    parts.path_and_query = Some(path);
    if let Ok(target) = Uri::from_parts(parts) {
        *request.uri_mut() = target;
    }
}

/// A request that [`by_http2`] changed and that was not sent, by HTTP/1.1 again.
pub(super) fn by_http1(request: &mut Request<RequestBody>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    *request.version_mut() = Version::HTTP_11;
    let authority = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = authority {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = origin_form(request.uri());
    frame(request);
}

fn origin_form(target: &Uri) -> Uri {
    target.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from)
}

/// The head of a response as the client gets it, if it can be read in one way only; else what is wrong with it.
pub(super) fn inbound<B>(response: &mut Response<B>) -> Result<(), &'static str> {
    match framing_problem(response.headers()) {
        Some(problem) => return Err(problem),
        None => hop_by_hop::strip_response(response.headers_mut()),
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(())
}

/// What makes the response's end ambiguous, if anything does.
fn framing_problem(headers: &HeaderMap) -> Option<&'static str> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), encodings.next()) {
        (Some(_), Some(_)) => Some("both Content-Length and Transfer-Encoding"),
        (Some(_), None) if lengths.next().is_some() => Some("more than one Content-Length"),
        // A list of equal ones too: the client would have to read it as we do.
        (Some(length), None) if !length.as_bytes().iter().all(u8::is_ascii_digit) => {
            Some("a Content-Length that is no number")
        }
        (None, Some(_)) if encodings.next().is_some() => Some("more than one Transfer-Encoding"),
        (None, Some(encoding)) if !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Some("a Transfer-Encoding other than chunked")
        }
        _ => None,
    }
}
