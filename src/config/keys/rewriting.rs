//! Keys of `[[routes]]` that change what an upstream or a client sees, and of routes that answer themselves.

use super::{FILE, HEADER, Kind, PATH, Required, STRING, Said, Section, Value, key};

const HOST_HEADER: Kind = Kind::Text("`\"pass\"`, `\"upstream\"` or host", "^[^/@ ]+$");
const TARGET: Kind = Kind::Text("target", "^(/|https?://)");

pub(super) const REWRITING: Section = Section {
    title: "[[routes]]: rewriting and answers of its own",
    about: "What the upstream sees another way than the client, and routes that need no upstream. The route's `access` holds for \
            those too.",
    examples: &[
        r#"[[routes]]
path = "/wiki"
upstream = ["http://127.0.0.1:3000"]
strip_prefix = true
host_header = "upstream"
request_headers = { set = { X-Theme = "dark" }, add = { X-Tag = "a" }, remove = ["Referer"] }
response_headers = { set = { X-Frame-Options = "DENY" }, add = { Link = "</a.css>; rel=preload" }, remove = ["Server"] }
"#,
        r#"[[routes]]
host = "old.example.com"
access = "public"
redirect = { to = "https://new.example.com{path}{query}", status = 308 }
"#,
        r#"[[routes]]
path = "/robots.txt"
exact = true
access = "public"
respond = { status = 200, body = "User-agent: *\nDisallow: /\n", content_type = "text/plain; charset=utf-8" }
"#,
        r#"[[routes]]
path = "/docs"
static = { folder = "public", index = "index.html", hidden = false }
"#,
        r#"[[routes]]
path = "/old"
upstream = ["http://127.0.0.1:3000"]
replace_prefix = "/new"
"#,
    ],
    keys: &[
        key(
            "routes.strip_prefix",
            Kind::Boolean,
            Value("false"),
            "the upstream gets the path without the route's `path`",
        )
        .within("not for `/`"),
        key("routes.replace_prefix", PATH, Said("no change"), "the upstream gets this in place of the route's `path`")
            .within("without `strip_prefix`"),
        key(
            "routes.host_header",
            HOST_HEADER,
            Value(r#""pass""#),
            "the Host that the upstream gets: the client's, the upstream's own address, or this one",
        ),
        key(
            "routes.request_headers",
            Kind::Table,
            Said(""),
            "changes to the fields of requests: taken out first, then set, then added",
        ),
        key("routes.request_headers.set", Kind::Map(&STRING), Value("{}"), "name and value, in place of the client's"),
        key("routes.request_headers.add", Kind::Map(&STRING), Value("{}"), "name and value, beside the client's"),
        key("routes.request_headers.remove", Kind::List(&HEADER), Value("[]"), "names"),
        key(
            "routes.response_headers",
            Kind::Table,
            Said(""),
            "the same for responses of the upstream and of the route itself",
        ),
        key("routes.response_headers.set", Kind::Map(&STRING), Value("{}"), "name and value, in place of the upstream's"),
        key("routes.response_headers.add", Kind::Map(&STRING), Value("{}"), "name and value, beside the upstream's"),
        key("routes.response_headers.remove", Kind::List(&HEADER), Value("[]"), "names"),
        key("routes.redirect", Kind::Table, Said(""), "every request is sent elsewhere"),
        key(
            "routes.redirect.to",
            TARGET,
            Required,
            "where; `{path}` is the request's path (as `strip_prefix` or `replace_prefix` leave it), `{query}` its query with the `?`",
        )
        .within("`{query}` at the end"),
        key("routes.redirect.status", Kind::Integer(301, 308), Value("308"), "301, 302, 303, 307 or 308"),
        key("routes.respond", Kind::Table, Said(""), "every request gets this response"),
        key("routes.respond.status", Kind::Integer(200, 599), Value("200"), "its status"),
        key("routes.respond.body", STRING, Value(r#""""#), "its body"),
        key(
            "routes.respond.content_type",
            STRING,
            Value(r#""text/plain; charset=utf-8""#),
            "the type of the body",
        ),
        key("routes.static", Kind::Table, Said(""), "files of a folder, below the route's `path`"),
        key("routes.static.folder", FILE, Required, "the folder").within("not one with the configuration in it"),
        key("routes.static.index", STRING, Value(r#""index.html""#), "the file that stands for a folder"),
        key("routes.static.hidden", Kind::Boolean, Value("false"), "serve names that start with a dot too"),
    ],
    notes: "A rewritten path is told to the upstream as `X-Forwarded-Prefix`, behind what trusted proxies took off. Prefixes are exchanged \
            by whole segments, however a client spelt them; the rest of the path and the query stay byte for byte, and a request \
            that would leave `//` in front is answered 400. A `Location` that starts with `/`, or names the Host that the upstream was \
            given by `host_header`, is translated back, unless it has the route's prefix already; paths in cookies are not.\n\n\
            Header rules cannot touch identity headers and what looks like them, hop-by-hop and framing fields, `Host`, `Via`, \
            `X-Request-Id` and the fields of WebSocket handshakes, nor set cookies. What is marked `private` for a signed-in user stays so.\n\n\
            Redirects and fixed responses are `no-store` unless `response_headers` sets `Cache-Control`. Files are served to GET and HEAD, \
            with conditions and one range of bytes (what asks for more, or by other units, gets the whole file); links are followed only to what lies in the folder.",
};
