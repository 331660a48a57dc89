"""Requests that two parties might read in two ways: the forms of paths, hosts, names, methods and framings that have parted
gateways from the apps behind them. Each is made once, and sent as text over HTTP/1 and as frames over HTTP/2."""

import dataclasses


@dataclasses.dataclass
class Request:
    """One request, or with `raw` a whole stretch of text that only HTTP/1 can say. Text holds a character per byte."""

    name: str
    target: str = "/"
    host: str | None = "open.test"
    method: str = "GET"
    fields: tuple = ()
    body: str | None = None
    version: str = "HTTP/1.1"
    raw: str | None = None
    # Pseudo-fields of HTTP/2 that take the place of its own, or None to leave one out.
    pseudo: dict = dataclasses.field(default_factory=dict)
    trailers: tuple = ()
    only: str | None = None

    def text(self, cookie=None):
        """The bytes for HTTP/1."""
        own = f"Cookie: {cookie}\r\n" if cookie else ""
        if self.raw is not None:
            return self.raw.replace("{cookie}", own).encode("latin-1")
        lines = [f"{self.method} {self.target} {self.version}"]
        lines += [f"Host: {self.host}"] if self.host is not None else []
        lines += [f"{name}: {value}" for name, value in self.fields]
        body = self.body or ""
        if self.trailers:
            lines.append("Transfer-Encoding: chunked")
            body = f"{len(body):x}\r\n{body}\r\n0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in self.trailers) + "\r\n"
        elif self.body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n" + own + "\r\n" + body).encode("latin-1")

    def frames(self, scheme, cookie=None):
        """The fields for HTTP/2, pseudo-fields first."""
        head = {":method": self.method, ":scheme": scheme, ":authority": self.host, ":path": self.target, **self.pseudo}
        fields = [(name, value) for name, value in head.items() if value is not None]
        fields += [(name.lower(), value) for name, value in self.fields]
        fields += [("cookie", cookie)] if cookie else []
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


# Host, a place open to all, and a protected one: beside it, inside it, around it, behind prefixes that go, with encoded slashes.
PLACES = [
    ("open.test", "/free", "/prot"),
    ("closed.test", "/pub", "/pub/prot"),
    ("closed.test", "/pub", "/secret"),
    ("open.test", "/prot/pub", "/prot/x"),
    ("open.test", "/only", "/only/this"),
    ("strip.test", "/api", "/api/prot"),
    ("strip.test", "/old", "/old/prot"),
    ("slash.test", "/free", "/prot"),
]


