"""Floods of HTTP/2 frames, each ended or absorbed: the gateway neither grows nor keeps an honest client waiting; and floods of
plain requests, which leave no trace in the store, in memory or in the log. scripts/attack does the same with far more."""

import contextlib
import os
import time
import unittest

from flooders import send_flood
from floods import OWN, every_flood, get
from harness import Folder
from http2_frames import opening
from siege import Honest, Limits, Served, Site, close_all
from wire import Wire

CONNECTIONS, FRAMES, SECONDS = 2, 6_000, 0.8
# scripts/attack sends more.
HITS = int(os.environ.get("HITS", "20000"))
# MB that one flood may add, and that all of them may leave behind.
GROWTH = 20


class Floods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        cls.site = Site(cls, cls.folder.path, Limits(), capacity=2048)

    def test_many_connections_that_send_heads_of_many_fields_are_no_worse_than_those_of_allowed_ones(self):
        stored = get(1, OWN + b"\x40\1a\1b")
        heads = opening() + stored + b"".join(get(stream, OWN + b"\xbe" * 1800) for stream in range(3, 200, 2))
        grown = []
        for _ in range(2):
            streams = [self.site.dial("h2c") for _ in range(50)]
            self.site.gateway.forget_memory_peak()
            before = self.site.resident()
            for stream in streams:
                stream.sendall(heads)
            for stream in streams:
                stream.recv(1 << 16)
            grown.append(self.site.gateway.memory("VmHWM") - before)
            close_all(streams)
        print(f"\n  50 connections with 100 heads of 1800 fields: {grown[0]:.0f} MB, and {grown[1]:.0f} MB the second time", flush=True)
        # As much as heads of the allowed hundred fields may take; all 1800 kept would be 700 MB.
        self.assertLess(max(grown), 200)

    def test_floods_of_frames_are_ended_or_absorbed(self):
        grown, kept = {}, []
        with Honest(self.site) as honest:
            first = self.site.resident()
            began = time.monotonic()
            for flood in every_flood():
                self.site.gateway.forget_memory_peak()
                before = self.site.resident()
                outcomes = send_flood(self.site, flood, "h2c", CONNECTIONS, FRAMES, SECONDS)
                grown[flood.name] = self.site.gateway.memory("VmHWM") - before
                if flood.ended and not all(outcome.ended for outcome in outcomes):
                    kept.append((flood.name, outcomes))
            ended = time.monotonic()
            served = Served.of(honest.between(began, ended))
        largest = max(grown, key=grown.get)
        print(
            f"\n  {len(grown)} floods: honest p50/p99 {served} ms, resident {first:.0f} MB before, {self.site.resident():.0f} after, "
            f"most by {largest}: {grown[largest]:.0f} MB",
            flush=True,
        )
        self.assertEqual({name: mb for name, mb in grown.items() if mb >= GROWTH}, {})
        self.assertEqual(kept, [], "was to be ended")
        self.assertEqual(served.failed, 0, f"{served.failed} of {served.count} honest requests failed")
        self.assertGreater(served.count, 10 * (ended - began), "the honest client did not get on")


class Requests(unittest.TestCase):
    """Floods of whole requests."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        cls.site = Site(cls, cls.folder.path, Limits(), log="access.log")

    def flood(self, request, count, at_a_time=200):
        """Sends it so often on one connection, pipelined, and gives the statuses of the answers and how often each came."""
        statuses = {}
        wire = Wire(self.site.dial("plain"))
        with contextlib.closing(wire):
            for _ in range(count // at_a_time):
                wire.send(request * at_a_time)
                for _ in range(at_a_time):
                    head = wire.head()
                    wire.body(head)
                    statuses[head.status] = statuses.get(head.status, 0) + 1
        return statuses

    def stored(self):
        """Bytes in the folder of the store, and sessions in the table."""
        folder = self.folder.path / "state/sessions"
        live = next(line for line in self.metrics() if line.startswith("fluidgate_sessions_live "))
        return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()), int(float(live.split()[1]))

    def metrics(self):
        return self.site.gateway.ask_management("/metrics")[1].decode().splitlines()

    def test_hits_without_a_session_leave_nothing_behind(self):
        hits = b"GET /private/page?secret=1 HTTP/1.1\r\nHost: front.test\r\nAccept: text/html\r\n\r\n"
        self.flood(hits, 2000)
        before, resident = self.stored(), self.site.resident()
        log = self.site.gateway.process.log
        said = log.stat().st_size
        began = time.monotonic()
        statuses = self.flood(hits, HITS)
        took = time.monotonic() - began
        grown = self.site.resident() - resident
        access = (self.folder.path / "access.log").stat().st_size
        print(f"\n  {HITS} hits in {took:.1f} s: {statuses}, {grown:.1f} MB more, access log {access / (HITS + 2000):.0f} bytes a request", flush=True)
        self.assertEqual(sum(statuses.values()), HITS)
        self.assertLessEqual(set(statuses), {302, 303, 401}, "let through, or an error")
        after = self.stored()
        self.assertEqual(after[1], before[1], "sessions")
        self.assertLess(after[0] - before[0], 1 << 20, "bytes in the store")
        self.assertLess(grown, 20)
        self.assertLess(log.stat().st_size - said, 10_000, "the diagnostic log")

    def test_a_line_of_the_log_is_bounded_however_long_the_request(self):
        target = "/private/" + "x" * 15_000
        long = f"GET {target} HTTP/1.1\r\nHost: {'h' * 200}.test\r\nUser-Agent: {'u' * 40_000}\r\n\r\n".encode()
        log = self.folder.path / "access.log"
        before = log.stat().st_size
        self.flood(long, 200, 10)
        # Nothing that a client says but method, host, path and version is in it.
        self.assertLess((log.stat().st_size - before) / 200, 16_500)

    def test_requests_for_a_dead_upstream_do_not_fill_the_diagnostic_log(self):
        self.site.nginx.stop()
        self.addCleanup(self.site.start_app, type(self))
        log = self.site.gateway.process.log
        before = log.stat().st_size
        statuses = self.flood(b"GET /index.html HTTP/1.1\r\nHost: front.test\r\n\r\n", 2000)
        self.assertEqual(set(statuses), {502})
        lines = log.read_bytes()[before:].count(b"\n")
        self.assertLess(lines, 400, "lines about 2000 requests that failed alike")
