//! The heads of requests as common clients send them. `{session}` is where our cookie stands.

use std::error::Error;

use fluidgate::web::head_watch::{HeadFacts, HeadWatch};
use http::Request;

/// A browser goes to a page; the app and a counter of visits have cookies of their own.
const PAGE: &str = "\
GET /team42/wiki/Main_Page?action=history&limit=50 HTTP/1.1
Host: apps.example.com
Connection: keep-alive
Cache-Control: max-age=0
sec-ch-ua: \"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"138\", \"Google Chrome\";v=\"138\"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: \"Linux\"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Referer: http://apps.example.com/team42/wiki/
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
Cookie: _pk_id.1.1fff=c3f4b5a697a8d9e0.1737000000.; wikiUserName=Ada; {session}; theme=dark
If-None-Match: W/\"6786369c-5b1d\"
";

/// A script of another browser fetches data.
const FETCH: &str = "\
GET /team42/api/v1/items/8f3c?fields=id%2Cname HTTP/1.1
Host: apps.example.com
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0
Accept: application/json, text/plain, */*
Accept-Language: de,en-US;q=0.7,en;q=0.3
Accept-Encoding: gzip, deflate, br, zstd
X-Requested-With: XMLHttpRequest
X-CSRF-Token: IjdkYjM2ZDk5ZTI4YzE1ODA3ZjY5YzEi.aHYx2Q.5vTzq9
Connection: keep-alive
Referer: http://apps.example.com/team42/
Cookie: {session}
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin
Priority: u=0
";

/// The least that is sent.
const CURL: &str = "\
GET /team42/ HTTP/1.1
Host: apps.example.com
User-Agent: curl/8.14.1
Accept: */*
Cookie: {session}
";

/// Traced, and sent on by a proxy and a content delivery network, which we do not trust here: much of it goes.
const PROXIED: &str = "\
GET /team42/wiki/Main_Page HTTP/1.1
Host: apps.example.com
X-Real-IP: 192.0.2.7
X-Forwarded-For: 203.0.113.9, 192.0.2.7
X-Forwarded-Host: apps.example.com
X-Forwarded-Port: 443
X-Forwarded-Proto: https
X-Forwarded-Server: edge-3
Via: 2.0 edge-3
CF-RAY: 9606c1f2be8a9b7d-FRA
CF-Connecting-IP: 203.0.113.9
CF-IPCountry: DE
CDN-Loop: cloudflare; loops=1
X-Request-ID: 7b1f0c7d9a3e4c55
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
tracestate: vendor=00f067aa0ba902b7
User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: en-GB,en;q=0.9
Accept-Encoding: gzip, br
Cookie: {session}
";

/// Claims to be somebody: all that the firewall is for.
const FORGED: &str = "\
GET /team42/wiki/%4dain_Page HTTP/1.1
Host: apps.example.com
User-Agent: python-requests/2.32.4
Accept-Encoding: gzip, deflate
Accept: */*
Connection: keep-alive, Remote-User
Remote-User: root
Remote_Groups: admin
X-Forwarded-User: root
X-Auth-Request-Email: root@example.com
X-Original-URL: /admin
HTTP_REMOTE_USER: root
Cookie: {session}
";

/// Every head by its name.
const HEADS: &[(&str, &str)] =
    &[("page", PAGE), ("fetch", FETCH), ("curl", CURL), ("proxied", PROXIED), ("forged", FORGED)];

/// A request as it is on the wire, and as it has been read.
pub struct Head {
    pub name: &'static str,
    pub wire: String,
    pub request: Request<()>,
    pub facts: HeadFacts,
}

/// All of them, with `session` for a cookie.
pub fn all(session: &str) -> Result<Vec<Head>, Box<dyn Error>> {
    HEADS.iter().map(|(name, text)| read(name, &text.replace("{session}", session))).collect()
}

fn read(name: &'static str, text: &str) -> Result<Head, Box<dyn Error>> {
    let mut lines = text.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("no request line")?;
    let mut request = Request::builder().uri(target);
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or("no field")?;
        request = request.header(name, value);
    }
    let wire = text.replace('\n', "\r\n") + "\r\n";
    let watch = HeadWatch::default();
    watch.read(wire.as_bytes());
    Ok(Head { name, wire, request: request.body(())?, facts: watch.take().ok_or("no whole head")? })
}