def around(pub, prot):
    """Spellings that lead from `pub` to `prot` for somebody, and spellings of `prot`."""
    tail, last = prot[1:], prot.rsplit("/", 1)
    ups = [
        "/..", "/./..", "/%2e%2e", "/%2E%2E", "/.%2e", "/%2e.", "/%252e%252e", "/%25252e%25252e", "/..;", "/..;a=b", "/.;/..", "/..%3b",
        "/..%00", "/..%20", "/..%09", "/%c0%ae%c0%ae", "/%e0%80%ae%e0%80%ae", "/%u002e%u002e", "/%uff0e%uff0e", "/%%32%65%%32%65",
        "/%ef%bc%8e%ef%bc%8e", "/....", "/..x/..", "/x/../..", "//..", "/%2f..", "/..\\..", "/%5c..", "/\xc0\xae\xc0\xae", "/..%23", "/..%3f",
        "/..#", "/..?", "/...", "/.", "/%2e", "/;", "/;a=b", "//", "///", "/%20", "/*", "/~", "/%7e", "/+", "/@", "/:", "/http:/", "/http://x",
        "/http%3a%2f%2fx", "/x:80", "/x@y", "/!", "/$", "/'", "/(", "/,", "/=", "/&", "/_", "/-",
    ]  # fmt: skip
    forms = [pub + up + prot for up in ups]
    forms += [up + prot for up in ups if up.startswith("/")]
    forms += [
        f"{pub}/..%2f{tail}", f"{pub}%2f..%2f{tail}", f"{pub}/..%5c{tail}", f"{pub}/..\\{tail}", f"{pub}%00/..{prot}", f"{pub}%00{prot}",
        f"{pub}/x#/../..{prot}", f"{pub}/x%23/../..{prot}", f"{pub}?/..{prot}", f"{pub}%3f/..{prot}", f"{pub}..", f"{pub}..{prot}", f"{pub}X",
        f"{pub}%2f{tail}", f"{pub}%2F%2F{tail}", f"{pub}%252f{tail}", f"{pub}%5c{tail}", f"{pub};{prot}", f"{pub};/..{prot}", f"{pub}%3b{prot}",
        f"//{tail}", f"///{tail}", f"//x{prot}", f"///x{prot}", f"////x{prot}", f"//x:80{prot}", f"//u@x{prot}", f"//open.test{prot}",
        f"//x?{prot}", f"//{tail}/{tail}", f"/x/{prot}", f"/x//x{prot}", f"/\\x{prot}", f"\\\\x{prot}", f"/%2fx{prot}", f"/%2f%2fx{prot}",
        f"/%5cx{prot}", f"//%2e%2e{prot}", f"//;x{prot}", f"//x;y{prot}", f"//[::1]{prot}", f"//x%2f{tail}",
    ]  # fmt: skip
    ends = [
        "", "/", "//", "/.", "/..", "/x", "//x", "/x/..", ";x", ";", ";/x", "/;x", "%3bx", ".", "..", "...", "%2e", "%20", "+", "%2b", "%09",
        "%0a", "%0d", "%0d%0aRemote-User:%20mallory", "%00", "%00.html", "%1f", "%7f", "%80", "%ff", "%2f", "%2Fx", "%252f", "%5c", "%5Cx",
        "\\", "\\x", "#", "#x", "%23", "%23x", "?", "??", "?#", "?x=/../prot", "?/../x", "?a%00b", "?\xe9", "?a=%zz", "?a;b", "%3f", "%3fx",
        "~", "%7e", "*", ":x", "@x", "%40", "\xe9", "%C3%A9", "\xff", '"', "<x>", "{x}", "|", "^", "`", "[x]", "'", "&x", "=x", ",x", "!x", "$x",
        "(x)", "%", "%2", "%g1", "%zz", "%u002f", "%e2%80%8b", "%ef%bc%8f", "%c0%af", "%e0%80%af", "%f0%80%80%af", "%c1%9c", "\t", " ", "\x0b",
        "\x01", "\x7f", "\x00", ".json", "%2ejson", ":80", "/x.css", "%2fx.css", ";.css",
    ]  # fmt: skip
    forms += [prot + end for end in ends]
    forms += [pub + end for end in ("", "/", "//", ";", ";x", "%2f", "%20", ".", "?", "#", "%3f", "%00", "%5c", "//x", "/;x")]
    letter = f"{ord(prot[1]):x}"
    forms += [
        f"/%{letter}{prot[2:]}", f"/%25{letter}{prot[2:]}", f"/%2525{letter}{prot[2:]}", f"/%{letter.upper()}{prot[2:]}",
        f"{last[0]}/" + "".join(f"%{ord(c):02x}" for c in last[1]), f"{last[0]}/" + "".join(f"%{ord(c):02X}" for c in last[1]),
        prot.upper(), prot.title(), "".join(f"%{ord(c):02x}" for c in prot), f"{last[0]}%2f{last[1]}", f"{last[0]}%5c{last[1]}",
        f"{last[0]}/%ef%bd%90{last[1][1:]}", f"{last[0]}/{last[1][:1]}%cc%81{last[1][1:]}", tail, f"http:{prot}", f"?{prot}", f"*{prot}",
        f"http:/{prot}", f"/{prot}/..;/..;{prot}",
    ]  # fmt: skip
    return list(dict.fromkeys(forms))


