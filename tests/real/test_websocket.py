"""WebSockets through the gateway: every frame that the generator makes is answered byte for byte as by the server itself, for two
servers that have nothing in common; and who may open one."""

import base64
import contextlib
import hashlib
import pathlib
import socket
import threading
import unittest

import frames
from harness import VENV, Folder, Gateway, Process, accepts, free_port, wait_until
from peers import program
from wire import Closed, RawUpstream, Wire

HERE = pathlib.Path(__file__).resolve().parent
KEY = base64.b64encode(b"sixteen bytes ok").decode()


def accept_of(key):
    """What proves that a server has read `key` (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


ACCEPT = accept_of(KEY)
SERVERS = {
    "ws": lambda port: [program("node"), HERE / "node/websocket_echo.mjs", port],
    "websockets": lambda port: [VENV / "bin/python", HERE / "websocket_echo.py", port],
}
# What the two answers to the handshake must share.
AGREED = ("Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")


def start_servers(test, folder):
    """Both echo servers: name → (port, log)."""
    started = {}
    for name, argv in SERVERS.items():
        port, log = free_port(), folder / f"{name}.log"
        process = Process(argv(port), log)
        test.addClassCleanup(process.stop)
        wait_until(lambda port=port: accepts(port), name, process=process.child, log=log)
        started[name] = (port, log)
    return started


def handshake(path, host, *fields):
    """The bytes of an opening handshake."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}"]
    return "\r\n".join([*lines, "Sec-WebSocket-Version: 13", *fields]).encode() + b"\r\n\r\n"


def server_frame(wire):
    """The bytes of one frame from a server."""
    head = wire.exactly(2)
    size, more = head[1] & 0x7F, b""
    assert not head[1] & 0x80, "a server masks nothing"
    if size > 125:
        more = wire.exactly(2 if size == 126 else 8)
        size = int.from_bytes(more, "big")
    return head + more + wire.exactly(size)


