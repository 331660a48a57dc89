"""A logout closes what the session has open, within a second: WebSockets, event streams, downloads, uploads, gRPC streams; over
HTTP/1.1 and over HTTP/2. What others have open goes on."""

import collections
import contextlib
import threading
import time
import unittest

import grpc
import h2.events

import frames
from authority import Authority
from harness import Folder, Gateway, Process, accepts, free_port, wait_until
from http2 import Http2
from test_grpc import start_grpc
from test_websocket import SERVERS, handshake, server_frame
from wire import Closed, RawUpstream, Wire

# The promise, in seconds.
BOUND = 1.0
HOST = "app.test"
# Path of an upload → set when the upstream has seen its end.
UPLOADS = collections.defaultdict(threading.Event)


def serve(wire):
    """An event every 20 ms for ever, a download without an end, or an upload that is read without an end."""
    head = wire.head()
    path = head.first.split()[1]
    if path == b"/events":
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            wire.send(b"c\r\ndata: tick\n\n\r\n")
            time.sleep(0.02)
    if path == b"/silent":
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n")
        wire.rest()
    if path == b"/download":
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            wire.send(b"x" * 65536)
    if path.startswith(b"/upload"):
        with contextlib.suppress(OSError):
            while wire.more():
                pass
        UPLOADS[path.decode()].set()
    if path == b"/wait":
        wire.rest()


