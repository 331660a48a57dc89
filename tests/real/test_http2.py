"""HTTP/2 downstream, by TLS and by prior knowledge: h2spec, curl, and a browser with a WebSocket over it."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import unittest

from authority import Authority, openssl
from harness import MIB, ROOT, Folder, Gateway, Process, accepts, free_port, wait_until
from peers import program, start_nginx
from test_websocket import SERVERS

HERE = pathlib.Path(__file__).resolve().parent


class Rig(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        cls.authority = Authority(path)
        cls.authority.sign("front", "127.0.0.1", "localhost", "front.test")
        www = path / "www"
        www.mkdir()
        (www / "index.html").write_text("<!doctype html><title>page</title><p id=said>nothing yet</p>")
        (www / "large.bin").write_bytes(os.urandom(8 * MIB))
        app, echo = free_port(), free_port()
        start_nginx(cls, path, f"server {{ listen 127.0.0.1:{app}; root {www}; location /up/ {{ dav_methods PUT; }} }}", app)
        cls.echo_log = path / "echo.log"
        process = Process(SERVERS["ws"](echo), cls.echo_log)
        cls.addClassCleanup(process.stop)
        wait_until(lambda: accepts(echo), "ws", process=process.child, log=cls.echo_log)
        cls.tls_port, cls.h2c_port = free_port(), free_port()
        cls.gateway = Gateway(
            path,
            f"""[tls]
certificates = [{cls.authority.toml("front")}]

[[routes]]
path = "/"
access = "public"
upstream = ["http://127.0.0.1:{app}"]

[[routes]]
path = "/private"
upstream = ["http://127.0.0.1:{app}"]

[[routes]]
path = "/echo"
access = "public"
upstream = ["http://127.0.0.1:{echo}"]