def paths():
    for host, pub, prot in PLACES:
        for form in around(pub, prot):
            yield Request(f"path {form!r} at {host}", form, host)
    for form in (
        "/_auth/whoami", "/_auth", "/_auth/", "/_auth/x", "//_auth/whoami", "/_auth//whoami", "/%5fauth/whoami", "/_auth%2fwhoami",
        "/_auth;x/whoami", "/_auth/whoami;x", "/_AUTH/whoami", "/_Auth/whoami", "//x/_auth/whoami", "///x/_auth/whoami", "/x//_auth/whoami",
        "/_auth/../prot", "/_auth/..;/prot", "/_auth%3fx", "/_auth%23x", "/_auth%20/x", "/_auth./x", "/%255fauth/whoami", "/_auth%5cwhoami",
        "/./_auth/whoami", "/;/_auth/whoami", "/;x/_auth/whoami", "/_authx", "/_aut%68/whoami",
    ):  # fmt: skip
        yield Request(f"own path {form!r}", form)


METHODS = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "PURGE", "BREW", "get", "Get", "post", "Post",
    "pOST", "delete", "put", "GET/", "G ET", "GET\t", "\tGET", "G\x00ET", "P\xd6ST", "GETPOST", "G-E_T", "'GET'", "POST,GET", "CONNECT",
]  # fmt: skip
OVERRIDES = [
    "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override", "X.Http.Method.Override", "X-Http-Method_Override",
    "HTTP-Method-Override", "X-Forwarded-Method", "X-Original-Method", "x_method_override", "X!Method!Override",
]  # fmt: skip


def methods():
    for host in ("verbs.test", "mixed.test", "open.test", "closed.test", "strip.test"):
        target = "/api/x" if host == "strip.test" else "/x"
        for method in METHODS:
            yield Request(f"method {method!r} at {host}", target, host, method)
        for name in OVERRIDES:
            for method, meant in (("GET", "DELETE"), ("POST", "GET"), ("HEAD", "POST"), ("GET", "delete")):
                yield Request(f"{method} with {name}: {meant} at {host}", target, host, method, ((name, meant),))
        yield Request(f"GET with a body at {host}", target, host, "GET", body="_method=DELETE")
        yield Request(f"POST with a body at {host}", target, host, "POST", (("Content-Type", "text/plain"),), "x" * 1000)
        yield Request(f"an empty body at {host}", target, host, "PUT", body="")


HOSTS = [
    "CLOSED.TEST", "Closed.Test:80", "closed.test.", "closed.test..", "closed.test:", "closed.test:80", "closed.test:443", "closed.test.:80",
    "closed.test:+80", "closed.test:-1", "closed.test:080", "closed.test:0", "closed.test:65536", "closed.test:80:80", "closed.test:x", ":80", ":",
    ".", "..", "", " ", "u@closed.test", "u:p@closed.test", "closed.test@open.test", "open.test@closed.test", "open.test,closed.test",
    "open.test, closed.test", "open.test closed.test", "open.test\tclosed.test", "closed.test ", "\tclosed.test", "closed.test/", "open.test/x",
    "closed.test/..", "closed.test?x", "closed.test#x", "open.test#@closed.test", "closed.test\\x", "closed%2etest", "closed.test%00",
    "closed.test%2f", "closed.test\x00", "closed.test;x", "closed.test'", '"closed.test"', "(closed.test)", "closed.test!", "closed.test*",
    "http://closed.test", "//closed.test", "unknown.test", "localhost", "closed", "closed.test.evil.test", "evilclosed.test", "xclosed.test",
    "[::1]", "[::1]:80", "[::0001]", "[0:0:0:0:0:0:0:1]", "[::1", "::1", "[::1]x", "[::1]:", "[::1%25lo]", "[::ffff:10.0.0.1]", "[::FFFF:A00:1]",
    "[v1.x]", "[]", "10.0.0.1", "10.0.0.1:80", "10.0.0.1.", "10.0.0.01", "010.0.0.1", "10.0.1", "10.1", "167772161", "0x0a000001", "012.0.0.1",
    "0xa.0.0.1", "0xA.0x0.0x0.0x1", "10.0.0.0x1", "1.10.0.0.1", "10.0.0.256", "10.0.0.1.1", "0x", "0", "x.0x1", "x.1", "pub.wild.test",
    "PUB.WILD.TEST", "pub.wild.test.", "x.wild.test", ".wild.test", "*.wild.test", "wild.test", "a.pub.wild.test", "x..wild.test", "-x.wild.test",
    "x-.wild.test", "x_y.wild.test", "xn--nxasmq6b.wild.test", "\xc3\xa9.wild.test", "p\xfcb.wild.test", "pub\xe3\x80\x82wild.test",
    "x.deep.wild.test", "deep.wild.test", "X.DEEP.wild.test", "x.deep.wild.test:99", "a" * 63 + ".wild.test", "a" * 64 + ".wild.test",
    ".".join(["a" * 50] * 6) + ".wild.test",
]  # fmt: skip


