//! Is this a person going to a page, or a program fetching something? By Sec-Fetch-Mode and -Dest, then by Accept; never by
//! User-Agent (S31).

use http::header::{ACCEPT, UPGRADE};
use http::{HeaderMap, Method};

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// The browser's window goes to a page: only this may set where a login leads back to.
    TopLevelNavigation,
    /// A frame goes to a page, or a form was sent: a person waits, but the target cannot be gone back to.
    OtherNavigation,
    /// fetch, XHR, WebSocket, service worker, an image, a script, a program.
    Fetch,
}

impl RequestKind {
    /// Reads the kind from the request.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_read = method == Method::GET || method == Method::HEAD;
        let navigation =
            |top: bool| if top && is_read { Self::TopLevelNavigation } else { Self::OtherNavigation };
        if headers.contains_key(UPGRADE) {
            return Self::Fetch;
        }
        match (field("sec-fetch-mode"), field("sec-fetch-dest")) {
            (Some("navigate"), dest) => navigation(matches!(dest, Some("document") | None)),
            (Some(_), _) | (None, Some(_)) => Self::Fetch,
            (None, None) if accepts_html(headers) => navigation(true),
            (None, None) => Self::Fetch,
        }
    }
}

/// Whether the Accept field names `text/html`.
pub fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|range| {
            let kind = range.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/html")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: &Method, fields: &[(&'static str, &'static str)]) -> RequestKind {
        let headers = fields.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        RequestKind::of(method, &headers)
    }

    #[test]
    fn fetch_metadata_decides_before_accept() {
        let html = ("accept", "text/html,*/*");
        let navigate = ("sec-fetch-mode", "navigate");
        assert_eq!(
            kind(&Method::GET, &[navigate, ("sec-fetch-dest", "document"), html]),
            RequestKind::TopLevelNavigation
        );
        assert_eq!(
            kind(&Method::GET, &[navigate, ("sec-fetch-dest", "iframe"), html]),
            RequestKind::OtherNavigation
        );
        assert_eq!(
            kind(&Method::POST, &[navigate, ("sec-fetch-dest", "document")]),
            RequestKind::OtherNavigation
        );
        for mode in ["cors", "no-cors", "same-origin", "websocket"] {
            assert_eq!(kind(&Method::GET, &[("sec-fetch-mode", mode), html]), RequestKind::Fetch, "{mode}");
        }
        assert_eq!(kind(&Method::GET, &[("sec-fetch-dest", "serviceworker"), html]), RequestKind::Fetch);
    }

    #[test]
    fn without_fetch_metadata_accept_decides_and_never_the_user_agent() {
        assert_eq!(
            kind(&Method::GET, &[("accept", "application/xhtml+xml, text/html;q=0.9")]),
            RequestKind::TopLevelNavigation
        );
        assert_eq!(
            kind(&Method::GET, &[("accept", "*/*"), ("user-agent", "Mozilla/5.0 Chrome")]),
            RequestKind::Fetch
        );
        assert_eq!(kind(&Method::GET, &[("accept", "application/json")]), RequestKind::Fetch);
        assert_eq!(
            kind(&Method::GET, &[("accept", "text/html"), ("upgrade", "websocket")]),
            RequestKind::Fetch
        );
    }
}