class Rig(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        cls.servers = start_servers(cls, cls.folder.path)
        routes = [
            f'[[routes]]\nhost = "{name}.test"\nupstream = ["http://127.0.0.1:{port}"]\n' for name, (port, _) in cls.servers.items()
        ]
        routes.append(
            f'[[routes]]\nhost = "open.test"\naccess = "public"\nupstream = ["http://127.0.0.1:{cls.servers["ws"][0]}"]\n'
        )
        cls.raw_port = free_port()
        routes.append(f'[[routes]]\nhost = "raw.test"\nupstream = ["http://127.0.0.1:{cls.raw_port}"]\n')
        cls.gateway = Gateway(cls.folder.path, "\n".join(routes))
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()
        cls.alice = cls.gateway.client().log_in_at("open.test", "alice")

    def fields(self, server):
        return (f"Origin: http://{server}.test", f"Cookie: {self.alice}")

    def open(self, port, server, *fields, path="/"):
        """An open WebSocket, and the head that opened it."""
        wire = Wire.to(port)
        self.addCleanup(wire.close)
        wire.send(handshake(path, f"{server}.test", *self.fields(server), *fields))
        head, _ = wire.final_head()
        self.assertEqual(head.status, 101, head.raw)
        self.assertEqual(head.get("Sec-WebSocket-Accept"), ACCEPT)
        return wire, head

    def wait_for(self, server, said):
        """Waits until the server has printed a line `said`."""
        log = self.servers[server][1]
        wait_until(lambda: said in log.read_text().splitlines(), f"{server}: {said}")


class Frames(Rig):
    def answer(self, port, server, steps, fields=(), chopped=False):
        """What comes back for `steps`, and how it ended."""
        wire, _ = self.open(port, server, *fields)
        came = b""
        with wire, contextlib.suppress(Closed, ConnectionResetError, BrokenPipeError):
            for data, count in steps:
                if chopped:
                    wire.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for at in range(len(data)):
                        wire.send(data[at : at + 1])
                else:
                    wire.send(data)
                if count == frames.HALF_CLOSE:
                    wire.stream.shutdown(socket.SHUT_WR)
                if count < 0:
                    while data := wire.more():
                        came += data
                for _ in range(count):
                    came += server_frame(wire)
        return came

    def compare(self, cases, fields=(), chopped=False):
        for server, (port, _) in self.servers.items():
            for name, steps in cases.items():
                with self.subTest(name, server=server):
                    straight = self.answer(port, server, steps, fields, chopped)
                    through = self.answer(self.gateway.port, server, steps, fields, chopped)
                    if straight != through:
                        self.fail(f"straight {len(straight)} {straight[:80]!r}, through {len(through)} {through[:80]!r}")

    def test_every_kind_of_frame_is_answered_byte_for_byte_as_by_the_server_itself(self):
        self.compare(frames.plain_cases())

    def test_compressed_messages_are_answered_byte_for_byte_as_by_the_server_itself(self):
        for offer in (
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover",
        ):
            with self.subTest(offer):
                self.compare(frames.deflate_cases(), (f"Sec-WebSocket-Extensions: {offer}",))

    def test_frames_in_pieces_of_one_byte_are_answered_alike(self):
        few = {name: steps for name, steps in frames.plain_cases().items() if sum(len(data) for data, _ in steps) < 600}
        self.assertGreater(len(few), 80)
        self.compare(few, chopped=True)

    def test_the_answer_to_the_handshake_is_the_servers_own(self):
        for server, (port, _) in self.servers.items():
            for fields in (
                (),
                ("Sec-WebSocket-Protocol: chat.v1, chat.v2",),
                ("Sec-WebSocket-Protocol: nothing",),
                ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",),
                ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10, x-other; a=1",),
                ("Sec-WebSocket-Extensions: x-unknown", "Sec-WebSocket-Protocol: chat.v2"),
            ):
                with self.subTest(fields, server=server):
                    answers = []
                    for to in (port, self.gateway.port):
                        wire = Wire.to(to)
                        self.addCleanup(wire.close)
                        wire.send(handshake("/", f"{server}.test", *self.fields(server), *fields))
                        head, _ = wire.final_head()
                        answers.append((head.status, [[v.lower() for v in head.all(name)] for name in AGREED]))
                    self.assertEqual(answers[1], answers[0])

    def answer_to(self, port, request):
        """Status and body; 502 where the server hangs up on it, which is 502 here."""
        with Wire.to(port) as wire:
            wire.send(request)
            try:
                head, _ = wire.final_head()
                return head.status, wire.body(head)
            except Closed:
                return 502, b""

    def test_a_refused_handshake_is_the_servers_own_answer(self):
        for server, (port, _) in self.servers.items():
            with self.subTest(server=server):
                request = handshake("/", f"{server}.test", *self.fields(server)).replace(b"Version: 13", b"Version: 12")
                straight, through = (self.answer_to(to, request) for to in (port, self.gateway.port))
                if straight[0] == 502:
                    self.assertEqual(through[0], 502)
                else:
                    self.assertEqual(through, straight)

    def test_a_handshake_without_a_key_is_answered_as_the_ordinary_request_that_it_is(self):
        for server, (port, _) in self.servers.items():
            ordinary = f"GET / HTTP/1.1\r\nHost: {server}.test\r\nCookie: {self.alice}\r\n\r\n".encode()
            expected = self.answer_to(port, ordinary)[0]
            for was, becomes in ((KEY.encode(), b"short"), (b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n", b"")):
                with self.subTest(becomes, server=server):
                    request = handshake("/", f"{server}.test", *self.fields(server)).replace(was, becomes)
                    self.assertEqual(self.answer_to(self.gateway.port, request)[0], expected)

    def test_another_method_than_get_opens_nothing(self):
        for server in self.servers:
            with self.subTest(server), Wire.to(self.gateway.port) as wire:
                wire.send(handshake("/", f"{server}.test", *self.fields(server)).replace(b"GET ", b"POST "))
                self.assertNotEqual(wire.final_head()[0].status, 101)

    def test_frames_right_behind_the_handshake_arrive_too(self):
        for server, (port, _) in self.servers.items():
            with self.subTest(server):
                sent = handshake("/", f"{server}.test", *self.fields(server)) + frames.frame(frames.TEXT, b"early")
                for to in (port, self.gateway.port):
                    with Wire.to(to) as wire:
                        wire.send(sent)
                        self.assertEqual(wire.final_head()[0].status, 101)
                        self.assertEqual(server_frame(wire), b"\x81\x05early")


class Ends(Rig):
    def test_an_abort_of_the_client_reaches_the_server(self):
        for server in self.servers:
            with self.subTest(server):
                wire, _ = self.open(self.gateway.port, server, path="/abort")
                self.wait_for(server, "open /abort user=alice")
                wire.abort()
                self.wait_for(server, "close /abort 1006")

    def test_a_half_close_of_the_client_reaches_the_server(self):
        for server in self.servers:
            with self.subTest(server):
                wire, _ = self.open(self.gateway.port, server, path="/half")
                wire.stream.shutdown(socket.SHUT_WR)
                self.wait_for(server, "close /half 1006")
                self.assertTrue(wire.ended())

    def test_an_abort_of_the_server_reaches_the_client(self):
        for server in self.servers:
            with self.subTest(server):
                wire, _ = self.open(self.gateway.port, server)
                wire.send(frames.frame(frames.TEXT, b"please terminate"))
                self.assertTrue(wire.ended())

    def raw_upstream(self, serve):
        upstream = RawUpstream(serve, self.raw_port)
        self.addCleanup(upstream.stop)
        return upstream

    def test_each_direction_ends_by_itself(self):
        """A half-close is no close: the other direction goes on."""
        for first in ("client", "server"):
            with self.subTest(first):
                told = threading.Event()

                def serve(wire, first=first, told=told):
                    proof = accept_of(wire.head().get("Sec-WebSocket-Key"))
                    head = f"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
                    wire.send(head.encode())
                    if first == "client":
                        self.assertEqual(wire.rest(), b"all of mine")
                        wire.send(b"and all of yours")
                    else:
                        wire.send(b"and all of yours")
                        wire.stream.shutdown(socket.SHUT_WR)
                        self.assertEqual(wire.rest(), b"all of mine")
                    told.set()

                upstream = self.raw_upstream(serve)
                wire = Wire.to(self.gateway.port)
                wire.send(handshake("/", "raw.test", *self.fields("raw")))
                self.assertEqual(wire.final_head()[0].status, 101)
                if first == "server":
                    self.assertEqual(wire.rest(), b"and all of yours")
                wire.send(b"all of mine")
                wire.stream.shutdown(socket.SHUT_WR)
                if first == "client":
                    self.assertEqual(wire.rest(), b"and all of yours")
                self.assertTrue(told.wait(10))
                wire.close()
                upstream.stop()

    def test_not_a_byte_of_the_client_arrives_before_the_101_of_the_upstream(self):
        early, answer = [], threading.Event()

        def serve(wire):
            wire.head()
            wire.stream.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                early.append(wire.more())
            answer.set()
            wire.stream.settimeout(10)
            wire.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
            with contextlib.suppress(TimeoutError):
                early.append(wire.rest())

        self.raw_upstream(serve)
        wire = Wire.to(self.gateway.port)
        self.addCleanup(wire.close)
        evil = b"GET /evil HTTP/1.1\r\nHost: raw.test\r\n\r\n"
        wire.send(handshake("/", "raw.test", *self.fields("raw")) + frames.frame(frames.TEXT, evil))
        head, _ = wire.final_head()
        self.assertEqual((head.status, wire.body(head)), (403, b"no"))
        wire.close()
        self.assertTrue(answer.wait(10))
        self.assertEqual(b"".join(early), b"")

    def test_an_upgrade_to_h2c_does_not_arrive(self):
        heads = []

        def serve(wire):
            heads.append(wire.head())
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        self.raw_upstream(serve)
        with Wire.to(self.gateway.port) as wire:
            head, _ = wire.ask(
                f"GET / HTTP/1.1\r\nHost: raw.test\r\nCookie: {self.alice}\r\nUpgrade: h2c\r\n"
                "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n".encode()
            )
        self.assertEqual(head.status, 200)
        self.assertEqual((heads[0].get("Upgrade"), heads[0].get("HTTP2-Settings")), (None, None))


class Access(Rig):
    def status(self, server, *fields):
        with Wire.to(self.gateway.port) as wire:
            wire.send(handshake("/access", f"{server}.test", *fields))
            return wire.final_head()[0].status

    def test_a_foreign_origin_is_403_and_the_own_one_is_let_in(self):
        cookie = f"Cookie: {self.alice}"
        for server in self.servers:
            with self.subTest(server):
                for origin in (
                    "http://evil.test", f"http://{server}.test.evil.test", f"http://evil.{server}.test", "null", "file://",
                    f"http://{server}.test:81", f"http://{server}.test@evil.test",
                ):  # fmt: skip
                    self.assertEqual(self.status(server, cookie, f"Origin: {origin}"), 403, origin)
                self.assertEqual(self.status(server, cookie, f"Origin: http://{server}.test"), 101)

    def test_without_a_session_it_is_401(self):
        for server in self.servers:
            with self.subTest(server):
                origin = f"Origin: http://{server}.test"
                self.assertEqual(self.status(server, origin), 401)
                self.assertEqual(self.status(server, origin, "Cookie: fluidgate=v1.0.x.y"), 401)

    def test_a_public_route_opens_one_for_everybody(self):
        self.assertEqual(self.status("open", "Origin: http://open.test"), 101)

    def test_the_server_learns_who_it_is_and_no_forged_name(self):
        for server in self.servers:
            with self.subTest(server):
                self.open(self.gateway.port, server, "Remote-User: mallory", "remote_user: mallory", path="/who")
                self.wait_for(server, "open /who user=alice")