def hosts():
    for host in HOSTS:
        for target in ("/x", "/anyone"):
            yield Request(f"host {host!r} for {target}", target, host)
    for one, two in (("open.test", "closed.test"), ("closed.test", "open.test"), ("open.test", "open.test"), ("open.test", "")):
        yield Request(f"Host {one} and then {two}", "/x", one, fields=(("Host", two),))
    yield Request("no Host", "/x", None)
    for name in ("Host_", "X-Host", "X-Forwarded-Host", "X_Forwarded_Host", "X-Original-Host", "X-HTTP-Host-Override", "Forwarded", "X-Rewrite-Url"):
        value = "host=closed.test" if name == "Forwarded" else "closed.test"
        yield Request(f"{name}: {value}", "/x", fields=((name, value),))
    for authority, host in (
        ("open.test", "closed.test"), ("closed.test", "open.test"), ("open.test", "open.test"), ("open.test", "OPEN.test:443"),
        ("open.test:443", "open.test"), ("open.test", "open.test:80"), ("open.test", "open.test."), ("u@open.test", "open.test"), ("", "open.test"),
        (None, "open.test"), ("open.test", ""), (None, None), ("", None),
    ):  # fmt: skip
        fields = (("host", host),) if host is not None else ()
        yield Request(f":authority {authority!r} and host {host!r}", "/x", None, fields=fields, pseudo={":authority": authority}, only="h2")


