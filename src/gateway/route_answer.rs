//! What a route answers itself, without an upstream: a redirect, a fixed response, files of a folder (P6). The route's rule has been
//! passed before any of this is looked at.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::gateway::reply::Reply;
use crate::gateway::respond::Failure;
use crate::gateway::respond::{self, METHOD, NOT_FOUND};
use crate::gateway::rewrite::PathRewrite;
use crate::gateway::static_files::{Found, StaticFiles};
use crate::web::path::PathReadings;

/// A route's own answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAnswer {
    /// Somewhere else.
    Redirect(Redirect),
    /// Always the same.
    Respond(Respond),
    /// A file.
    Static(StaticFiles),
}

/// A redirect to a target made of fixed text and, where it says so, parts of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// Starts with a single `/`, or with `https://host` or `http://host`.
    pub to: String,
    /// Append the request's path.
    pub path: bool,
    /// What stands behind the path.
    pub behind: String,
    /// Append the request's query.
    pub query: bool,
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: bytes::Bytes,
    /// Its type.
    pub content_type: HeaderValue,
}

/// What must not stand in a Location field unencoded; a `%` stays, since the target is encoded already.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'\\');

impl RouteAnswer {
    /// Answers `request`, whose path has these `readings`; `prefix` is the route's path and `rewrite` what becomes of it.
    ///
    /// # Errors
    /// The failure to answer with.
    pub async fn reply<B: Body>(
        &self,
        request: &Request<B>,
        readings: &PathReadings<'_>,
        prefix: &str,
        rewrite: Option<&PathRewrite>,
    ) -> Result<Reply, Failure> {
        match self {
            Self::Redirect(redirect) => redirect.reply(request.uri(), rewrite),
            Self::Respond(respond) => Ok(respond.reply()),
            Self::Static(files) => {
                if request.method() != Method::GET && request.method() != Method::HEAD {
                    return Err(METHOD);
                }
                match files.find(readings, prefix).await {
                    Found::File(file) => files.serve(file, request).await,
                    // The same path with a slash: links in the page are relative to it.
                    Found::Folder => {
                        let target = Redirect {
                            status: StatusCode::PERMANENT_REDIRECT,
                            to: String::new(),
                            path: true,
                            behind: "/".into(),
                            query: true,
                        };
                        target.reply(request.uri(), None)
                    }
                    Found::Nothing => Err(NOT_FOUND),
                }
            }
        }
    }
}

impl Redirect {
    fn reply(&self, target: &Uri, rewrite: Option<&PathRewrite>) -> Result<Reply, Failure> {
        let rewritten;
        let target = match rewrite {
            Some(rewrite) => {
                rewritten = rewrite.target(target).map_err(|_| NOT_FOUND)?;
                &rewritten
            }
            None => target,
        };
        let path = Some(target.path()).filter(|path| self.path && *path != "*").unwrap_or_default();
        let query = target.query().filter(|_| self.query);
        let mark = if query.is_some() { "?" } else { "" };
        let location = format!("{}{path}{}{mark}{}", self.to, self.behind, query.unwrap_or_default());
        let location = utf8_percent_encode(&location, UNSAFE).to_string();
        // A path of its own that starts with two slashes would name a host.
        let location = HeaderValue::from_str(&location).ok().filter(|l| !l.as_bytes().starts_with(b"//"));
        let mut reply = respond::fixed(self.status, bytes::Bytes::new());
        reply.headers_mut().insert(LOCATION, location.ok_or(NOT_FOUND)?);
        Ok(reply)
    }
}

impl Respond {
    fn reply(&self) -> Response<crate::gateway::reply::ReplyBody> {
        let mut reply = respond::fixed(self.status, self.body.clone());
        if !self.body.is_empty() {
            reply.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(redirect: &Redirect, rewrite: Option<&PathRewrite>, target: &str) -> Option<String> {
        let reply = redirect.reply(&target.parse().unwrap(), rewrite).ok()?;
        Some(reply.headers()[LOCATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_redirect_has_the_parts_of_the_request_that_it_asks_for() {
        let whole = Redirect {
            status: StatusCode::PERMANENT_REDIRECT,
            to: "https://new.test".into(),
            path: true,
            behind: String::new(),
            query: true,
        };
        assert_eq!(located(&whole, None, "/a%20b//c?q=1").as_deref(), Some("https://new.test/a%20b//c?q=1"));
        assert_eq!(located(&whole, None, "/a?").as_deref(), Some("https://new.test/a?"));
        let strip = PathRewrite::new("/old", false, "/");
        assert_eq!(located(&whole, Some(&strip), "/old/x").as_deref(), Some("https://new.test/x"));
        let fixed = Redirect { to: "/there".into(), path: false, query: false, ..whole.clone() };
        assert_eq!(located(&fixed, None, "/a?q").as_deref(), Some("/there"));
        let moved = Redirect { to: "/new".into(), ..whole };
        assert_eq!(located(&moved, None, "//evil.test/x").as_deref(), Some("/new//evil.test/x"));
    }

    #[test]
    fn a_redirect_never_starts_with_two_slashes() {
        let bare = Redirect {
            status: StatusCode::FOUND,
            to: String::new(),
            path: true,
            behind: "/".into(),
            query: true,
        };
        assert_eq!(located(&bare, None, "//evil.test/x"), None);
        assert_eq!(located(&bare, None, "/docs?a").as_deref(), Some("/docs/?a"));
    }
}
