//! What of a request is kept so that another member can be sent it again: the head of one without a body, whose method says that
//! twice is as good as once (RFC 9110 section 9.2.2).

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body::Body;

use crate::proxy::body::RequestBody;
use crate::proxy::pool::Shared;

/// Most lists kept for the next copies.
const MAX_SPARE: usize = 64;

/// Header fields in order.
pub(super) type Fields = Vec<(HeaderName, HeaderValue)>;

/// A copy of a request's head. The list it is kept in is used again, so that a copy allocates nothing.
pub(super) struct Copy {
    method: Method,
    target: Uri,
    fields: Fields,
    shared: Rc<Shared>,
}

impl Copy {
    /// A copy of `request`, if it may be sent twice.
    pub(super) fn of(request: &Request<RequestBody>, shared: &Rc<Shared>) -> Option<Self> {
        let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        if !safe || !request.body().is_end_stream() {
            return None;
        }
        let mut fields = shared.spare.borrow_mut().pop().unwrap_or_default();
        fields.extend(request.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
        let (method, target) = (request.method().clone(), request.uri().clone());
        Some(Self { method, target, fields, shared: Rc::clone(shared) })
    }

    /// The request once more.
    pub(super) fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        let mut headers = HeaderMap::with_capacity(self.fields.len());
        for (name, value) in &self.fields {
            headers.append(name, value.clone());
        }
        *request.headers_mut() = headers;
        request
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        let mut spare = self.shared.spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(fields);
        }
    }
}
