//! A request that asks for a tunnel (WebSocket and the like): whose page may open it, how it goes up, what its answer becomes.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use crate::base::secret::{Random, RandomError};
use crate::gateway::open_streams::SessionWatch;
use crate::gateway::reply::{Reply, ReplyBody};
use crate::gateway::respond::Failure;
use crate::gateway::same_origin::{PageOrigin, is_of, page_origin};
use crate::gateway::tunnel::{KeepAlive, LiveTunnel};
use crate::proxy::ForwardedBody;
use crate::web::host::Host;
use crate::web::upgrade::{Asked, HandshakeKey, prove, set_upgrade};

/// The code of a WebSocket that another site's page tried to open with our user's cookie.
pub const FOREIGN_ORIGIN: &str = "websocket_origin";

/// Another site's page: 403 (X11).
pub const FOREIGN_PAGE: Failure = Failure::new(
    StatusCode::FORBIDDEN,
    FOREIGN_ORIGIN,
    "A page of another site may not open a connection to this one.",
);

/// An extended CONNECT to something else than a WebSocket (RFC 8441 section 4).
pub const UNKNOWN_PROTOCOL: Failure = Failure::new(
    StatusCode::NOT_IMPLEMENTED,
    "connect_protocol",
    "This gateway does not know the protocol that was asked for.",
);

const NO_HANDSHAKE: Failure = Failure::new(
    StatusCode::BAD_GATEWAY,
    "upstream_protocol",
    "The app behind this gateway answered something that cannot be understood.",
);

/// Whether the page that opens a WebSocket with our session cookie is of the host it goes to, or of an origin in `allowed`. No
/// page can hide: a browser says on every WebSocket where it comes from, so a request that does not say is refused too. Programs
/// that present a session cookie can send the Origin of the host they connect to.
pub fn comes_from_our_page(headers: &HeaderMap, host: &Host<'_>, allowed: &[String]) -> bool {
    match page_origin(headers, host) {
        PageOrigin::Same => true,
        PageOrigin::Other(origin) => allowed.iter().any(|page| is_of(origin, page)),
        PageOrigin::Unsaid | PageOrigin::Unclear => false,
    }
}

/// The same for a WebSocket that a client certificate lets in. Most of those are of programs, which have no page and say so by
/// saying nothing; browsers show a certificate for whatever page asks, as they send cookies.
pub fn comes_from_no_foreign_page(headers: &HeaderMap, host: &Host<'_>, allowed: &[String]) -> bool {
    page_origin(headers, host) == PageOrigin::Unsaid || comes_from_our_page(headers, host, allowed)
}

/// An upgrade on its way up.
#[derive(Debug)]
pub struct Passing {
    asked: Asked,
    /// Of a WebSocket: ours for the upstream.
    key: Option<HandshakeKey>,
    /// And the client's own, if it has one.
    clients_key: Option<HeaderValue>,
}

impl Passing {
    /// Makes `request`, whose hop-by-hop fields have been stripped, ask the upstream for the same as the client did.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn dress<B>(
        asked: Asked,
        request: &mut Request<B>,
        random: &dyn Random,
    ) -> Result<Box<Self>, RandomError> {
        let key = if asked.is_websocket() { Some(HandshakeKey::new(random)?) } else { None };
        let mut clients_key = None;
        match (&asked, &key) {
            (Asked::Upgrade(protocol), key) => {
                let headers = request.headers_mut();
                set_upgrade(headers, protocol.clone());
                clients_key = key.as_ref().and_then(|key| key.stand_in(headers));
            }
            (_, Some(key)) => key.open(request),
            (_, None) => {}
        }
        // Boxed: it is rare, and would make the future of every request larger.
        Ok(Box::new(Self { asked, key, clients_key }))
    }

    /// The answer for the client: the tunnel where the upstream has switched, else its answer as it is.
    ///
    /// # Errors
    /// When the upstream's answer is not what the client's protocol could take for what it is.
    pub fn answer(
        self,
        response: Response<ForwardedBody>,
        watch: Option<SessionWatch>,
        keep: KeepAlive,
    ) -> Result<Reply, Failure> {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !switched {
            // An HTTP/2 client would take any success for an open tunnel.
            if self.asked == Asked::ExtendedConnect && response.status().is_success() {
                return Err(NO_HANDSHAKE);
            }
            return Ok(response.map(|body| ReplyBody::forwarded(body, watch)));
        }
        let (mut parts, mut body) = response.into_parts();
        let tunnel = body.take_tunnel().ok_or(NO_HANDSHAKE)?;
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.remove(TRANSFER_ENCODING);
        parts.headers.remove(CONNECTION);
        parts.headers.remove(UPGRADE);
        if self.key.is_some_and(|key| !key.take_proof(&mut parts.headers)) {
            return Err(NO_HANDSHAKE);
        }
        match self.asked {
            Asked::Upgrade(protocol) => set_upgrade(&mut parts.headers, protocol),
            Asked::ExtendedConnect => parts.status = StatusCode::OK,
            Asked::UnknownConnect => return Err(NO_HANDSHAKE),
        }
        if let Some(key) = &self.clients_key {
            prove(&mut parts.headers, key);
        }
        Ok(Response::from_parts(parts, ReplyBody::tunnel(LiveTunnel::new(tunnel, watch, keep))))
    }
}
