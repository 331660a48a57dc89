"""nginx serving a folder: ranges, conditional requests, and large files each way in constant memory."""

import contextlib
import os
import shutil
import unittest

from harness import MIB, Folder, Gateway, Process, accepts, digest_of, free_port, wait_until, write_pattern

SIZE = 256 * MIB
# How much the gateway's resident memory may grow while a file passes, whatever its size. In MiB.
GROWTH_BOUND = 32
TEXT = b"0123456789" * 1000


class Nginx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        (path / "www").mkdir()
        (path / "www/text.txt").write_bytes(TEXT)
        app_port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        (path / "nginx.conf").write_text(
            f"""{user}
daemon off;
worker_processes 1;
pid {path}/nginx.pid;
error_log {path}/nginx-error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  client_max_body_size 0;
  client_body_temp_path {path}/body;
  proxy_temp_path {path}/proxy;
  fastcgi_temp_path {path}/fastcgi;
  uwsgi_temp_path {path}/uwsgi;
  scgi_temp_path {path}/scgi;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{app_port};
    root {path}/www;
    location / {{ dav_methods PUT DELETE; }}
  }}
}}
"""
        )
        log = path / "nginx.log"
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        app = Process([nginx, "-c", path / "nginx.conf", "-e", path / "nginx-error.log"], log)
        cls.addClassCleanup(app.stop)
        wait_until(lambda: accepts(app_port), "nginx", process=app.child, log=log)
        cls.gateway = Gateway(path, f'[[routes]]\npath = "/"\nupstream = ["http://127.0.0.1:{app_port}"]\n')
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.alice = cls.gateway.client("alice")

    def test_a_range_is_answered_with_206_and_exactly_those_bytes(self):
        for asked, first, last in (("bytes=5-14", 5, 14), ("bytes=9990-", 9990, 9999), ("bytes=-3", 9997, 9999)):
            with self.subTest(asked):
                answer, body = self.alice.request("GET", "/text.txt", headers={"Range": asked})
                self.assertEqual(answer.status, 206)
                self.assertEqual(answer.getheader("Content-Range"), f"bytes {first}-{last}/{len(TEXT)}")
                self.assertEqual(body, TEXT[first : last + 1])

    def test_an_impossible_range_is_answered_with_416(self):
        answer, _ = self.alice.request("GET", "/text.txt", headers={"Range": "bytes=20000-"})
        self.assertEqual(answer.status, 416)
        self.assertEqual(answer.getheader("Content-Range"), f"bytes */{len(TEXT)}")

    def test_several_ranges_arrive_as_one_multipart_answer(self):
        answer, body = self.alice.request("GET", "/text.txt", headers={"Range": "bytes=0-1,10-11"})
        self.assertEqual(answer.status, 206)
        self.assertTrue(answer.getheader("Content-Type").startswith("multipart/byteranges"))
        self.assertEqual(len(body), int(answer.getheader("Content-Length")))

    def test_conditional_requests_are_answered_with_304(self):
        full, _ = self.alice.request("GET", "/text.txt")
        tag, modified = full.getheader("ETag"), full.getheader("Last-Modified")
        for condition in ({"If-None-Match": tag}, {"If-Modified-Since": modified}):
            with self.subTest(condition):
                answer, body = self.alice.request("GET", "/text.txt", headers=condition)
                self.assertEqual((answer.status, body), (304, b""))
                self.assertEqual(answer.getheader("ETag"), tag)
        answer, body = self.alice.request("GET", "/text.txt", headers={"If-None-Match": '"another"'})
        self.assertEqual((answer.status, body), (200, TEXT))

    def test_head_has_the_length_and_no_body_and_the_connection_goes_on(self):
        connection, answer = self.alice.open("HEAD", "/text.txt")
        with contextlib.closing(connection):
            self.assertEqual((answer.status, answer.getheader("Content-Length")), (200, str(len(TEXT))))
            self.assertEqual(answer.read(), b"")
            connection.request("GET", "/text.txt", headers={"Cookie": self.alice.cookie})
            self.assertEqual(connection.getresponse().read(), TEXT)

    def watch_memory(self, what, transfer):
        """Runs `transfer` and holds the growth of the gateway's peak memory against the bound."""
        self.gateway.forget_memory_peak()
        before = self.gateway.memory("VmRSS")
        transfer()
        peak = self.gateway.memory("VmHWM")
        print(f"\n  {what}: {before:.1f} MiB resident before, peak {peak:.1f} MiB, bound +{GROWTH_BOUND} MiB", flush=True)
        self.assertLess(peak - before, GROWTH_BOUND)

    def test_a_large_file_comes_down_whole_in_constant_memory(self):
        file = self.folder.path / "www/down.bin"
        self.addCleanup(file.unlink)
        wanted = write_pattern(file, SIZE)

        def transfer():
            connection, answer = self.alice.open("GET", "/down.bin")
            with contextlib.closing(connection):
                self.assertEqual(answer.status, 200)
                self.assertEqual(digest_of(answer), (wanted, SIZE))

        self.watch_memory("download of 256 MiB", transfer)

    def test_a_large_file_goes_up_whole_in_constant_memory(self):
        source, target = self.folder.path / "up.bin", self.folder.path / "www/up.bin"
        self.addCleanup(source.unlink)
        self.addCleanup(target.unlink, missing_ok=True)
        wanted = write_pattern(source, SIZE)

        def transfer():
            with source.open("rb") as body:
                answer, said = self.alice.request("PUT", "/up.bin", body, {"Content-Length": str(SIZE)})
            self.assertEqual(answer.status, 201, said[:300])

        self.watch_memory("upload of 256 MiB", transfer)
        with target.open("rb") as stored:
            self.assertEqual(digest_of(stored), (wanted, SIZE))

    def test_a_slow_reader_of_a_large_file_does_not_fill_our_memory(self):
        file = self.folder.path / "www/slow.bin"
        self.addCleanup(file.unlink)
        write_pattern(file, 256 * MIB)

        def transfer():
            connection, answer = self.alice.open("GET", "/slow.bin")
            with contextlib.closing(connection):
                self.assertEqual(len(answer.read(MIB)), MIB)
                # Requests by others go on while this reader has stopped reading.
                for _ in range(50):
                    self.assertEqual(self.alice.request("GET", "/text.txt")[1], TEXT)

        self.watch_memory("256 MiB to a reader that stops", transfer)
