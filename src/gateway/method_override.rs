//! Fields by which some frameworks take another method than the request's own (Rack, Symfony, Express, ASP.NET). Where the method
//! was decided on, they would undo the decision.

use http::{HeaderMap, HeaderName};

const NAMES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];

/// Leaves a request its own method alone.
pub fn strip(headers: &mut HeaderMap) {
    for name in &NAMES {
        headers.remove(name);
    }
}
