"""Gigabytes each way, generated and digested at both ends: whole, and in constant memory; over HTTP/1.1, and over TLS and HTTP/2."""

import contextlib
import hashlib
import pathlib
import subprocess
import sys
import time
import unittest

from authority import Authority
from harness import MIB, Folder, Gateway, Process, accepts, digest_of, free_port, wait_until
from peers import program
from stream_upstream import blocks

HERE = pathlib.Path(__file__).resolve().parent
SIZE = 4096 * MIB
# Less, because curl is slow to send in HTTP/2 (to nginx as well).
HTTP2_SIZE = 256 * MIB
# How much the gateway's resident memory may grow meanwhile. In MiB.
GROWTH_BOUND = 16


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        port = free_port()
        log = cls.folder.path / "upstream.log"
        upstream = Process([sys.executable, HERE / "stream_upstream.py", port], log)
        cls.addClassCleanup(upstream.stop)
        wait_until(lambda: accepts(port), "upstream", process=upstream.child, log=log)
        cls.authority = Authority(cls.folder.path)
        cls.authority.sign("front", "localhost")
        cls.tls_port = free_port()
        cls.gateway = Gateway(
            cls.folder.path,
            f"[tls]\ncertificates = [{cls.authority.toml('front')}]\n\n"
            f'[[routes]]\npath = "/"\nupstream = ["http://127.0.0.1:{port}"]\n',
            listeners=[f'{{ address = "127.0.0.1:{cls.tls_port}", tls = true }}'],
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.alice = cls.gateway.client("alice")

    def watch_memory(self, what, transfer):
        self.gateway.forget_memory_peak()
        before, began = self.gateway.memory("VmRSS"), time.monotonic()
        transfer()
        took, peak = time.monotonic() - began, self.gateway.memory("VmHWM")
        print(f"\n  {what}: {took:.1f} s, resident {before:.1f} MiB before, peak {peak:.1f} MiB", flush=True)
        self.assertLess(peak - before, GROWTH_BOUND)

    def digest(self, name):
        """SHA-256 of what the upstream sent as `name`."""
        return self.alice.request("GET", f"/digest/{name}")[1].decode()

    def test_four_gigabytes_come_down_whole_in_constant_memory(self):
        def transfer():
            connection, answer = self.alice.open("GET", f"/{SIZE}/one")
            with contextlib.closing(connection):
                self.assertEqual(answer.status, 200)
                digest, length = digest_of(answer)
                self.assertEqual(length, SIZE)
            self.assertEqual(self.digest("one"), digest)

        self.watch_memory("4 GiB down", transfer)

    def test_four_gigabytes_go_up_whole_in_constant_memory(self):
        digest = hashlib.sha256()

        def body():
            for block in blocks(SIZE):
                digest.update(block)
                yield block

        def transfer():
            answer, said = self.alice.request("PUT", "/", body(), timeout=120)
            self.assertEqual(answer.status, 200)
            self.assertEqual(said.decode(), f"{digest.hexdigest()} {SIZE}")

        self.watch_memory("4 GiB up", transfer)

    def curl(self, path, *argv, **pipes):
        url = f"https://localhost:{self.tls_port}{path}"
        trust = ["--cacert", self.authority.file, "--http2", "--fail", "--silent", "--show-error", "--max-time", "120"]
        argv = [program("curl"), *trust, "--cookie", self.alice.cookie, *argv, url]
        return subprocess.Popen([str(part) for part in argv], stdout=subprocess.PIPE, **pipes)

    def test_a_large_body_comes_down_whole_over_http2(self):
        def transfer():
            with self.curl(f"/{HTTP2_SIZE}/two") as curl:
                digest, length = digest_of(curl.stdout)
            self.assertEqual((curl.returncode, length), (0, HTTP2_SIZE))
            self.assertEqual(self.digest("two"), digest)

        self.watch_memory("256 MiB down over TLS and HTTP/2", transfer)

    def test_a_large_body_goes_up_whole_over_http2(self):
        def transfer():
            digest = hashlib.sha256()
            with self.curl("/", "--upload-file", "-", stdin=subprocess.PIPE) as curl:
                for block in blocks(HTTP2_SIZE):
                    digest.update(block)
                    curl.stdin.write(block)
                curl.stdin.close()
                said = curl.stdout.read().decode()
            self.assertEqual((curl.returncode, said), (0, f"{digest.hexdigest()} {HTTP2_SIZE}"))

        self.watch_memory("256 MiB up over TLS and HTTP/2", transfer)
