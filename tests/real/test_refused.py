"""Every form that docs/refused-requests.md says is refused, is, with the answer and the code it says; and no other code turns up."""

import json
import re
import unittest

from authority import Authority
from harness import ROOT, Folder, Gateway, free_port, wait_until
from request_texts import Request
from sender import HOST, Sender
from wire import RawUpstream

ROW = re.compile(r"^\| (?P<form>[^|]+) \| (?P<such>[^|]*)\| (?P<status>\d{3}) \| `(?P<code>[^`]+)` \|", re.MULTILINE)


def at(*targets, **more):
    return [Request(target, target, **more) for target in targets]


def text(head, body=""):
    """A stretch of text for HTTP/1."""
    return Request(head, raw=f"{head}\r\n\r\n{body}", only="h1")


def with_host(*hosts):
    return [Request(f"Host {host!r}", "/", host) for host in hosts]


POST = f"POST / HTTP/1.1\r\nHost: {HOST}\r\n"
GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n"
CHUNKED = "Transfer-Encoding: chunked"
# The form, as the page has it, and requests of that form.
CASES = {
    "a fragment": at("/a#b", "/#", only="h1"),
    "neither a path, nor a URL, nor `OPTIONS *`": at("*", "admin", "admin:80", only="h1"),
    "`CONNECT`": at("a:80", method="CONNECT", only="h1") + [Request("CONNECT", "/", method="CONNECT", pseudo={":path": None, ":scheme": None}, only="h2")],
    "a target that is too long": at("/" + "a" * 17000),
    "a dot segment, in any spelling": at("/a/../b", "/a/%2e%2e/b", "/a/..;/b", "/a%2f..%2fb", "/.", "/a/..", "/a/..%5cb", "/a/..;x=y/b"),
    "a byte that must be encoded": at("/a\\b"),
    "an invalid escape": at("/%zz", "/%2", "/%u002e", "/%"),
    "an encoded control byte": at("/a%00", "/a%0d%0ab", "/a%7f", "/a%09"),
    "an escape within an escape": at("/%252e%252e/a", "/a%252fb", "/a%255cb", "/a%2500"),
    "an overlong form of UTF-8": at("/%c0%ae%c0%ae/a", "/%e0%80%af", "/%c1%9c", "/%c0-propos"),
    "an encoded slash or backslash": at("/a%2fb", "/a%5Cb"),
    "a path whose readings lead to different routes": at(
        "//prot", "/prot;x/y", "/prot%3fx", "/prot%23x", "/%2570rot", "//a/prot", "///a/prot", "/PROT", "//_auth/whoami", "//a/_auth/whoami",
    ),
    "a path that would start with `//` behind its prefix": at("/api//a"),
    "no host": [text("GET / HTTP/1.0"), text("GET / HTTP/1.1"), Request("no authority", "/", None, only="h2")],
    "more than one `Host`": [Request("Host", fields=(("Host", host),), only="h1") for host in (HOST, "a", "")],
    "a `Host` that is not one name or address": with_host("a,b", "u@a", "a/b", "a:", "", "a b", "a..b", "[::1", "a:99999"),
    "a number that is no address in its usual form": with_host("10.1", "0xa.0.0.1", "010.0.0.1", "a.1"),
    "a target that names another host": at("http://b/", only="h1")
    + [Request("host and :authority", fields=(("host", "a"),), only="h2")],
    "a host that no route takes": with_host("elsewhere.test"),
    "a method that no route of the place takes": at("/verbs", method="DELETE"),
    "a method that differs in case from one with a route of its own": at("/mixed", method="post") + at("/mixed", method="Post"),
    "two framings": [text(f"{POST}Content-Length: 4\r\n{CHUNKED}"), text(f"{POST}{CHUNKED}\r\nContent-Length: 4")],
    "a `Transfer-Encoding` that is not exactly one `chunked`": [
        text(f"{POST}Transfer-Encoding: gzip, chunked"), text(f"{POST}{CHUNKED}\r\n{CHUNKED}"), text(f"{POST}{CHUNKED}, chunked"),
    ],
    "a `Content-Length` that stands twice or is no plain number": [
        text(f"{POST}Content-Length: 04", "abcd"), text(f"{POST}Content-Length: 4\r\nContent-Length: 4", "abcd"),
    ],
    "a request whose head could not be followed": [text(f"{POST}{CHUNKED}", f"1\r\na\r\n0\r\n\r\n{GET}\r\n")],
    "what is no HTTP/1.1": [
        text(f"{GET}X: a\r\n b"), text(f"{GET}X : a"), text(f"{GET}X: a\rb"), text(f"{GET}X: a\0b"), text(f"{GET}: a"),
        text(f"GET / HTTP/1.1\r\n Host: {HOST}"), text("GET / HTTP/1.1x\r\nHost: a"), text("\x16\x03\x01"),
        *(text(f"GET /?a={byte} HTTP/1.1\r\nHost: {HOST}") for byte in ("\"", "<", ">", "\xe9")),
    ],
    "too many fields, or a head that is too large": [
        text(GET + "\r\n".join(f"X-{number}: a" for number in range(200))), text(f"{GET}X: {'a' * 70000}"),
    ],
}  # fmt: skip


