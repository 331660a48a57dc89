//! The largest body that a route's upstream gets (P11): refused before it is forwarded when the client says its length, cut off
//! where it grows past the limit otherwise. The exchange is then aborted, so that the upstream never takes a part for the whole.

use std::cell::Cell;
use std::rc::Rc;

use http::StatusCode;
use http_body::Body;

use crate::gateway::respond::Failure;
use crate::web::body::InboundBody;

/// The body is larger than the route takes.
pub const TOO_LARGE: Failure = Failure::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "body_too_large",
    "What was sent is larger than this page takes.",
);

/// Tells whether a bound body has grown past its limit.
#[derive(Debug, Default)]
pub struct Exceeded(Option<Rc<Cell<bool>>>);

impl Exceeded {
    /// Whether it has.
    pub fn get(&self) -> bool {
        self.0.as_ref().is_some_and(|exceeded| exceeded.get())
    }
}

/// Bounds `body`, where there is a bound.
///
/// # Errors
/// [`TOO_LARGE`] when its length is known and larger.
pub fn bound(body: &mut InboundBody, most: Option<u64>) -> Result<Exceeded, Failure> {
    let Some(most) = most else { return Ok(Exceeded::default()) };
    match body.size_hint().exact() {
        Some(length) if length > most => Err(TOO_LARGE),
        Some(_) => Ok(Exceeded::default()),
        None => Ok(Exceeded(Some(body.limit(most)))),
    }
}
