//! Keys of `[[routes]]`.

use super::{HEADER, HOST, Kind, ORIGIN, PATH, Required, STRING, Said, Section, Value, key};

const NAME: Kind = Kind::Text("string", "^[!-~]{1,64}$");
const METHOD: Kind = Kind::Text("method", "^[A-Z-]+$");

pub(super) const ROUTES: Section = Section {
    title: "[[routes]]",
    about: "Which request goes where, and who may. At least one. The most specific wins, whatever the order: the exact host before \
            the longest wildcard before any host, then the exact path before the longest prefix, then a route that names the \
            method before one that takes any. Routes that the same request would fit alike are refused.",
    examples: &[r#"[[routes]]
host = "wiki.example.com"
upstream = ["http://127.0.0.1:3000"]
access = { users = ["ada"], groups = ["staff"] }

[[routes]]
host = "*.example.com"
path = "/reports"
upstream = ["http://127.0.0.1:4000"]
headers = { user = "X-Remote-User" }
"#],
    keys: &[
        key("routes", Kind::List(&Kind::Table), Required, "the routes").within("one or more"),
        key("routes.name", NAME, Said("host and path"), "what logs call it")
            .within("1 to 64 visible characters"),
        key("routes.host", HOST, Said("any host"), "or `\"*.suffix\"`").within("without a port"),
        key("routes.path", PATH, Value(r#""/""#), "a prefix by segment").within("outside `server.prefix`"),
        key(
            "routes.exact",
            Kind::Boolean,
            Value("false"),
            "`path` is the whole path: `/a` does not take `/a/` or `/a/b`",
        ),
        key(
            "routes.methods",
            Kind::List(&METHOD),
            Said("any method"),
            "the methods that the route takes; `GET` stands for `HEAD` too",
        )
        .within("one or more"),
        key(
            "routes.access",
            Kind::Either(&[Kind::Words(&["public", "authenticated"]), Kind::Table]),
            Value(r#""authenticated""#),
            "who may",
        ),
        key("routes.access.users", Kind::List(&STRING), Value("[]"), "user names, compared exactly")
            .within("not both lists empty"),
        key("routes.access.groups", Kind::List(&STRING), Value("[]"), "group names, compared exactly")
            .within("not both lists empty"),
        key(
            "routes.access.client_certificates",
            Kind::List(&STRING),
            Value("[]"),
            "whose client certificate is enough, without a session: a common name, an alternative name, or `sha256:` and the \
             fingerprint in hexadecimal",
        )
        .within("with `tls.client_certificates`"),
        key(
            "routes.headers",
            Kind::Either(&[Kind::Words(&["remote", "x-forwarded", "x-auth-request", "none"]), Kind::Table]),
            Value(r#""remote""#),
            "the identity headers that the upstream receives",
        ),
        key("routes.headers.user", HEADER, Said("not sent"), "own name for the user name")
            .within("letters, digits, `-`"),
        key("routes.headers.name", HEADER, Said("not sent"), "for the display name")
            .within("letters, digits, `-`"),
        key("routes.headers.email", HEADER, Said("not sent"), "for the e-mail address")
            .within("letters, digits, `-`"),
        key("routes.headers.groups", HEADER, Said("not sent"), "for the groups")
            .within("letters, digits, `-`"),
        key(
            "routes.allow_encoded_slashes",
            Kind::Boolean,
            Value("false"),
            "pass `%2F` and `%5C` in the path through",
        ),
        key(
            "routes.allow_odd_header_names",
            Kind::Boolean,
            Value("false"),
            "pass header names with `_`, `.` and other odd signs through",
        ),
        key(
            "routes.allow_trailers",
            Kind::Boolean,
            Value("false"),
            "pass request trailers on, but never an identity header or a field that frames or decides",
        ),
        key(
            "routes.max_body",
            Kind::Either(&[Kind::Integer(1, 1 << 50), Kind::Only(false)]),
            Value("false"),
            "largest request body in bytes; a larger one is answered 413, before it is forwarded when its length is known, and cut \
             off there otherwise. `false`: any size, since bodies are passed on as they come and never kept",
        ),
        key(
            "routes.title_case_headers",
            Kind::Boolean,
            Value("false"),
            "header names go to HTTP/1.1 upstreams as `Content-Type` and not as `content-type`, for apps that do not read names without \
             regard to case. The client's own spelling is not kept",
        ),
        key(
            "routes.counts_as_activity",
            Kind::Boolean,
            Value("true"),
            "`false`: requests here, such as polling, and what clients send into WebSockets, do not keep a session from idling out",
        ),
        key(
            "routes.websocket_origins",
            Kind::List(&ORIGIN),
            Value("[]"),
            "other origins whose pages may open a WebSocket with the session cookie; the host's own always may",
        ),
    ],
    notes: "Host and path choose the place, and only there the method chooses. A request whose method no route of its place takes is \
            answered 405, and never passed on to a less specific place, where another rule might hold.\n\n\
            `fluidgate check` warns of what one route lets through that another one guards, and `run` and a reload log the same. \
            They start all the same, since each can be meant:\n\n\
            - an exact path whose neighbour (`/a/` beside `/a`) lets in more people: many apps take both for one page;\n\
            - a path that differs from a guarded one, or from what it lies below, by upper and lower case only. Where no \
            route names the other spelling, such a request is refused;\n\
            - a prefix whose own page is refused, because an exact path differs from it by case only (`/Wiki/` beside `/wiki`);\n\
            - methods that a guarded route does not name and that fall to a laxer route of the same place. Let the laxer one name its \
            methods: others are then 405;\n\
            - a prefix that is stripped or replaced so that a guarded path of the same upstream is reached through it, or a public \
            folder with a guarded one in it;\n\
            - an upstream that is guarded by one host and open by any other. Two hosts that are both named, and both passed on, are \
            taken for two sites;\n\
            - a path that is guarded for all hosts, and a host whose own routes, which come first, open it;\n\
            - a user or a group that nobody in the user file has.\n\n\
            A route that no request can reach, two that take the same requests, and an `access` that names nobody are errors.\n\n\
            Case counts in paths and methods, but many apps disregard it: a path that would lead to another place without regard \
            to the case of ASCII letters is refused (400), and so is `post` where a route names `POST` (405). \
            [refused-requests.md](refused-requests.md) lists all that is refused.",
};