def serve(wire):
    while True:
        head = wire.head()
        wire.exactly(int(head.get("Content-Length") or 0))
        if head.get("Transfer-Encoding"):
            while size := int(wire.until(b"\r\n"), 16):
                wire.exactly(size + 2)
            wire.until(b"\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class Refused(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        authority = Authority(cls.folder.path)
        authority.sign("front", HOST)
        upstream = RawUpstream(serve)
        cls.addClassCleanup(upstream.stop)
        route = f'[[routes]]\nhost = "{HOST}"\naccess = "public"\nupstream = ["http://127.0.0.1:{upstream.port}"]\n'
        tls = free_port()
        cls.gateway = Gateway(
            cls.folder.path,
            f'[tls]\ncertificates = [{authority.toml("front")}]\n\n[access_log]\ntarget = "access.log"\n\n{route}\n'
            f'{route}path = "/prot"\n\n{route}path = "/api"\nstrip_prefix = true\n\n{route}path = "/verbs"\nmethods = ["GET"]\n\n'
            f'{route}path = "/mixed"\n\n{route}path = "/mixed"\nmethods = ["POST"]\n',
            users=(),
            server='head_timeout = "2s"\nbody_timeout = "2s"\ngrace_period = "1s"',
            listeners=[f'{{ address = "127.0.0.1:{tls}", tls = true }}'],
        )
        (cls.folder.path / "users.toml").touch(mode=0o600)
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.sender = Sender(cls.gateway.port, tls, authority.file, {None: None})
        cls.rows = {row["form"].strip(): (int(row["status"]), row["code"]) for row in ROW.finditer((ROOT / "docs/refused-requests.md").read_text())}

    def codes(self, ids):
        """The reasons in the access log of the requests with these ids."""
        log = self.folder.path / "access.log"

        def lines():
            return {line["request_id"]: line for line in map(json.loads, log.read_text().splitlines())}

        wait_until(lambda: set(ids) <= lines().keys(), "the access log")
        said = lines()
        return [said[identity].get("reason") for identity in ids]

    def test_the_page_and_the_cases_name_the_same_forms(self):
        self.assertEqual(self.rows.keys(), CASES.keys())

    def test_every_form_gets_the_answer_and_the_code_of_the_page(self):
        for form, requests in CASES.items():
            status, code = self.rows[form]
            for request in requests:
                ways = [request.only] if request.only else ["h1", "tls", "h2"]
                for outcome in self.sender.send((request, way, None) for way in ways):
                    with self.subTest(form, request=request.name[:60], protocol=outcome.protocol):
                        if code == "-":
                            self.assertEqual((outcome.statuses[:1], outcome.ids), ([status], []))
                        elif outcome.protocol == "h2" and not outcome.statuses:
                            # HTTP/2 knows this for an error of its own: a reset instead of an answer.
                            self.assertIn(code, ("invalid_host", "connect", "no_host", "path"))
                        else:
                            self.assertIn(status, outcome.statuses)
                            self.assertIn(code, self.codes(outcome.ids))

    def test_the_plain_spellings_pass(self):
        plain = at("/a/b", "/prot", "/prot/x", "/a;x", "/a//b", "/caf%C3%A9", "/100%25", "/A/B", "/x%3fy", "/verbs", "//a") + with_host(
            f"{HOST.upper()}:80", f"{HOST}."
        )
        for outcome in self.sender.send((request, way, None) for request in plain for way in ("h1", "tls", "h2")):
            self.assertEqual(outcome.statuses, [200], f"{outcome.request.name} by {outcome.protocol}")
