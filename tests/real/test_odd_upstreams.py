"""Upstreams that die, flap, drip, answer too early or nonsense: what the client must see of each, and that the next request on
the same connection, and any other client, gets its own answer."""

import contextlib
import http.client
import socket
import threading
import time
import unittest

from harness import Folder, Gateway, free_port, wait_until
from wire import Closed, RawUpstream, Wire, get

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MIB = 1 << 20


def early_hints(count):
    return b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" * count


# What the upstream says to any request, then it closes; and the status that the client must get, whole.
ANSWERED = {
    "a body that ends with the connection": (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
    "an answer in HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "200 times 103 and then the answer": (early_hints(200) + OK, 200, b"ok"),
    "an unasked 100 and then the answer": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
    "a 102 and then the answer": (b"HTTP/1.1 102 Processing\r\n\r\n" + OK, 200, b"ok"),
    "a status nobody knows": (b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nok", 599, b"ok"),
    "no reason phrase": (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "a 204 that has a body": (b"HTTP/1.1 204 No Content\r\n\r\nsmuggled", 204, b""),
    "a 304 that has a body": (b"HTTP/1.1 304 Not Modified\r\n\r\nsmuggled", 304, b""),
    "bytes after the answer": (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 200, b"ok"),
    "an empty chunked body": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, b""),
    "chunks of one byte": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n", 200, b"x" * 5000
    ),
}  # fmt: skip

# Answers that nobody may believe: 502, and nothing of them comes through.
REFUSED = {
    "nothing at all": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "a length beside chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    "chunks beside a length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 2\r\n\r\nevil",
    "two lengths in one field": b"HTTP/1.1 200 OK\r\nContent-Length: 4, 2\r\n\r\nevil",
    "a length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nevil",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nevil",
    "a length in hexadecimal": b"HTTP/1.1 200 OK\r\nContent-Length: 0x4\r\n\r\nevil",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    "chunked and then gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    "a folded field": b"HTTP/1.1 200 OK\r\nX-A: b\r\n evil\r\nContent-Length: 2\r\n\r\nok",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nX-A : evil\r\nContent-Length: 2\r\n\r\nok",
    "a NUL in a field": b"HTTP/1.1 200 OK\r\nX-A: e\0vil\r\nContent-Length: 2\r\n\r\nok",
    "a 101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: upgrade\r\n\r\nevil",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 4\r\n\r\nevil",
    "another version": b"HTTP/3.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "a head of two megabytes": b"HTTP/1.1 200 OK\r\nX-A: " + b"e" * (2 * MIB) + b"\r\nContent-Length: 2\r\n\r\nok",
    "ten thousand fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: evil\r\n" * 10_000 + b"Content-Length: 2\r\n\r\nok",
}

# Bodies that are cut: the client must not be able to take them for whole.
CUT = {
    "a head and not a byte of its body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    "a head and not one chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a length that is not reached": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "chunks without a last one": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "a chunk that is cut": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    "a chunk size that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\nevil",
    "a chunk size with a sign": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n+4\r\nevil\r\n0\r\n\r\n",
}


class OddUpstreams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        # The port stays, the upstream behind it is each test's own.
        cls.app_port = free_port()
        cls.gateway = Gateway(
            cls.folder.path,
            f'[proxy]\nresponse_timeout = "1s"\n\n[[routes]]\npath = "/"\naccess = "public"\n'
            f'upstream = ["http://127.0.0.1:{cls.app_port}"]\n\n[[routes]]\npath = "/private"\n'
            f'upstream = ["http://127.0.0.1:{cls.app_port}"]\n',
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()

    def upstream(self, serve):
        """An upstream that hands each of its connections to `serve`."""
        upstream = RawUpstream(serve, self.app_port)
        self.addCleanup(upstream.stop)
        return upstream

    def says(self, answer, reset=False):
        """An upstream that reads one head, says `answer` and closes, or resets."""

        def serve(wire):
            wire.head()
            wire.send(answer)
            if reset:
                # So that what was said has left before the reset overtakes it.
                wire.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                time.sleep(0.2)
                wire.abort()
            else:
                wire.stream.shutdown(socket.SHUT_WR)
                wire.rest()

        return self.upstream(serve)

    def wire(self):
        wire = Wire.to(self.gateway.port)
        self.addCleanup(wire.close)
        return wire

    def ask(self, wire, method="GET", path="/", fields=()):
        return wire.ask(get(path, self.gateway.port, method=method, fields=fields))

    def test_odd_but_whole_answers_arrive_whole(self):
        for name, (answer, status, body) in ANSWERED.items():
            with self.subTest(name):
                upstream = self.says(answer)
                wire = self.wire()
                head, got = self.ask(wire)
                self.assertEqual((head.status, got), (status, body))
                upstream.stop()
                # The connection is at the start of a message again: nothing of a body or of a second answer is left on it.
                upstream = self.says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
                head, got = self.ask(wire if head.get("Connection") != "close" else self.wire())
                self.assertEqual((head.status, got), (200, b"next"))
                upstream.stop()

    def test_answers_that_nobody_may_believe_are_502(self):
        for name, answer in REFUSED.items():
            with self.subTest(name):
                upstream = self.says(answer)
                wire = self.wire()
                head, got = self.ask(wire)
                self.assertEqual(head.status, 502)
                self.assertNotIn(b"evil", head.raw + got)
                upstream.stop()
                upstream = self.says(OK)
                self.assertEqual(self.ask(wire)[0].status, 200)
                upstream.stop()

    def test_a_refused_answer_costs_its_connection(self):
        for name in ("a length beside chunks", "two lengths", "a 101 that nobody asked for"):
            with self.subTest(name):
                ended = threading.Event()

                def serve(wire, name=name, ended=ended):
                    wire.head()
                    wire.send(REFUSED[name])
                    if wire.ended(10):
                        ended.set()

                upstream = self.upstream(serve)
                self.assertEqual(self.ask(self.wire())[0].status, 502)
                self.assertTrue(ended.wait(10), "the upstream's connection was kept")
                upstream.stop()

    def test_a_cut_body_is_visibly_cut(self):
        for name, answer in CUT.items():
            for reset in (False, True):
                with self.subTest(name, reset=reset):
                    upstream = self.says(answer, reset)
                    wire = self.wire()
                    wire.send(get("/", self.gateway.port))
                    head, _ = wire.final_head()
                    self.assertEqual(head.status, 200)
                    with self.assertRaises((Closed, ConnectionResetError)) as caught:
                        wire.body(head)
                    self.assertNotIn(b"evil", getattr(caught.exception, "got", b""))
                    upstream.stop()

    def test_a_library_calls_a_cut_body_incomplete(self):
        self.says(CUT["chunks without a last one"])
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=20)
        self.addCleanup(connection.close)
        connection.request("GET", "/")
        with self.assertRaises((http.client.IncompleteRead, ConnectionResetError)):
            connection.getresponse().read()

    def test_an_upstream_that_does_not_listen_or_resets_is_502(self):
        self.assertEqual(self.ask(self.wire())[0].status, 502)
        self.upstream(lambda wire: wire.abort())
        self.assertEqual(self.ask(self.wire())[0].status, 502)

    def test_a_silent_upstream_is_504_after_the_response_timeout(self):
        gone = threading.Event()

        def serve(wire):
            wire.head()
            if wire.ended(20):
                gone.set()

        self.upstream(serve)
        began = time.monotonic()
        head, _ = self.ask(self.wire())
        took = time.monotonic() - began
        self.assertEqual(head.status, 504)
        # The clock of the waiting is coarse: a quarter of a second.
        self.assertTrue(0.7 < took < 5, took)
        self.assertTrue(gone.wait(10), "the upstream's connection was kept")

    def test_informational_answers_do_not_put_the_time_limit_off_for_ever(self):
        def serve(wire):
            wire.head()
            while True:
                wire.send(early_hints(1))
                time.sleep(0.2)

        self.upstream(serve)
        began = time.monotonic()
        head, _ = self.ask(self.wire())
        self.assertEqual(head.status, 504)
        self.assertLess(time.monotonic() - began, 10)

    def test_a_drip_arrives_as_it_drips(self):
        next_byte = threading.Semaphore(0)

        def serve(wire):
            wire.head()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
            for number in range(20):
                next_byte.acquire()
                wire.send(b"%c" % (65 + number))

        self.upstream(serve)
        wire = self.wire()
        wire.send(get("/", self.gateway.port))
        self.assertEqual(wire.final_head()[0].status, 200)
        for number in range(20):
            # The next byte leaves the upstream only when the one before it has arrived here.
            next_byte.release()
            self.assertEqual(wire.exactly(1), b"%c" % (65 + number))

    def test_a_head_that_drips_is_an_answer_too(self):
        def serve(wire):
            wire.head()
            for byte in OK:
                wire.send(bytes([byte]))

        self.upstream(serve)
        head, body = self.ask(self.wire())
        self.assertEqual((head.status, body), (200, b"ok"))

    def test_an_answer_before_the_end_of_the_upload_reaches_the_client_at_once(self):
        for status in (413, 200, 401):
            with self.subTest(status):
                ended = threading.Event()

                def serve(wire, status=status, ended=ended):
                    wire.head()
                    wire.exactly(1000)
                    wire.send(b"HTTP/1.1 %d Early\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly" % status)
                    wire.ended(10)
                    ended.set()

                upstream = self.upstream(serve)
                wire = self.wire()
                wire.send(get("/", self.gateway.port, method="POST", fields=(f"Content-Length: {8 * MIB}",)) + b"x" * 1000)
                head, _ = wire.final_head()
                self.assertEqual((head.status, wire.body(head)), (status, b"early"))
                # The rest never came, so this connection cannot go on; it ends rather than waiting for 8 MiB.
                wire.close()
                self.assertTrue(ended.wait(10))
                upstream.stop()

    def test_an_upload_into_an_early_answer_ends_and_is_not_taken_for_the_next_request(self):
        self.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly")
        wire = self.wire()
        request = get("/", self.gateway.port, method="POST", fields=(f"Content-Length: {16 * MIB}",))

        def upload():
            with contextlib.suppress(OSError):
                wire.send(request + get("/evil", self.gateway.port) * (16 * MIB // 64))

        sender = threading.Thread(target=upload, daemon=True)
        sender.start()
        with contextlib.suppress(ConnectionResetError):
            head, _ = wire.final_head()
            self.assertEqual(head.status, 413)
            rest = wire.body(head)
            with contextlib.suppress(OSError):
                rest += wire.rest()
            self.assertEqual(rest.count(b"HTTP/1.1"), 0, "a body was read as a request")
        sender.join(20)
        self.assertFalse(sender.is_alive())

    def test_a_100_continue_comes_once_the_body_is_wanted_and_not_before(self):
        asked = threading.Event()

        def serve(wire):
            # The gateway has asked for the body itself, so it does not ask again.
            self.assertIsNone(wire.head().get("Expect"))
            asked.set()
            self.assertEqual(wire.exactly(4), b"body")
            wire.send(OK)

        self.upstream(serve)
        wire = self.wire()
        wire.send(get("/", self.gateway.port, method="POST", fields=("Content-Length: 4", "Expect: 100-continue")))
        self.assertEqual(wire.head().status, 100)
        wire.send(b"body")
        self.assertEqual(wire.final_head()[0].status, 200)
        self.assertTrue(asked.is_set())

    def test_who_may_not_upload_is_told_without_a_100(self):
        wire = self.wire()
        fields = ("Content-Length: 4", "Expect: 100-continue")
        wire.send(get("/private", self.gateway.port, method="POST", fields=fields))
        head, interim = wire.final_head()
        self.assertEqual((head.status, interim), (401, []))

    def test_an_answer_to_head_has_no_body_whatever_the_upstream_sends(self):
        self.says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        wire = self.wire()
        head, _ = self.ask(wire, "HEAD")
        self.assertEqual((head.status, head.get("Content-Length")), (200, "4"))
        head, body = self.ask(wire)
        self.assertEqual((head.status, body), (200, b"evil"), "the GET's own body")

    def test_an_upstream_that_closes_idle_connections_costs_no_request(self):
        closed = threading.Semaphore(0)

        def serve(wire):
            wire.head()
            wire.send(OK)
            # Without a word beforehand, and the gateway lets go of its side when it has seen it.
            wire.stream.shutdown(socket.SHUT_WR)
            if wire.rest() == b"":
                closed.release()

        upstream = self.upstream(serve)
        wire = self.wire()
        for number in range(100):
            self.assertEqual(self.ask(wire)[0].status, 200, number)
            self.assertTrue(closed.acquire(timeout=10))
        self.assertEqual(upstream.connections, 100)

    def test_a_post_is_delivered_at_most_once_to_an_upstream_that_dies_on_it(self):
        seen = []

        def serve(wire):
            while True:
                head = wire.head()
                seen.append(head.first)
                if head.first.startswith(b"POST"):
                    return
                wire.send(OK)

        self.upstream(serve)
        wire = self.wire()
        self.assertEqual(self.ask(wire)[0].status, 200)
        head, _ = wire.ask(get("/", self.gateway.port, method="POST", fields=("Content-Length: 0",)))
        self.assertEqual(head.status, 502)
        self.assertEqual(sum(line.startswith(b"POST") for line in seen), 1)

    def test_a_flapping_upstream_is_served_whenever_it_is_there(self):
        for number in range(20):
            upstream = self.says(OK)
            self.assertEqual(self.ask(self.wire())[0].status, 200, number)
            upstream.stop()
            self.assertEqual(self.ask(self.wire())[0].status, 502, number)

    def test_a_client_that_leaves_takes_the_upstream_connection_with_it(self):
        for how in ("close", "abort"):
            for stage in ("waiting", "downloading", "uploading"):
                with self.subTest(how=how, stage=stage):
                    there, gone = threading.Event(), threading.Event()

                    def serve(wire, stage=stage, there=there, gone=gone):
                        wire.head()
                        if stage == "downloading":
                            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                        there.set()
                        if wire.ended(10):
                            gone.set()

                    upstream = self.upstream(serve)
                    wire = self.wire()
                    fields = ("Content-Length: 100",) if stage == "uploading" else ()
                    method = "POST" if fields else "GET"
                    wire.send(get("/", self.gateway.port, method=method, fields=fields) + b"half" * bool(fields))
                    self.assertTrue(there.wait(10))
                    if stage == "downloading":
                        wire.final_head()
                    getattr(wire, how)()
                    self.assertTrue(gone.wait(10), "the upstream was not told")
                    upstream.stop()

    def test_the_upstream_that_dies_under_load_fails_only_what_it_had(self):
        """Twenty clients, the upstream is restarted ten times; every answer is whole or an honest 502, and all is well after."""
        body = b"z" * 50_000
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

        def serve(wire):
            while True:
                wire.head()
                wire.send(answer)

        over, wrong, good = threading.Event(), [], [0]

        def visit():
            while not over.is_set():
                with contextlib.suppress(Closed, OSError), Wire.to(self.gateway.port) as wire:
                    while not over.is_set():
                        head, got = self.ask(wire)
                        if head.status == 200 and got == body:
                            good[0] += 1
                        elif head.status != 502:
                            wrong.append((head.status, len(got)))

        visitors = [threading.Thread(target=visit, daemon=True) for _ in range(20)]
        for visitor in visitors:
            visitor.start()
        for _ in range(10):
            before = good[0]
            upstream = self.upstream(serve)
            wait_until(lambda before=before: good[0] > before + 20, "answers after a restart")
            upstream.stop()
        over.set()
        for visitor in visitors:
            visitor.join(20)
        self.assertEqual(wrong, [])
        self.upstream(serve)
        self.assertEqual(self.ask(self.wire())[0].status, 200)
