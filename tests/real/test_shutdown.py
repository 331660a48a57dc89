"""SIGTERM under load: what is in flight is finished over HTTP/1.1, HTTP/2 and WebSockets, clients are told, and it exits 0."""

import collections
import contextlib
import signal
import threading
import time
import unittest

import h2.events
import h2.exceptions

import frames
from authority import Authority
from harness import Folder, Gateway, Process, accepts, free_port, wait_until
from http2 import GoAway, Http2
from test_websocket import SERVERS, handshake, server_frame
from wire import Closed, RawUpstream, Wire, get

HALF, REST = b"h" * 50_000, b"r" * 50_000


class Shutdown(unittest.TestCase):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        path = self.folder.path
        self.authority = Authority(path)
        self.authority.sign("front", "127.0.0.1")
        self.go_on, self.halves = threading.Event(), threading.Semaphore(0)
        raw = RawUpstream(self.serve)
        self.addCleanup(raw.stop)
        self.addCleanup(self.go_on.set)
        echo, log = free_port(), path / "echo.log"
        process = Process(SERVERS["websockets"](echo), log)
        self.addCleanup(process.stop)
        wait_until(lambda: accepts(echo), "websockets", process=process.child, log=log)
        self.tls_port = free_port()
        self.gateway = Gateway(
            path,
            f"""[tls]
certificates = [{self.authority.toml("front")}]

[[routes]]
path = "/"
access = "public"
upstream = ["http://127.0.0.1:{raw.port}"]

[[routes]]
path = "/echo"
access = "public"
upstream = ["http://127.0.0.1:{echo}"]
""",
            server='grace_period = "5s"',
            listeners=[f'{{ address = "127.0.0.1:{self.tls_port}", tls = true }}'],
        )
        self.addCleanup(self.gateway.stop)
        self.gateway.start()
        self.child = self.gateway.process.child

    def serve(self, wire):
        while True:
            head = wire.head()
            if b"/half" not in head.first:
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(HALF + REST) + HALF)
            self.halves.release()
            self.go_on.wait(20)
            wire.send(REST)

    def refused(self):
        try:
            return not accepts(self.gateway.port)
        except ConnectionRefusedError:
            return True

    def test_what_is_in_flight_over_both_versions_is_finished_and_a_goaway_is_sent(self):
        one, two = Wire.to(self.gateway.port), Http2(self.tls_port, self.authority.file)
        idle = Http2(self.tls_port, self.authority.file)
        for connection in (one, two, idle):
            self.addCleanup(connection.close)
        self.assertEqual(idle.answer(idle.request("127.0.0.1"))[0], 200)
        one.send(get("/half", self.gateway.port))
        numbers = [two.request("127.0.0.1", "/half") for _ in range(5)]
        for _ in range(6):
            self.assertTrue(self.halves.acquire(timeout=20))
        self.child.send_signal(signal.SIGTERM)
        wait_until(self.refused, "the end of listening")
        # The idle one is told to go, and its connection ends at once.
        self.assertIsNotNone(idle.wait_for(GoAway), "no GOAWAY on an idle connection")
        goaway = two.wait_for(GoAway)
        self.assertIsNotNone(goaway, "no GOAWAY on a busy connection")
        self.assertEqual(goaway.code, 0)
        self.assertIsNone(self.child.poll(), "it ended with answers in flight")
        self.go_on.set()
        head, _ = one.final_head()
        self.assertEqual(one.body(head), HALF + REST)
        for number in numbers:
            self.assertEqual(two.answer(number)[2], HALF + REST)
        self.assertEqual(self.child.wait(20), 0)

    def test_requests_under_load_fail_only_by_being_refused_or_never_taken(self):
        over, wrong, good = threading.Event(), [], collections.Counter()

        def visit_one():
            while not over.is_set():
                with contextlib.suppress(ConnectionRefusedError, ConnectionResetError, BrokenPipeError), Wire.to(self.gateway.port) as wire:
                    while not over.is_set():
                        wire.send(get("/", self.gateway.port))
                        try:
                            head, _ = wire.final_head()
                        except Closed as closed:
                            # An idle connection may be closed as a request leaves for it, but never within an answer.
                            if closed.got:
                                wrong.append(closed.got)
                            break
                        if (head.status, wire.body(head)) != (200, b"ok"):
                            wrong.append(head.raw)
                        good["h1"] += 1
                        if head.get("Connection") == "close":
                            break

        def visit_two():
            while not over.is_set():
                with contextlib.suppress(OSError, h2.exceptions.ProtocolError), Http2(self.tls_port, self.authority.file) as connection:
                    while not over.is_set():
                        number = connection.request("127.0.0.1")
                        ended = connection.wait_for((h2.events.StreamEnded, GoAway))
                        if ended is None or isinstance(ended, GoAway):
                            break
                        status = connection.wait_for(h2.events.ResponseReceived, number)
                        if dict(status.headers)[":status"] != "200":
                            wrong.append(status)
                        good["h2"] += 1

        visitors = [threading.Thread(target=visit, daemon=True) for visit in (visit_one, visit_two) for _ in range(4)]
        for visitor in visitors:
            visitor.start()
        wait_until(lambda: good["h1"] > 200 and good["h2"] > 200, "load")
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        self.assertEqual(self.child.wait(20), 0)
        took = time.monotonic() - began
        over.set()
        for visitor in visitors:
            visitor.join(20)
        print(f"\n  SIGTERM under {dict(good)} requests: exit 0 after {took:.2f} s", flush=True)
        self.assertEqual(wrong, [])
        self.assertLess(took, 5, "nothing long was in flight")

    def test_websockets_are_closed_and_their_servers_told(self):
        wire = Wire.to(self.gateway.port)
        self.addCleanup(wire.close)
        wire.send(handshake("/echo", f"127.0.0.1:{self.gateway.port}"))
        self.assertEqual(wire.final_head()[0].status, 101)
        self.child.send_signal(signal.SIGTERM)
        wait_until(self.refused, "the end of listening")
        # Within the grace period it goes on.
        wire.send(frames.frame(frames.TEXT, b"still here"))
        self.assertEqual(server_frame(wire)[2:], b"still here")
        wire.send(frames.closing(1000))
        self.assertEqual(server_frame(wire)[:1], b"\x88")
        # The server closes first (RFC 6455, 7.1.1), and then the client.
        self.assertTrue(wire.ended())
        wire.close()
        self.assertEqual(self.child.wait(20), 0)

    def test_a_second_signal_waits_for_nothing_and_says_that_the_log_may_miss_its_end(self):
        said = self.gateway.process.log
        client = Wire.to(self.gateway.port)
        self.addCleanup(client.close)
        client.send(get("/half", self.gateway.port))
        self.assertTrue(self.halves.acquire(timeout=20))
        self.child.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining" in said.read_text(), "the drain", process=self.child, log=said)
        self.child.send_signal(signal.SIGTERM)
        self.assertEqual(self.child.wait(20), 3)
        self.assertRegex(said.read_text(), "the end of a log may be missing: .*access")

    def test_a_websocket_that_stays_is_cut_at_the_end_of_the_grace_period(self):
        wire = Wire.to(self.gateway.port)
        self.addCleanup(wire.close)
        wire.send(handshake("/echo", f"127.0.0.1:{self.gateway.port}"))
        self.assertEqual(wire.final_head()[0].status, 101)
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(20)
        took = time.monotonic() - began
        self.assertTrue(wire.ended())
        print(f"\n  an open WebSocket at SIGTERM: exit {code} after {took:.1f} s of a grace period of 5 s", flush=True)
        self.assertIn(code, (0, 3))
        self.assertLess(took, 10)