class Revocation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        cls.authority = Authority(path)
        cls.authority.sign("front", HOST, "127.0.0.1")
        cls.echo, log = free_port(), path / "echo.log"
        process = Process(SERVERS["ws"](cls.echo), log)
        cls.addClassCleanup(process.stop)
        wait_until(lambda: accepts(cls.echo), "ws", process=process.child, log=log)
        cls.echo_log = log
        calls, cls.grpc_log = start_grpc(cls, path, "plain")
        raw = RawUpstream(serve)
        cls.addClassCleanup(raw.stop)
        cls.tls_port = free_port()
        cls.gateway = Gateway(
            path,
            f"""[tls]
certificates = [{cls.authority.toml("front")}]

[[routes]]
path = "/"
upstream = ["http://127.0.0.1:{raw.port}"]

[[routes]]
path = "/echo"
upstream = ["http://127.0.0.1:{cls.echo}"]

[[routes]]
path = "/test.Peer"
upstream = ["h2c://127.0.0.1:{calls}"]
""",
            # What bob has open at the end is not waited for.
            server='grace_period = "1s"',
            listeners=[f'{{ address = "127.0.0.1:{cls.tls_port}", tls = true }}'],
        )
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()

    def setUp(self):
        self.alice, self.bob = (self.gateway.client().log_in_at(HOST, user) for user in ("alice", "bob"))

    def end(self, cookie):
        """Logs out; gives the moment before it was asked for."""
        began = time.monotonic()
        with Wire.to(self.gateway.port) as wire:
            head, _ = wire.ask(
                f"POST /_auth/logout HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n".encode()
            )
        self.assertEqual(head.status, 303)
        return began

    def wire(self, path, cookie, method="GET", fields=()):
        wire = Wire.to(self.gateway.port)
        self.addCleanup(wire.close)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Cookie: {cookie}", *fields, "", ""]
        wire.send("\r\n".join(lines).encode())
        return wire

    def web_socket(self, cookie):
        wire = Wire.to(self.gateway.port)
        self.addCleanup(wire.close)
        wire.send(handshake("/echo", HOST, f"Origin: http://{HOST}", f"Cookie: {cookie}"))
        self.assertEqual(wire.final_head()[0].status, 101)
        wire.send(frames.frame(frames.TEXT, b"open"))
        self.assertEqual(server_frame(wire), b"\x81\x04open")
        return wire

    def open_all(self, cookie):
        """name → a function that returns when that stream has ended, or raises when it ended as if it were whole."""
        opened = {"WebSocket": self.until_closed(self.web_socket(cookie))}
        for name, path in (("event stream", "/events"), ("silent event stream", "/silent"), ("download", "/download")):
            wire = self.wire(path, cookie)
            self.assertEqual(wire.final_head()[0].status, 200)
            self.assertTrue(wire.more())
            opened[name] = self.until_closed(wire)
        path = f"/upload-{len(UPLOADS)}"
        gone, upload = UPLOADS[path], self.wire(path, cookie, "POST", ("Content-Length: 1000000000000",))
        threading.Thread(target=self.send_on, args=(upload,), daemon=True).start()
        opened["upload"] = lambda: self.assertIn(upload.final_head()[0].status, (401, 303))
        opened["upload, at the upstream"] = lambda: self.assertTrue(gone.wait(20))
        waiting = self.wire("/wait", cookie)
        opened["request that waits"] = lambda: self.assertIn(waiting.final_head()[0].status, (401, 303))
        opened |= self.open_over_http2(cookie)
        return opened

    def until_closed(self, wire):
        def wait():
            with contextlib.suppress(ConnectionResetError):
                while wire.more():
                    pass

        return wait

    def send_on(self, wire):
        with contextlib.suppress(OSError, Closed):
            while True:
                wire.send(b"x" * 65536)

    def open_over_http2(self, cookie):
        opened = {}
        for name, path in (("event stream, h2", "/events"), ("silent event stream, h2", "/silent"), ("download, h2", "/download")):
            connection = Http2(self.tls_port, self.authority.file, HOST)
            self.addCleanup(connection.close)
            number = connection.request(HOST, path, fields=[("cookie", cookie)])
            self.assertEqual(dict(connection.wait_for(h2.events.ResponseReceived, number).headers)[":status"], "200")
            opened[name] = lambda connection=connection, number=number: self.assertIsInstance(
                connection.wait_for((h2.events.StreamReset, h2.events.StreamEnded), number), h2.events.StreamReset
            )
        connection = Http2(self.tls_port, self.authority.file, HOST)
        self.addCleanup(connection.close)
        number = connection.connect(HOST, "/echo", "websocket", self.web_socket_fields(cookie))
        self.assertEqual(dict(connection.wait_for(h2.events.ResponseReceived, number).headers)[":status"], "200")
        opened["WebSocket, h2"] = lambda: connection.wait_for((h2.events.StreamReset, h2.events.StreamEnded), number)
        trust = grpc.ssl_channel_credentials(self.authority.file.read_bytes())
        channel = grpc.secure_channel(
            f"127.0.0.1:{self.tls_port}", trust, [("grpc.default_authority", HOST), ("grpc.ssl_target_name_override", HOST)]
        )
        self.addCleanup(channel.close)
        call = channel.unary_stream("/test.Peer/Tick")(b"x", timeout=60, metadata=[("cookie", cookie)])
        self.assertEqual(next(call), b"x")

        def until_failed():
            with contextlib.suppress(grpc.RpcError):
                for _ in call:
                    pass
                raise AssertionError("the call ended as if it were whole")

        opened["gRPC stream"] = until_failed
        return opened

    def web_socket_fields(self, cookie):
        return [("cookie", cookie), ("origin", f"https://{HOST}"), ("sec-websocket-version", "13")]

    def test_a_logout_closes_everything_the_session_has_open_within_a_second(self):
        mine, others = self.open_all(self.alice), self.open_all(self.bob)
        ended, wrong = {}, []

        def watch(name, wait, into):
            try:
                wait()
                into[name] = time.monotonic()
            except Exception as error:
                wrong.append(f"{name}: {error!r}")

        kept = {}
        for streams, into in ((mine, ended), (others, kept)):
            for name, wait in streams.items():
                threading.Thread(target=watch, args=(name, wait, into), daemon=True).start()
        began = self.end(self.alice)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: len(ended) + len(wrong) >= len(mine), "all ends", 5)
        figures = {name: ended[name] - began if name in ended else None for name in mine}
        print("\n  closed after a logout: " + ", ".join(f"{n} {t:.2f} s" if t else f"{n} NOT" for n, t in figures.items()), flush=True)
        self.assertEqual(wrong, [])
        self.assertEqual([name for name, took in figures.items() if took is None or took > BOUND], [])
        self.assertEqual(kept, {}, "streams of another user were closed too")

    def test_the_server_of_a_closed_websocket_is_told(self):
        wire = self.web_socket(self.alice)
        closed = self.echo_log.read_text().count("close /echo")
        self.end(self.alice)
        self.assertTrue(wire.ended(5))
        wait_until(lambda: self.echo_log.read_text().count("close /echo") > closed, "the end at the server")

    def test_a_websocket_of_an_ended_session_cannot_be_opened_again(self):
        self.web_socket(self.alice)
        self.end(self.alice)
        wire = Wire.to(self.gateway.port)
        self.addCleanup(wire.close)
        wire.send(handshake("/echo", HOST, f"Origin: http://{HOST}", f"Cookie: {self.alice}"))
        self.assertEqual(wire.final_head()[0].status, 401)