def absolute():
    for host in ("open.test", "closed.test"):
        for target in (
            "http://open.test/prot", "http://open.test/x", "https://open.test/x", "HTTP://OPEN.TEST/x", "http://open.test:80/x", "http://open.test",
            "http://open.test:443/x", "https://open.test:443/x", "http://open.test.", "http://open.test?x", "http://open.test?/prot", "http://u@open.test/x",
            "http://open.test@closed.test/x", "http://closed.test/x", "http://open.test//prot", "http://open.test//x/prot", "http://open.test/../prot",
            "http://open.test/%2e%2e/prot", "http://open.test/x#y", "http:///prot", "http:/prot", "http:prot", "ftp://open.test/x", "ws://open.test/x",
            "//open.test/prot", "open.test/prot", "open.test:80", "open.test", "prot", "*", "**", "/*", "http://*/", "http://open.test\\@closed.test/x",
            "http://[::1]/x", "http://10.1/x", "javascript:x", "unix:/x", "http://open.test:/x", "http://open.test:0080/x", "http://open.test/x y",
        ):  # fmt: skip
            yield Request(f"target {target!r} with Host {host}", target, host)
            yield Request(f"OPTIONS {target!r} with Host {host}", target, host, "OPTIONS")
        for target in ("open.test:80", "/x", "http://open.test/x", "*", "open.test"):
            yield Request(f"CONNECT {target!r} with Host {host}", target, host, "CONNECT")
    for version in ("HTTP/1.0", "HTTP/1.2", "HTTP/1", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.1x", "HTTP/ 1.1", "HTTP /1.1", "HTTPS/1.1", ""):
        yield Request(f"version {version!r}", "/x", version=version, only="h1")
        yield Request(f"version {version!r} without Host", "/x", None, version=version, only="h1")
        yield Request(f"version {version!r} with a body", "/x", "closed.test", "POST", body="x=y", version=version, only="h1")


# Names under which an app could learn who asks, or be told another target, address or scheme than was judged.
MISLEADING = [
    "SCRIPT_NAME", "Script-Name", "PATH_INFO", "Path-Info", "PATH_TRANSLATED", "REQUEST_URI", "Request-Uri", "REQUEST_METHOD", "REMOTE_ADDR",
    "Remote-Addr", "REMOTE_USER", "AUTH_USER", "AUTH_TYPE", "HTTP_REMOTE_USER", "SERVER_NAME", "HTTP_HOST", "QUERY_STRING", "wsgi.url_scheme",
    "Proxy", "X-Original-URL", "X-Rewrite-URL", "X_Original_URL", "x.rewrite.url", "X-Forwarded-Uri", "X_Forwarded_Uri", "X-Forwarded-Prefix",
    "X_Forwarded_Prefix", "X-Forwarded-Path", "X-Forwarded-Server", "X-Forwarded-For", "X_Forwarded_For", "X-Forwarded-Proto", "X_Forwarded_Proto",
    "X-Forwarded-Protocol", "X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Url-Scheme", "Front-End-Https", "Forwarded", "X-Real-IP", "X_Real_IP",
    "X-Client-IP", "Client-IP", "True-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP", "X-Request-Id", "X_Request_Id", "Transfer_Encoding",
    "Content_Length", "Via", "X-Forwarded", "X-Forwarded-By", "X-Envoy-Original-Path", "X-Sendfile", "Destination",
]  # fmt: skip
NAMES = [
    "Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username", "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username",
    "X-Remote-User", "X-My-User", "X-My-Groups", "X-Fluidgate-Assertion",
]  # fmt: skip
IDENTIFYING = ["closed.test", "open.test", "odd.test", "x-forwarded.test", "x-auth-request.test", "own.test"]


def spellings(name):
    """`name` with other signs between its words, and in other cases."""
    folded = [name.replace("-", sign) for sign in "!#$%&'*+.^_`|~"]
    first, rest = name.split("-", 1)
    return [name, name.lower(), name.upper(), name.replace("-", "_").upper(), f"{first}_{rest}", f"{first}.{rest}", *folded]


def names():
    for host in IDENTIFYING:
        for name in NAMES:
            every = tuple((spelling, "mallory") for spelling in spellings(name))
            yield Request(f"every spelling of {name} at {host}", "/pub/x", host, fields=every)
            yield Request(f"{name} nominated at {host}", "/pub/x", host, fields=((name, "mallory"), ("Connection", f"keep-alive, {name}, cookie")))
            yield Request(f"{name} alone at {host}", "/x", host, fields=((name, "mallory"),))
        for spelling in spellings("Remote-User"):
            yield Request(f"{spelling} at {host}", "/x", host, fields=((spelling, "mallory"),))
        for name in MISLEADING:
            value = {"Via": "1.1 mallory", "Content_Length": "3", "Transfer_Encoding": "chunked"}.get(name, "/pub")
            yield Request(f"{name}: {value} at {host}", "/pub/prot/x", host, fields=((name, value),))
            yield Request(f"{name}: mallory at {host}", "/x", host, fields=((name, "mallory"),))
    for value in ("", " ", "mallory,alice", "\xff", "a\tb", "a" * 5000, "=?utf-8?q?alice?="):
        yield Request(f"Remote-User with {value[:20]!r}", "/x", fields=(("Remote-User", value),))
    for line in (" Remote-User: mallory", "Remote-User : mallory", "Remote-User\x00: mallory", ": mallory", "Remote-User", "Re mote: x\r\n mallory"):
        raw = f"GET /x HTTP/1.1\r\nHost: open.test\r\n{{cookie}}{line}\r\n\r\n"
        yield Request(f"line {line!r}", raw=raw, only="h1")
    for host in ("trailers.test", "open.test", "closed.test"):
        for name in ("Remote-User", "remote_user", "Host", "Content-Length", "X-Forwarded-For", "X-Checksum", "Authorization", "Cookie"):
            trailers = ((name, "mallory"),)
            yield Request(f"{name} as a trailer at {host}", "/x", host, "POST", (("TE", "trailers"), ("Trailer", name)), "body", trailers=trailers)


def framings():
    """Text that one party takes for one request and another for two. `open.test/smuggled` is what must not come to be."""
    inner = "GET /smuggled HTTP/1.1\r\nHost: open.test\r\n\r\n"
    chunked = f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"
    lengths = ["+1", "-1", "0x1", "1_0", "01", "1,1", "1, 1", "1 1", "", " ", "1\x0b", "18446744073709551617", "1e1", "1.0", "\xb9", "1;x", "'1'"]
    encodings = [
        "chunked", "Chunked", "CHUNKED", "xchunked", "chunkedx", "identity", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked,",
        ",chunked", "chunked;x=y", '"chunked"', "'chunked'", "\tchunked", "\x0bchunked", "chunked\x0b", "chunked \x00", "\xa0chunked", "chu nked",
        "chunked, identity", "identity, chunked", "", " ", "chunk", "cow", "trailers", "chunked\r\n ", "chunked\r",
    ]  # fmt: skip
    lines = [("Content-Length", length) for length in lengths] + [("Transfer-Encoding", encoding) for encoding in encodings]
    heads = [f"{name}: {value}\r\n" for name, value in lines]
    both = [f"Content-Length: {len(chunked)}\r\n", "Content-Length: 4\r\n", "Content-Length: 0\r\n"]
    spelt = [
        "Transfer-Encoding : chunked", "Transfer_Encoding: chunked", "Transfer-Encoding:chunked", " Transfer-Encoding: chunked", "Transfer-Encoding\t: chunked",
        "X: y\rTransfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked", "TRANSFER-ENCODING: chunked", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: chunked\nX: y", "TE: chunked",
        "Transfer.Encoding: chunked", "Transfer-Encoding\x00: chunked", "Content-Encoding: chunked", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    ]  # fmt: skip
    heads += [f"{line}\r\n" for line in spelt]
    heads += [first + f"{line}\r\n" for first in both for line in (*spelt, "Transfer-Encoding: chunked", "Transfer-Encoding: identity")]
    heads += [f"{line}\r\n" + second for second in both for line in spelt[:6]]
    heads += ["Content-Length: 4\r\nContent-Length: 4\r\n", "Content-Length: 4\r\nContent-Length: 5\r\n", "Content-Length : 4\r\n", "Content_Length: 4\r\n"]
    heads += ["Connection: Content-Length\r\nContent-Length: 4\r\n", "Content-Length: 4\r\nConnection: close, content-length\r\n", "Content-Length\r\n"]
    for head in heads:
        yield Request(f"POST with {head!r}", raw=f"POST /x HTTP/1.1\r\nHost: open.test\r\n{{cookie}}{head}\r\n{chunked}", only="h1")
        if "4" in head:
            yield Request(f"GET with {head!r}", raw=f"GET /x HTTP/1.1\r\nHost: open.test\r\n{{cookie}}{head}\r\nabcd{inner}", only="h1")
    sizes = [
        "0x2e", "+2e", "-2e", "2e;", "2e;x=y", '2e;x="y"', "2e ;x", "2e ", " 2e", "2E", "002e", "0_2e", "", "g", "2e\n", "2e;\n", "2e;x\ny", "2e\r",
        "2e\x00", "ffffffffffffffff", "10000000000000002e", "2e;x\r", "2e\t", "2e,0",
    ]  # fmt: skip
    for size in sizes:
        body = f"{size}\r\n{inner}\r\n0\r\n\r\n"
        yield Request(f"chunk of size {size!r}", raw=f"POST /x HTTP/1.1\r\nHost: open.test\r\n{{cookie}}Transfer-Encoding: chunked\r\n\r\n{body}", only="h1")
    for name, body in {
        "a last chunk that is 00": "3\r\nabc\r\n00\r\n\r\n", "no CRLF behind a chunk": "3\r\nabc0\r\n\r\n", "LF behind a chunk": "3\r\nabc\n0\r\n\r\n",
        "LF behind the last chunk": "3\r\nabc\r\n0\n\n", "a chunk longer than said": "3\r\nabcd\r\n0\r\n\r\n", "a trailer": "0\r\nX: y\r\n\r\n",
        "a trailer that is none": "0\r\nGET /smuggled HTTP/1.1\r\nHost: open.test\r\n\r\n", "CR alone behind a size": "3\rabc\r\n0\r\n\r\n",
    }.items():  # fmt: skip
        yield Request(name, raw=f"POST /x HTTP/1.1\r\nHost: open.test\r\n{{cookie}}Transfer-Encoding: chunked\r\n\r\n{body}{inner}", only="h1")
    for name, raw in {
        "bare LF everywhere": "GET /x HTTP/1.1\nHost: open.test\n{cookie}\n", "an empty line first": "\r\nGET /x HTTP/1.1\r\nHost: open.test\r\n{cookie}\r\n",
        "a bare CR in a value": "GET /x HTTP/1.1\r\nHost: open.test\r\n{cookie}X: a\rRemote-User: mallory\r\n\r\n",
        "an obs-fold": "GET /x HTTP/1.1\r\nHost: open.test\r\n{cookie}X: a\r\n Remote-User: mallory\r\n\r\n",
        "a folded Host": "GET /x HTTP/1.1\r\nHost: open.test\r\n\tclosed.test\r\n{cookie}\r\n", "an LF in a value": "GET /x HTTP/1.1\r\nHost: open.test\r\nX: a\nRemote-User: mallory\r\n{cookie}\r\n",
        "a space behind the version": "GET /x HTTP/1.1 \r\nHost: open.test\r\n{cookie}\r\n", "two spaces": "GET  /x HTTP/1.1\r\nHost: open.test\r\n{cookie}\r\n",
        "a tab in the request line": "GET\t/x\tHTTP/1.1\r\nHost: open.test\r\n{cookie}\r\n", "no version": "GET /x\r\n\r\n", "a NUL in a value": "GET /x HTTP/1.1\r\nHost: open.test\r\n{cookie}X: a\x00b\r\n\r\n",
        "CRCRLF": "GET /x HTTP/1.1\r\r\nHost: open.test\r\n{cookie}\r\n", "an 8-bit name": "GET /x HTTP/1.1\r\nHost: open.test\r\n{cookie}R\xe9mote: x\r\n\r\n",
        "Expect in the body's place": "POST /x HTTP/1.1\r\nHost: open.test\r\n{cookie}Expect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd" + inner,
        "an Expect nobody knows": "POST /x HTTP/1.1\r\nHost: open.test\r\n{cookie}Expect: y 100-continue\r\nContent-Length: 4\r\n\r\nabcd" + inner,
        "an Upgrade to h2c": "GET /x HTTP/1.1\r\nHost: open.test\r\n{cookie}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n" + inner,
        "an Upgrade with a body": "POST /x HTTP/1.1\r\nHost: open.test\r\n{cookie}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nabcd" + inner,
        "a WebSocket and more": "GET /x HTTP/1.1\r\nHost: open.test\r\nOrigin: http://open.test\r\n{cookie}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + inner,
        "a preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + inner,
    }.items():  # fmt: skip
        yield Request(name, raw=raw, only="h1")


def pipelines():
    """Several requests in one go, of several users and for several places."""
    def ask(target, host, cookie="", more="", method="GET"):
        return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{cookie}{more}\r\n"

    kinds = [
        ask("/x", "open.test"), ask("/prot/x", "open.test"), ask("/prot/x", "open.test", "{cookie}"), ask("/pub/x", "closed.test", "{cookie}"),
        ask("/x", "closed.test", "{cookie}"), ask("/api/x", "strip.test", "{cookie}", "Content-Length: 3\r\n", "POST") + "abc",
        ask("/x", "open.test", "", "Transfer-Encoding: chunked\r\n", "POST") + "3\r\nabc\r\n0\r\n\r\n", ask("/x", "open.test", "{cookie}", "", "HEAD"),
        ask("/x", "open.test", "", "Remote-User: mallory\r\n"), ask("/x", "nowhere.test"), ask("//x/prot", "open.test"), ask("/_auth/whoami", "open.test", "{cookie}"),
    ]  # fmt: skip
    for first, one in enumerate(kinds):
        for second, two in enumerate(kinds):
            yield Request(f"pipeline {first} {second}", raw=one + two, only="h1")
    yield Request("everything in one pipeline", raw="".join(kinds), only="h1")


def frames():
    """What only HTTP/2 can say."""
    for name, fields in {
        "transfer-encoding": (("transfer-encoding", "chunked"),), "connection": (("connection", "close"),), "keep-alive": (("keep-alive", "x"),),
        "te": (("te", "chunked"),), "upgrade": (("upgrade", "h2c"),), "proxy-connection": (("proxy-connection", "x"),),
        "content-length beside nothing": (("content-length", "4"),), "two lengths": (("content-length", "0"), ("content-length", "0")),
        "a space in front": (("x-a", " b"),), "a space behind": (("x-a", "b "),), "a CR": (("x-a", "b\rRemote-User: mallory"),),
        "an LF": (("x-a", "b\nRemote-User: mallory"),), "a CRLF": (("x-a", "b\r\nRemote-User: mallory"),), "a NUL": (("x-a", "b\x00c"),),
        "a space in a name": (("x a", "b"),), "a colon in a name": (("x:a", "b"),), "a CRLF in a name": (("x\r\nremote-user", "mallory"),),
        "an empty name": (("", "b"),), "crumbs": (("cookie", "a=b"), ("cookie", "c=d")), "a pseudo-field behind": ((":path", "/prot"),),
        "another pseudo-field": ((":evil", "x"),), "spaces around an identity": (("remote-user", " mallory "),),
    }.items():  # fmt: skip
        for host in ("open.test", "closed.test"):
            yield Request(f"frames: {name} at {host}", "/x", host, fields=fields, only="h2")
    for name, pseudo in {
        "no path": {":path": None}, "an empty path": {":path": ""}, "an asterisk": {":path": "*"}, "no slash": {":path": "prot"},
        "an absolute path": {":path": "http://closed.test/prot"}, "a CRLF in the path": {":path": "/x HTTP/1.1\r\nHost: closed.test"},
        "a space in the path": {":path": "/x y"}, "a CRLF in the method": {":method": "GET / HTTP/1.1\r\nX: y"}, "no method": {":method": None},
        "an empty method": {":method": ""}, "no scheme": {":scheme": None}, "another scheme": {":scheme": "ftp"}, "http": {":scheme": "http"},
        "a scheme with a host": {":scheme": "https://closed.test/?"}, "a protocol without CONNECT": {":protocol": "websocket"},
        "a fragment": {":path": "/x#/../prot"}, "a CRLF in the authority": {":authority": "open.test\r\nRemote-User: mallory"},
    }.items():  # fmt: skip
        yield Request(f"frames: {name}", "/x", "open.test", pseudo=pseudo, only="h2")


def every():
    for make in (paths, methods, hosts, absolute, names, framings, pipelines, frames):
        yield from make()
