//! The head of an HTTP/2 request in the fields that everything behind reads, and no more of them than are allowed.

use bytes::Bytes;
use http::header::{COOKIE, HOST};
use http::{HeaderValue, Request};

use crate::web::normalize::CutShort;

/// Says what HTTP/2 says in its own way as HTTP/1.1 does; of a head that then has more than `most` fields little is kept, and it is
/// marked for refusal.
pub(super) fn read<B>(request: &mut Request<B>, most: usize) {
    as_http1(request);
    // Last: a cookie may have come in any number of pieces, and is one field.
    shorten(request, most);
}

/// The authority is the Host, the cookie one field (RFC 9113 section 8.2.3). A Host that is there stays, and is refused if it is
/// another one.
fn as_http1<B>(request: &mut Request<B>) {
    let authority = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    let headers = request.headers_mut();
    if let Some(Ok(authority)) = authority {
        headers.entry(HOST).or_insert(authority);
    }
    let mut crumbs = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(_)) = (crumbs.next(), crumbs.next()) {
        let mut whole = first.as_bytes().to_vec();
        for crumb in headers.get_all(COOKIE).iter().skip(1) {
            whole.extend_from_slice(b"; ");
            whole.extend_from_slice(crumb.as_bytes());
        }
        if let Ok(whole) = HeaderValue::from_maybe_shared(Bytes::from(whole)) {
            headers.insert(COOKIE, whole);
        }
    }
}

/// Lets go of the fields of a head that has more than `most`, but for the one that shows it. A byte each on the wire, they take a
/// hundred times that here, and all streams of all connections may have come before the first is looked at.
fn shorten<B>(request: &mut Request<B>, most: usize) {
    if request.headers().len() <= most {
        return;
    }
    request.extensions_mut().insert(CutShort);
    let headers = request.headers_mut();
    let mut last = None;
    for (name, value) in std::mem::take(headers) {
        last = name.or(last);
        if let Some(name) = last.clone().filter(|_| headers.len() <= most) {
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::normalize::{HeadLimits, Refusal};

    fn head(crumbs: usize, others: usize) -> Request<()> {
        let mut request = Request::builder().uri("https://wiki.test/");
        for _ in 0..crumbs {
            request = request.header(COOKIE, "a=b");
        }
        for number in 0..others {
            request = request.header(format!("x-{number}"), "y");
        }
        request.body(()).unwrap()
    }

    #[test]
    fn a_cookie_in_many_pieces_takes_the_place_of_one_field() {
        let mut request = head(95, 20);
        read(&mut request, 100);
        assert_eq!(request.headers().len(), 1 + 20 + 1);
        assert_eq!(request.headers()[COOKIE].as_bytes().len(), 95 * 5 - 2);
        assert_eq!(request.headers()["x-19"], "y");
        assert_eq!(HeadLimits { target: 100, fields: 100 }.judge(&request), Ok(()));
    }

    #[test]
    fn what_was_cut_short_is_refused_even_where_as_many_fields_are_allowed_by_now() {
        let mut request = head(2, 99);
        read(&mut request, 100);
        assert_eq!(request.headers().len(), 101);
        assert_eq!(HeadLimits { target: 100, fields: 1000 }.judge(&request), Err(Refusal::ManyFields));
        let mut request = head(2, 98);
        read(&mut request, 100);
        assert_eq!(HeadLimits { target: 100, fields: 100 }.judge(&request), Ok(()));
    }
}
