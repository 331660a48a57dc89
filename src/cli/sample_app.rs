//! The small app that `fluidgate demo` protects. It stands for any app: it has no logins and knows nothing of what is in
//! front of it but the names of the identity headers. It shows what it received.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use minijinja::{Environment, Value, context};
use percent_encoding::percent_decode_str;
use serde_json::{Map, json};

/// Serves the app on `listener`, on a thread of its own with its own runtime, for as long as the process lives.
///
/// # Errors
/// When the listener cannot be made non-blocking, or the runtime or the thread cannot be started.
pub(super) fn start(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("sample-app".to_owned()).spawn(move || {
        // An error here ends the app, not the gateway, which then answers 502.
        let _ = runtime.block_on(accept(listener));
    })?;
    Ok(())
}

/// The headers that say who the user is.
const IDENTITY: [&str; 4] = ["remote-user", "remote-name", "remote-email", "remote-groups"];

async fn accept(listener: TcpListener) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let some connections end before the next try.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(async move {
            let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
            // A client that goes away is no news.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (content_type, body) = match path {
        "/headers.json" => ("application/json", as_json(path, request.headers())),
        _ => ("text/html; charset=utf-8", as_page(request.method().as_str(), path, request.headers())),
    };
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// Every header by name; a name that came more than once has all its values.
fn as_json(path: &str, headers: &HeaderMap) -> String {
    let values = |name: &str| {
        let all: Vec<String> = headers.get_all(name).iter().map(|v| text(v.as_bytes())).collect();
        match all.as_slice() {
            [one] => json!(one),
            _ => json!(all),
        }
    };
    let (identity, other): (Vec<_>, Vec<_>) =
        headers.keys().map(http::HeaderName::as_str).partition(|name| is_identity(name));
    let object = |names: Vec<&str>| -> Map<String, serde_json::Value> {
        names.into_iter().map(|name| (name.to_owned(), values(name))).collect()
    };
    let answer = json!({ "path": path, "identity": object(identity), "headers": object(other) });
    format!("{answer:#}\n")
}

fn as_page(method: &str, path: &str, headers: &HeaderMap) -> String {
    let identity: Vec<Value> = IDENTITY
        .into_iter()
        .map(|name| {
            let raw = headers.get(name).map(|value| text(value.as_bytes()));
            let plain = raw.as_deref().map(|raw| percent_decode_str(raw).decode_utf8_lossy().into_owned());
            let encoded = raw != plain;
            context! { name => shown(name), raw, plain, encoded }
        })
        .collect();
    let others: Vec<Value> = headers
        .iter()
        .filter(|(name, _)| !is_identity(name.as_str()))
        .map(|(name, value)| context! { name => shown(name.as_str()), value => text(value.as_bytes()) })
        .collect();
    let known = headers.contains_key("remote-user");
    let other_page = if path == "/notes" { "/" } else { "/notes" };
    let page = context! { method, path, identity, others, known, other_page };
    // The `.html` in the name turns escaping on.
    Environment::new()
        .render_named_str("sample_app.html", include_str!("sample_app.html"), page)
        .unwrap_or_else(|_| "<!doctype html><p>The sample app could not show its page.</p>\n".to_owned())
}

fn is_identity(name: &str) -> bool {
    IDENTITY.contains(&name)
}

/// A header value for reading: bytes that are no UTF-8 are replaced.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// A header name as people write it: `remote-user` becomes `Remote-User`.
fn shown(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|c| {
            let out = if start { c.to_ascii_uppercase() } else { c };
            start = c == '-';
            out
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn the_page_shows_identity_headers_decoded_and_all_others() {
        let page = as_page(
            "GET",
            "/x",
            &headers(&[("remote-user", "ada"), ("remote-name", "Zo%C3%AB"), ("x-a", "b")]),
        );
        // The escaper writes slashes as references.
        let page = page.replace("&#x2f;", "/");
        for part in ["Remote-User", "ada", "Zoë", "Zo%C3%AB", "X-A", "/notes", "href=\"/_auth/logout\""] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn the_page_escapes_what_it_received() {
        let hostile = "\"><script>alert(1)</script>";
        let page = as_page(hostile, hostile, &headers(&[("remote-user", hostile), ("x-a", hostile)]));
        assert!(!page.contains("<script"));
        let encoded = as_page("GET", "/", &headers(&[("remote-user", "%22%3E%3Cscript%3E")]));
        assert!(!encoded.contains("<script"));
    }

    #[test]
    fn the_json_keeps_every_value_of_a_repeated_header() {
        let mut all = headers(&[("remote-user", "ada"), ("x-a", "1")]);
        all.append("x-a", HeaderValue::from_static("2"));
        let answer: serde_json::Value = serde_json::from_str(&as_json("/headers.json", &all)).unwrap();
        assert_eq!(
            answer,
            json!({ "path": "/headers.json", "identity": { "remote-user": "ada" }, "headers": { "x-a": ["1", "2"] } })
        );
    }

    #[test]
    fn a_started_app_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        start(listener).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nRemote-User: ada\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("ada"), "{answer}");
    }
}
