//! Files of a folder (P6): which file a path names, by its one decided reading, and never one outside the folder or a hidden one.
//!
//! Reading a file waits for the disk on a thread of its own; only routes that say `static` come here.

use std::path::{Path, PathBuf};

use http::header::{
    ALLOW, CONTENT_RANGE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tower_http::services::ServeFile;
use tower_http::services::fs::ServeFileSystemResponseBody;

use crate::gateway::reply::{Reply, ReplyBody};
use crate::gateway::respond::{Failure, INTERNAL, NOT_FOUND};
use crate::web::path::PathReadings;

/// A folder whose files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticFiles {
    /// The folder.
    pub folder: PathBuf,
    /// The file that a folder is answered with.
    pub index: Box<str>,
    /// Whether names that start with a dot are served. Default false.
    pub hidden: bool,
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This file.
    File(PathBuf),
    /// A folder, but without the slash at its end.
    Folder,
    /// Nothing that is served.
    Nothing,
}

impl StaticFiles {
    /// Finds what the path names below `prefix`, the route's path. Links are followed only to what lies in the folder.
    pub async fn find(&self, readings: &PathReadings<'_>, prefix: &str) -> Found {
        let Some(relative) = self.relative(readings, prefix) else { return Found::Nothing };
        let ends_with_slash = readings.primary.ends_with('/');
        let Ok(folder) = tokio::fs::canonicalize(&self.folder).await else {
            tracing::warn!(folder = %self.folder.display(), "a static folder cannot be read");
            return Found::Nothing;
        };
        let mut path = folder.join(&relative);
        let Ok(seen) = tokio::fs::metadata(&path).await else { return Found::Nothing };
        if seen.is_dir() {
            if !ends_with_slash {
                return Found::Folder;
            }
            path.push(&*self.index);
        } else if ends_with_slash {
            return Found::Nothing;
        }
        match tokio::fs::canonicalize(&path).await {
            Ok(real) if real.starts_with(&folder) && self.shows(real.strip_prefix(&folder).ok()) => {
                let is_file = tokio::fs::metadata(&real).await.is_ok_and(|seen| seen.is_file());
                if is_file { Found::File(real) } else { Found::Nothing }
            }
            _ => Found::Nothing,
        }
    }

    /// The path below the folder, if each of its segments is one plain name.
    fn relative(&self, readings: &PathReadings<'_>, prefix: &str) -> Option<PathBuf> {
        let path: &str = &readings.primary;
        let rest = path.strip_prefix(prefix.strip_suffix('/').unwrap_or(prefix))?;
        let inner = rest.strip_prefix('/').unwrap_or(rest);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let plain = |segment: &str| {
            !segment.is_empty() && !segment.contains(['\\', '\0', '/']) && !matches!(segment, "." | "..")
        };
        let fine = !readings.encoded_slash && !path.contains("//");
        let relative: PathBuf = inner.split('/').filter(|_| !inner.is_empty()).collect();
        let plain = inner.is_empty() || inner.split('/').all(plain);
        (fine && plain && self.shows(Some(&relative))).then_some(relative)
    }

    /// Whether no name in it starts with a dot, or such names are served.
    fn shows(&self, relative: Option<&Path>) -> bool {
        let hidden = |path: &Path| path.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
        relative.is_some_and(|path| self.hidden || !hidden(path))
    }

    /// The response with a file: whole, a part of it, or none when the client has it.
    ///
    /// # Errors
    /// The failure to answer with.
    pub async fn serve<B: Body>(&self, file: PathBuf, request: &Request<B>) -> Result<Reply, Failure> {
        let mut asked = conditions(request.headers());
        let condition = asked.remove(IF_RANGE);
        let range = range(request);
        let is_end = range.as_ref().is_some_and(|range| range.as_bytes().starts_with(b"bytes=-"));
        asked.extend(range.map(|range| (RANGE, range)));
        let mut response = ask(&file, request.method(), asked.clone()).await?;
        let part = response.headers().get(CONTENT_RANGE).map_or(&b""[..], HeaderValue::as_bytes);
        // An empty file has no parts, and more of the end than there is of a file is all of it.
        if part.ends_with(b"/0") || (is_end && response.status() == StatusCode::RANGE_NOT_SATISFIABLE) {
            asked.remove(RANGE);
            response = ask(&file, request.method(), asked.clone()).await?;
        }
        if let (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, Some(condition)) =
            (response.status(), condition)
        {
            // A part of the file that the client has a part of, or else all of it (RFC 9110 section 13.1.5).
            let same = |name: HeaderName| response.headers().get(name) == Some(&condition);
            if !same(ETAG) && !same(LAST_MODIFIED) {
                asked.remove(RANGE);
                response = ask(&file, request.method(), asked).await?;
            }
        }
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Err(NOT_FOUND),
            StatusCode::INTERNAL_SERVER_ERROR => return Err(INTERNAL),
            _ => {}
        }
        response.headers_mut().remove(ALLOW);
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response.map(ReplyBody::file))
    }
}

async fn ask(
    file: &Path,
    method: &Method,
    fields: HeaderMap,
) -> Result<Response<ServeFileSystemResponseBody>, Failure> {
    let mut asked = Request::new(http_body_util::Empty::<bytes::Bytes>::new());
    *asked.method_mut() = method.clone();
    *asked.headers_mut() = fields;
    ServeFile::new(file).try_call(asked).await.map_err(|error| {
        tracing::warn!(%error, "cannot read a file of a static folder");
        INTERNAL
    })
}

/// The fields that choose whether a file is sent, or a part of it.
fn conditions(headers: &HeaderMap) -> HeaderMap {
    let fields = [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE];
    fields.into_iter().filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect()
}

/// The part that a GET asks for, in the one form that is understood below. Anything but one range of bytes is passed over, and the
/// whole file sent: other units must be, several ranges and what is no range may be (RFC 9110 section 14.2).
fn range<B>(request: &Request<B>) -> Option<HeaderValue> {
    let mut fields = request.headers().get_all(RANGE).iter().filter(|_| request.method() == Method::GET);
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (unit, range) = field.to_str().ok()?.split_once('=')?;
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    let range = match (first, last) {
        _ if !unit.eq_ignore_ascii_case("bytes") => return None,
        ("", last) => format!("bytes=-{}", position(last)?),
        (first, "") => format!("bytes={}-", position(first)?),
        (first, last) => {
            let first = position(first)?;
            format!("bytes={first}-{}", position(last).filter(|last| first <= *last)?)
        }
    };
    HeaderValue::from_str(&range).ok()
}

/// A number of any length; what is beyond the largest lies behind every file.
fn position(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}
