"""Four gigabytes each way, generated and digested at both ends: whole, and in constant memory."""

import contextlib
import hashlib
import pathlib
import sys
import time
import unittest

from harness import MIB, Folder, Gateway, Process, accepts, digest_of, free_port, wait_until
from stream_upstream import blocks

HERE = pathlib.Path(__file__).resolve().parent
SIZE = 4096 * MIB
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
        cls.gateway = Gateway(cls.folder.path, f'[[routes]]\npath = "/"\nupstream = ["http://127.0.0.1:{port}"]\n')
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

    def test_four_gigabytes_come_down_whole_in_constant_memory(self):
        def transfer():
            connection, answer = self.alice.open("GET", f"/{SIZE}")
            with contextlib.closing(connection):
                self.assertEqual(answer.status, 200)
                digest, length = digest_of(answer)
                self.assertEqual(length, SIZE)
                # What the upstream sent, asked for on the connection it sent it on.
                connection.request("GET", "/digest", headers={"Cookie": self.alice.cookie})
                self.assertEqual(connection.getresponse().read().decode(), digest)

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