[[routes]]
path = "/private/echo"
upstream = ["http://127.0.0.1:{echo}"]
""",
            listeners=[
                f'{{ address = "127.0.0.1:{cls.tls_port}", tls = true }}',
                f'{{ address = "127.0.0.1:{cls.h2c_port}", h2c = true }}',
            ],
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()


class H2spec(Rig):
    def run_h2spec(self, *argv):
        """Runs all of h2spec, prints its figures, and gives the names of the cases that failed."""
        tool = ROOT / "target/tools/bin/h2spec"
        self.assertTrue(tool.is_file(), "h2spec is not installed")
        done = subprocess.run([tool, *map(str, argv)], capture_output=True, text=True, timeout=180)
        figures = re.search(r"^(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout, re.MULTILINE)
        self.assertIsNotNone(figures, done.stdout[-2000:] + done.stderr)
        print(f"\n  h2spec {' '.join(map(str, argv))}: {figures[0]}", flush=True)
        self.assertGreater(int(figures[1]), 140)
        if figures[4] == "0":
            self.assertEqual(figures[3], "0", "cases were skipped")
            return ""
        return done.stdout[done.stdout.index("Failures:") :] if "Failures:" in done.stdout else done.stdout

    # The path of a body that a window does not take: a stream that has ended already cannot be in error any more.

    def test_h2spec_passes_whole_over_tls(self):
        self.assertEqual(self.run_h2spec("-p", self.tls_port, "-t", "-k", "-S", "-P", "/large.bin"), "")

    def test_h2spec_passes_whole_by_prior_knowledge(self):
        self.assertEqual(self.run_h2spec("-p", self.h2c_port, "-S", "-P", "/large.bin"), "")


class Curl(Rig):
    def curl(self, *argv):
        """Status, protocol version and body of what curl does."""
        done = subprocess.run(
            [program("curl"), "--silent", "--show-error", "--max-time", "30", "--cacert", self.authority.file,
             "--write-out", "%{stderr}%{http_code} %{http_version}", *map(str, argv)],
            capture_output=True, timeout=60,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        status, version = done.stderr.decode().split()[-2:]
        return int(status), version, done.stdout

    def test_the_version_is_what_both_sides_can(self):
        for argv, version in (
            (("--http2", f"https://localhost:{self.tls_port}/"), "2"),
            (("--http1.1", f"https://localhost:{self.tls_port}/"), "1.1"),
            (("--no-alpn", f"https://localhost:{self.tls_port}/"), "1.1"),
            (("--http2-prior-knowledge", f"http://127.0.0.1:{self.h2c_port}/"), "2"),
            (("--http1.1", f"http://127.0.0.1:{self.h2c_port}/"), "1.1"),
            # An upgrade to h2c is not taken up, on any listener (RFC 9113 has done away with it).
            (("--http2", f"http://127.0.0.1:{self.h2c_port}/"), "1.1"),
            (("--http2", f"http://127.0.0.1:{self.gateway.port}/"), "1.1"),
        ):
            with self.subTest(argv):
                self.assertEqual(self.curl(*argv)[:2], (200, version))

    def test_large_bodies_pass_both_ways(self):
        large = (self.folder.path / "www/large.bin").read_bytes()
        (self.folder.path / "www/up").mkdir(exist_ok=True)
        for name, argv in {
            "tls": ("--http2", f"https://localhost:{self.tls_port}"),
            "h2c": ("--http2-prior-knowledge", f"http://127.0.0.1:{self.h2c_port}"),
        }.items():
            with self.subTest(name):
                flag, base = argv
                self.assertEqual(self.curl(flag, base + "/large.bin"), (200, "2", large))
                source = self.folder.path / "www/large.bin"
                status, version, _ = self.curl(flag, "--upload-file", source, f"{base}/up/{name}.bin")
                self.assertEqual((status, version), (201, "2"))
                stored = (self.folder.path / f"www/up/{name}.bin").read_bytes()
                self.assertEqual(hashlib.sha256(stored).digest(), hashlib.sha256(large).digest())

    def test_ranges_conditions_and_head_work_over_it(self):
        base = f"https://localhost:{self.tls_port}"
        self.assertEqual(self.curl("--http2", "--range", "0-9", base + "/large.bin")[::2][0], 206)
        status, _, head = self.curl("--http2", "--head", base + "/large.bin")
        self.assertIn(f"content-length: {8 * MIB}", head.decode().lower())
        tag = re.search(r"etag: (\S+)", head.decode(), re.IGNORECASE)[1]
        self.assertEqual((status, self.curl("--http2", "-H", f"If-None-Match: {tag}", base + "/large.bin")[0]), (200, 304))

    def test_a_login_over_it_is_a_session_on_it(self):
        base, jar = f"https://localhost:{self.tls_port}", self.folder.path / "jar"
        form = ("--data-urlencode", "username=alice", "--data-urlencode", "password=alice-correct-horse-battery-41")
        # The harness sets `secure = false`, so the cookie is good over TLS and without.
        status, version, _ = self.curl(
            "--http2", "--cookie-jar", jar, "-H", "Sec-Fetch-Site: same-origin", *form, base + "/_auth/login"
        )
        self.assertEqual((status, version), (303, "2"))
        status, _, said = self.curl("--http2", "--cookie", jar, base + "/_auth/whoami")
        self.assertEqual((status, json.loads(said)["user"]), (200, "alice"))
        # In two crumbs, as RFC 9113 (8.2.3) lets a client send them.
        cookie = jar.read_text().split()[-1]
        status, _, _ = self.curl(
            "--http2", "-H", "Cookie: a=1", "-H", f"Cookie: fluidgate={cookie}", base + "/_auth/whoami"
        )
        self.assertEqual(status, 200)

    def test_what_has_no_session_is_refused_over_it(self):
        status, _, _ = self.curl("--http2", f"https://localhost:{self.tls_port}/private/")
        self.assertEqual(status, 401)


class Browser(Rig):
    def test_a_browser_loads_a_page_and_a_websocket_over_one_http2_connection(self):
        certificate, _ = self.authority.paths("front")
        public = openssl("x509", "-in", certificate, "-pubkey", "-noout")
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=public.encode(), capture_output=True, check=True)
        pin = subprocess.run(["openssl", "base64"], input=hashlib.sha256(der.stdout).digest(), capture_output=True, check=True)
        netlog = self.folder.path / "netlog.json"
        done = subprocess.run(
            [program("node"), HERE / "node/browser_http2.mjs", f"https://localhost:{self.tls_port}", pin.stdout.decode().strip(), netlog],
            capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual(said["page"], "h2", "the protocol that the page came by")
        self.assertEqual(said["echoes"], ["hello over http/2", 300_000])
        # The browser's own log of its network: what it sent to open the WebSocket.
        log = netlog.read_text(errors="replace")
        self.assertIn(":protocol: websocket", log, "the WebSocket was not opened by an extended CONNECT")
        self.assertNotIn("sec-websocket-key", log.lower(), "a WebSocket was opened over HTTP/1.1")
        self.assertIn("open /echo user=-", self.echo_log.read_text())
        print(f"\n  chromium: page by {said['page']}, WebSocket by extended CONNECT", flush=True)
