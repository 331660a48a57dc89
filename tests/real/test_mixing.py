"""Two users through one gateway, on shared connections, while upstreams go away and come back and clients leave in mid-answer: nobody
ever gets a byte that was meant for somebody else."""

import collections
import contextlib
import random
import signal
import threading
import time
import unittest

import h2.events
import h2.exceptions

from authority import Authority
from harness import Folder, Gateway, free_port, wait_until
from http2 import Http2
from peers import start_nginx
from wire import Closed, RawUpstream, Wire

HOST = "app.test"
SECONDS = 12
# An answer is its user's name, so often.
TIMES = 4000


def serve(wire):
    """Answers with the user's name, in pieces, by length or in chunks; now and then it dies in the middle."""
    chance = random.Random(id(wire))
    while True:
        head = wire.head()
        word = (head.get("Remote-User") or "nobody").encode() + b" "
        length = int(head.get("Content-Length") or 0)
        sent = wire.exactly(length)
        if sent.strip(word.strip()):
            WRONG.append(f"an upload of {word} held {sent[:40]}")
        chunked = chance.random() < 0.5
        wire.send(b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (len(word) * TIMES)))
        wire.send(b"\r\n\r\n")
        for _ in range(10):
            if chance.random() < 0.01:
                return
            piece = word * (TIMES // 10)
            wire.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            wire.send(b"0\r\n\r\n")


WRONG = []


class Mixing(unittest.TestCase):
    def setUp(self):
        self.folder = Folder()
        self.addCleanup(self.folder.remove)
        path = self.folder.path
        authority = Authority(path)
        authority.sign("front", HOST)
        self.trust = authority.file
        self.ports = {"h1": free_port(), "h2": free_port()}
        self.nginx = 0
        self.tls_port = free_port()
        routes = "".join(
            f'[[routes]]\npath = "/{name}"\nupstream = ["{"h2c" if name == "h2" else "http"}://127.0.0.1:{port}"]\n\n'
            for name, port in self.ports.items()
        )
        self.gateway = Gateway(
            path,
            f"[tls]\ncertificates = [{authority.toml('front')}]\n\n{routes}",
            server='grace_period = "1s"',
            listeners=[f'{{ address = "127.0.0.1:{self.tls_port}", tls = true }}'],
        )
        self.addCleanup(self.gateway.stop)
        self.gateway.start()
        self.cookies = {user: self.gateway.client().log_in_at(HOST, user) for user in ("alice", "bob")}
        self.seen, self.over = collections.Counter(), threading.Event()
        WRONG.clear()

    def start_http2(self):
        """An nginx that speaks HTTP/2 by prior knowledge and answers with the user's name."""
        self.nginx += 1
        words = f"set $few '{'$http_remote_user ' * 20}'; set $many '{'$few' * 20}'; return 200 $many;"
        server = f"server {{ listen 127.0.0.1:{self.ports['h2']} http2; location / {{ {words} }} }}"
        return start_nginx(self, self.folder.path, server, self.ports["h2"], f"nginx-{self.nginx}")

    def check(self, user, body, what):
        """Whatever came, whole or cut, is the name of `user` alone."""
        name = user.encode() + b" "
        if body != (name * (len(body) // len(name) + 1))[: len(body)]:
            WRONG.append(f"{user} got {body[:60]!r} ({what})")
        self.seen[f"{what} {user}"] += 1

    def visit_by_http1(self, number):
        """Keeps a connection, and changes the user on it."""
        chance = random.Random(number)
        while not self.over.is_set():
            with contextlib.suppress(OSError), Wire.to(self.gateway.port) as wire:
                whole = True
                while whole and not self.over.is_set():
                    user = chance.choice(list(self.cookies))
                    body = user.encode() * chance.choice((0, 0, 10))
                    method = "POST" if body else "GET"
                    path = chance.choice(("/h1", "/h1", "/h2"))
                    wire.send(
                        f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {self.cookies[user]}\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n".encode() + body
                    )
                    try:
                        head, _ = wire.final_head()
                    except Closed as closed:
                        WRONG.append(f"no answer to {method} {path} of {user}: {closed.got!r}")
                        break
                    if chance.random() < 0.1:
                        break
                    try:
                        got = wire.body(head)
                    except Closed as closed:
                        got, whole = closed.got, False
                    whole = whole and head.get("Connection") != "close"
                    if head.status == 200:
                        self.check(user, got, "h1")

    def visit_by_http2(self, number):
        """Both users on one connection, several streams at a time, some of them reset."""
        chance = random.Random(number)
        while not self.over.is_set():
            with contextlib.suppress(OSError, h2.exceptions.ProtocolError), Http2(self.tls_port, self.trust, HOST) as connection:
                while not self.over.is_set():
                    streams = {}
                    for _ in range(6):
                        user = chance.choice(list(self.cookies))
                        path = chance.choice(("/h1", "/h2"))
                        streams[connection.request(HOST, path, fields=[("cookie", self.cookies[user])])] = user
                    for stream in list(streams):
                        if chance.random() < 0.1:
                            connection.h2.reset_stream(stream, 8)
                            connection.flush()
                    self.read_all(connection, streams)

    def read_all(self, connection, streams):
        bodies, status, left = collections.defaultdict(bytes), {}, set(streams)
        ends = (h2.events.StreamEnded, h2.events.StreamReset)
        deadline = time.monotonic() + 10
        while left and time.monotonic() < deadline:
            events, connection.events = connection.events, []
            for event in events:
                number = getattr(event, "stream_id", None)
                if isinstance(event, h2.events.ResponseReceived):
                    status[number] = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    bodies[number] += event.data
                elif isinstance(event, ends):
                    left.discard(number)
            # A stream that we have reset ourselves is told of no more.
            left -= {number for number in left if connection.h2._stream_closed_by(number) is not None}  # noqa: SLF001
            if left and not connection.read_more(10):
                break
        for number, user in streams.items():
            if status.get(number) == "200":
                self.check(user, bodies[number], "h2")

    def test_nobody_gets_a_byte_of_somebody_else(self):
        visitors = [threading.Thread(target=self.visit_by_http1, args=(number,), daemon=True) for number in range(6)]
        visitors += [threading.Thread(target=self.visit_by_http2, args=(number,), daemon=True) for number in range(3)]
        raw, nginx = RawUpstream(serve, self.ports["h1"]), self.start_http2()
        for visitor in visitors:
            visitor.start()
        restarts, ends = 0, time.monotonic() + SECONDS
        while time.monotonic() < ends:
            before = self.seen.total()
            wait_until(lambda before=before: self.seen.total() > before + 40, "answers after a restart")
            raw.stop()
            raw = RawUpstream(serve, self.ports["h1"])
            if restarts % 4 == 0:
                nginx.child.send_signal(signal.SIGKILL)
                nginx.stop()
                nginx = self.start_http2()
            restarts += 1
        self.over.set()
        for visitor in visitors:
            visitor.join(30)
        raw.stop()
        print(f"\n  {dict(self.seen)} answers, {restarts} restarts of upstreams: {len(WRONG)} mixed up", flush=True)
        self.assertEqual(WRONG[:5], [])
        self.assertEqual(set(self.seen), {f"{way} {user}" for way in ("h1", "h2") for user in self.cookies})
