"""Ranges, conditions, encodings and methods: each request goes straight to nginx and through the gateway, and the two answers
are compared field by field."""

import gzip
import re
import unittest

from harness import Folder, Gateway, free_port
from peers import start_nginx
from wire import Wire

TEXT = b"0123456789" * 1000
# What the gateway may add to an answer; everything else has to be as nginx sent it.
ADDED = {"x-request-id"}
# Of the connection, not of the message.
HOP = {"connection", "keep-alive"}


class Cache(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        www = path / "www"
        www.mkdir()
        (www / "text.txt").write_bytes(TEXT)
        (www / "empty.txt").write_bytes(b"")
        (www / "packed.css").write_bytes(b"a { color: red }\n" * 200)
        (www / "packed.css.gz").write_bytes(gzip.compress(b"a { color: red }\n" * 200, mtime=0))
        (www / "folder").mkdir()
        cls.app_port = free_port()
        start_nginx(
            cls,
            path,
            f"""  server {{
    listen 127.0.0.1:{cls.app_port};
    root {www};
    gzip_static on;
    # By default nginx packs nothing for a request that has `Via`, as ours have.
    gzip_proxied any;
    gzip_vary on;
    location /many {{
      add_header X-Order one always;
      add_header X-Other 'with "quotes", commas' always;
      add_header X-Order two always;
      add_header Set-Cookie 'a=1; Path=/' always;
      add_header Set-Cookie 'b=2; Path=/' always;
      add_header Link '</style.css>; rel=preload' always;
      add_header Cache-Control 'public, max-age=60' always;
      return 200 'many';
    }}
    location /expires {{ alias {www}/; expires 1h; }}
    location /dynamic {{ gzip on; gzip_min_length 1; gzip_types text/plain; types {{ text/plain txt; }} alias {www}/; }}
    location /status/204 {{ return 204; }}
    location /status/304 {{ return 304; }}
    location /status/404 {{ return 404 'no such thing'; }}
    location /status/410 {{ return 410; }}
    location /status/500 {{ return 500 'broken'; }}
    location /status/503 {{ add_header Retry-After 7 always; return 503 'busy'; }}
    location /moved {{ return 301 /elsewhere?x=1; }}
    location /dav/ {{ alias {path}/dav/; dav_methods PUT DELETE MKCOL COPY MOVE; }}
  }}
""",
            cls.app_port,
        )
        (path / "dav").mkdir()
        upstream = f'upstream = ["http://127.0.0.1:{cls.app_port}"]'
        cls.gateway = Gateway(
            path, f'[[routes]]\npath = "/"\n{upstream}\naccess = "public"\n\n[[routes]]\nhost = "private.test"\n{upstream}\n'
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        with Wire.to(cls.app_port) as wire:
            head, _ = wire.ask(b"GET /text.txt HTTP/1.1\r\nHost: public.test\r\n\r\n")
        cls.tag, cls.modified = head.get("ETag"), head.get("Last-Modified")

    def send(self, port, request):
        """Sends `request` on a new connection, then a second one on the same, which shows that the first was read to its end."""
        with Wire.to(port) as wire:
            head, body = wire.ask(request)
            # nginx itself closes after some errors, and does not always say so.
            if port == self.gateway.port:
                after, _ = wire.ask(b"HEAD /text.txt HTTP/1.1\r\nHost: public.test\r\n\r\n")
                self.assertEqual(after.status, 200, "the request after it")
        return head, body

    def compared(self, head):
        """The fields that two answers must share, repeated ones in their order."""
        fields = {}
        for name, value in head.fields:
            if name.lower() not in HOP and name.lower() != "date":
                fields.setdefault(name.lower(), []).append(value)
        return fields

    def assert_same(self, method, path, *fields):
        request = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: public.test", *fields, "", ""]).encode()
        with self.subTest(f"{method} {path} {fields}"):
            straight, body = self.send(self.app_port, request)
            through, same = self.send(self.gateway.port, request)
            self.assertEqual(through.status, straight.status)
            wanted, got = self.compared(straight), self.compared(through)
            boundary = re.search(r"boundary=(\S+)", (wanted.get("content-type") or [""])[0])
            if boundary:
                # nginx counts its boundaries up.
                mine = re.search(r"boundary=(\S+)", got["content-type"][0])[1]
                same = same.replace(mine.encode(), boundary[1].encode())
                got["content-type"] = [got["content-type"][0].replace(mine, boundary[1])]
            for name in ADDED - wanted.keys():
                got.pop(name, None)
            if "set-cookie" in wanted:
                # What sets a cookie is for one client alone.
                wanted["cache-control"] = ["private, max-age=60"]
            if straight.status == 304 and wanted.get("content-length") == ["0"]:
                # A length in a 304 speaks of the 200 (RFC 9110, 8.6), and `return 304` of nginx says 0: better gone.
                del wanted["content-length"]
                got.pop("content-length", None)
            self.assertEqual(got, wanted)
            self.assertEqual(same, body)
            self.assertEqual(len(through.all("Date")), 1, "one Date, the upstream's")
            return straight.status

    def test_ranges_are_answered_as_nginx_answers_them(self):
        seen = set()
        for asked in (
            "bytes=0-0", "bytes=5-14", "bytes=9990-", "bytes=-3", "bytes=0-99999", "bytes=-99999", "bytes=20000-",
            "bytes=5-4", "bytes=0-1,10-11", "bytes=0-1,-1", "bytes=0-0,20000-", "bytes=0-4999,5000-9999", "bytes=",
            "bytes=a-b", "lines=1-2", "bytes=0-1, 4-5, 8-9", "Bytes=0-1",
        ):  # fmt: skip
            for method in ("GET", "HEAD"):
                seen.add(self.assert_same(method, "/text.txt", f"Range: {asked}"))
        self.assertLessEqual({200, 206, 416}, seen, "the table has lost a kind of answer")
        self.assert_same("GET", "/empty.txt", "Range: bytes=0-")

    def test_conditions_are_answered_as_nginx_answers_them(self):
        seen = set()
        for fields in (
            (f"If-None-Match: {self.tag}",), ('If-None-Match: "other"',), (f'If-None-Match: "other", {self.tag}',),
            (f"If-None-Match: W/{self.tag}",), ("If-None-Match: *",), (f"If-Match: {self.tag}",), ('If-Match: "other"',),
            ("If-Match: *",), (f"If-Modified-Since: {self.modified}",), ("If-Modified-Since: nonsense",),
            ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",), (f"If-Unmodified-Since: {self.modified}",),
            ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",),
            (f"If-None-Match: {self.tag}", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"),
            ('If-None-Match: "other"', f"If-Modified-Since: {self.modified}"),
        ):  # fmt: skip
            for method in ("GET", "HEAD"):
                seen.add(self.assert_same(method, "/text.txt", *fields))
        self.assertEqual(seen, {200, 304, 412}, "the table has lost a kind of answer")

    def test_a_conditional_range_is_answered_as_nginx_answers_it(self):
        seen = set()
        for condition in (self.tag, '"other"', f"W/{self.tag}", self.modified, "Thu, 01 Jan 1970 00:00:00 GMT", "nonsense"):
            for asked in ("bytes=0-9", "bytes=0-1,5-6", "bytes=20000-"):
                seen.add(self.assert_same("GET", "/text.txt", f"Range: {asked}", f"If-Range: {condition}"))
        self.assertEqual(seen, {200, 206, 416})

    def test_packed_files_keep_their_encoding_and_vary(self):
        for fields in (
            ("Accept-Encoding: gzip",), ("Accept-Encoding: br",), ("Accept-Encoding: gzip;q=0",), (),
            ("Accept-Encoding: gzip", "Range: bytes=0-9"), ("Accept-Encoding: gzip", "If-None-Match: *"),
        ):  # fmt: skip
            for method in ("GET", "HEAD"):
                self.assert_same(method, "/packed.css", *fields)
                self.assert_same(method, "/dynamic/text.txt", *fields)
        with Wire.to(self.gateway.port) as wire:
            head, body = wire.ask(b"GET /packed.css HTTP/1.1\r\nHost: public.test\r\nAccept-Encoding: gzip\r\n\r\n")
        self.assertEqual((head.get("Content-Encoding"), head.get("Vary")), ("gzip", "Accept-Encoding"))
        self.assertEqual(gzip.decompress(body), b"a { color: red }\n" * 200)

    def test_every_kind_of_status_passes_unchanged(self):
        for path in (
            "/status/204", "/status/304", "/status/404", "/status/410", "/status/500", "/status/503", "/moved", "/nothing",
            "/folder", "/empty.txt", "/expires/text.txt", "/many",
        ):  # fmt: skip
            for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
                self.assert_same(method, path)

    def test_methods_that_change_things_answer_alike(self):
        for method, path, *fields in (
            ("MKCOL", "/dav/one/"), ("MKCOL", "/dav/one/two/three/"), ("DELETE", "/dav/nothing"),
            ("COPY", "/dav/nothing", "Destination: /dav/other"), ("PUT", "/dav/", "Content-Length: 0"),
        ):  # fmt: skip
            request = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: public.test", *fields, "", ""]).encode()
            through, _ = self.send(self.gateway.port, request)
            straight, _ = self.send(self.app_port, request)
            with self.subTest(f"{method} {path}"):
                # The first of the two may have made what the second finds.
                wanted = 405 if (method, through.status) == ("MKCOL", 201) else through.status
                self.assertEqual(straight.status, wanted)

    def test_a_page_for_a_known_user_differs_only_in_who_may_keep_it(self):
        cookie = self.gateway.client("alice").cookie
        for path in ("/text.txt", "/many", "/expires/text.txt", "/status/404"):
            with self.subTest(path):
                head = f"GET {path} HTTP/1.1\r\nHost: private.test\r\n"
                straight, body = self.send(self.app_port, (head + "\r\n").encode())
                through, same = self.send(self.gateway.port, (head + f"Cookie: {cookie}\r\n\r\n").encode())
                wanted, got = self.compared(straight), self.compared(through)
                kept = got.pop("cache-control")
                wanted.pop("cache-control", None)
                self.assertEqual(len(kept), 1, kept)
                self.assertIn("private", kept[0])
                self.assertNotIn("public", kept[0])
                for name in ADDED - wanted.keys():
                    got.pop(name, None)
                self.assertEqual(got, wanted)
                self.assertEqual(same, body)
