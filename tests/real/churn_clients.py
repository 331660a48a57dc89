"""Clients of the churn: several users on each connection, who upload, read, break off, cancel, and judge every byte that they get."""

import collections
import contextlib
import itertools
import os
import random
import ssl
import threading
import time

import h2.events
import h2.exceptions

from http2 import Http2
from wire import Closed, Wire

HOST = "app.test"
# So long a client waits for anything.
PATIENCE = 20


def told(marker, where):
    """What the answer says over and over: nginx adds the identity that it was given."""
    return f"{marker} ".encode() if where == "h1" else f"{marker.split('.')[0]} {marker} ".encode()


class Clients:
    """All clients of one process. `seen` counts what became of requests, `wrong` holds what nobody may get."""

    def __init__(self, port, tls_port, trust, cookies, seed):
        self.port, self.tls_port, self.trust, self.cookies, self.seed = port, tls_port, trust, cookies, seed
        self.serial = itertools.count(1)
        self.seen, self.wrong, self.over = collections.Counter(), [], threading.Event()
        self.context = ssl.create_default_context(cafile=str(trust))
        self.context.set_alpn_protocols(["http/1.1"])

    def run(self, seconds):
        kinds = [self.by_text] * 4 + [self.by_tls] * 2 + [self.by_frames] * 2 + [self.tunnel, self.tunnel_by_frames, self.events]
        threads = [
            threading.Thread(target=self.keep_on, args=(kind, random.Random(f"{self.seed} {number}")), daemon=True)
            for number, kind in enumerate(kinds)
        ]
        for thread in threads:
            thread.start()
        self.over.wait(seconds)
        self.over.set()
        for thread in threads:
            thread.join(PATIENCE + 10)
        if any(thread.is_alive() for thread in threads):
            self.wrong.append("a client does not come to an end")
        return self.seen, self.wrong

    def keep_on(self, kind, chance):
        while not self.over.is_set():
            # A connection that broke: the next one.
            with contextlib.suppress(OSError, Closed, h2.exceptions.ProtocolError):
                kind(chance)

    def marker(self, chance):
        user = chance.choice(list(self.cookies))
        return user, f"{user}.{os.getpid()}x{next(self.serial)}"

    def fields(self, user, marker):
        return [("X-Marker", marker), ("Cookie", f"marker={marker}; {self.cookies[user]}")]

    def judge(self, user, marker, head, where):
        """The fields of an answer: those of this request, and nobody else's whatever the status."""
        raw, others = repr(head), [other for other in self.cookies if other != user]
        if any(f"{other}." in raw for other in others):
            self.wrong.append(f"{marker} got the head {raw[:300]}")
        named = [value for name, value in head if name.lower() in ("x-marker", "set-cookie")]
        if where == "h1" and any(value not in (marker, f"last={marker}") for value in named):
            self.wrong.append(f"{marker} got {named}")

    def judge_body(self, marker, body, where, what):
        word = told(marker, where)
        if body != (word * (len(body) // len(word) + 1))[: len(body)]:
            self.wrong.append(f"{marker} got {body[:200]!r} ({what})")

    def judge_failure(self, user, body):
        if any(f"{other}.".encode() in body for other in self.cookies):
            self.wrong.append(f"{user} got the page {body[:300]!r}")

    # HTTP/1.1, in clear text and by TLS.

    def by_tls(self, chance):
        wire = Wire.to(self.tls_port)
        wire.stream = self.context.wrap_socket(wire.stream, server_hostname=HOST)
        self.on_a_connection(wire, chance, "tls")

    def by_text(self, chance):
        self.on_a_connection(Wire.to(self.port), chance, "h1")

    def on_a_connection(self, wire, chance, protocol):
        """Several requests of several users, one behind the other or two at once, until one breaks off."""
        with wire:
            while not self.over.is_set():
                asked = [self.ask(wire, chance) for _ in range(chance.choice((1, 1, 1, 2)))]
                if any(whole is None for whole in asked):
                    self.seen[f"{protocol}: vanished within a body"] += 1
                    return
                for one in asked:
                    if not self.take(wire, chance, protocol, *one):
                        return

    def ask(self, wire, chance):
        """Sends a request; None when it was left in the middle."""
        user, marker = self.marker(chance)
        where = chance.choice(("h1", "h1", "h2"))
        body = f"{marker} ".encode() * chance.choice((0, 0, 1, 3000))
        chunked = body and chance.random() < 0.5
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        lines = [f"{name}: {value}" for name, value in self.fields(user, marker)]
        method = "POST" if body else "GET"
        head = "\r\n".join([f"{method} /{where}/plain/{marker} HTTP/1.1", f"Host: {HOST}", framing, *lines]).encode() + b"\r\n\r\n"
        sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        if body and chance.random() < 0.1:
            wire.send(head + sent[: len(sent) // 2])
            wire.abort() if chance.random() < 0.5 else wire.close()
            return None
        wire.send(head + sent)
        return user, marker, where, method

    def take(self, wire, chance, protocol, user, marker, where, method):
        """Takes the answer; gives whether the connection goes on."""
        try:
            head, _ = wire.final_head()
        except Closed as closed:
            # An upstream that answered before the body had come, and went away, ends the connection: what was sent along behind it
            # has no answer then.
            self.seen[f"{protocol}: no answer"] += 1
            if closed.got:
                self.wrong.append(f"half a head for {method} {where} of {marker}: {closed.got!r}")
            return False
        self.judge(user, marker, head.fields, where if head.status == 200 else None)
        if chance.random() < 0.08:
            self.seen[f"{protocol}: vanished within an answer"] += 1
            return wire.abort() if chance.random() < 0.5 else False
        try:
            got, whole = wire.body(head), True
        except Closed as closed:
            got, whole = closed.got, False
        if head.status == 200:
            self.judge_body(marker, got, where, protocol)
            self.seen[f"{protocol}: {'whole' if whole else 'cut'}"] += 1
        else:
            self.judge_failure(user, got)
            self.seen[f"{protocol}: {head.status}"] += 1
        return whole and head.get("Connection") != "close"

    def events(self, chance):
        """Reads a stream of events, often not to its end."""
        user, marker = self.marker(chance)
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.fields(user, marker))
        with Wire.to(self.port) as wire:
            wire.send(f"GET /h1/sse/{marker} HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n{lines}\r\n".encode())
            head, _ = wire.final_head()
            self.judge(user, marker, head.fields, "h1" if head.status == 200 else None)
            if head.status != 200:
                self.seen[f"events: {head.status}"] += 1
                return
            got, whole = b"", False
            with contextlib.suppress(Closed):
                while size := int(wire.until(b"\r\n"), 16):
                    got += wire.exactly(size)
                    wire.until(b"\r\n")
                    if chance.random() < 0.05:
                        break
                else:
                    whole = True
            self.judge_body(marker, got, "h1", "events")
            self.seen[f"events: {'whole' if whole else 'cut or left'}"] += 1

    # Tunnels.

    def tunnel(self, chance):
        user, marker = self.marker(chance)
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.fields(user, marker))
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        with Wire.to(self.port) as wire:
            wire.send(
                f"GET /h1/ws/{marker} HTTP/1.1\r\nHost: {HOST}\r\nOrigin: http://{HOST}\r\nConnection: Upgrade\r\n"
                f"Upgrade: websocket\r\n{key}{lines}\r\n".encode()
            )
            head, _ = wire.final_head()
            self.judge(user, marker, head.fields, None)
            if head.status != 101:
                self.seen[f"tunnel: {head.status}"] += 1
                return
            got = b""
            with contextlib.suppress(OSError):
                for _ in range(chance.choice((1, 5, 50))):
                    wire.send(f"{marker} ".encode() * 3)
                    data = wire.more()
                    got += data
                    if not data:
                        break
            self.judge_body(marker, got, "h1", "tunnel")
            self.seen["tunnel: joined"] += 1
            if chance.random() < 0.5:
                wire.abort()

    def tunnel_by_frames(self, chance):
        with Http2(self.tls_port, self.trust, HOST) as connection:
            for _ in range(10):
                user, marker = self.marker(chance)
                fields = [(name.lower(), value) for name, value in self.fields(user, marker)]
                number = connection.connect(HOST, f"/h1/ws/{marker}", "websocket", [("origin", f"https://{HOST}"), *fields])
                head = connection.wait_for((h2.events.ResponseReceived, h2.events.StreamReset), number)
                if not isinstance(head, h2.events.ResponseReceived) or dict(head.headers)[":status"] != "200":
                    self.seen["tunnel by frames: not joined"] += 1
                    continue
                got = b""
                for _ in range(chance.choice((1, 5, 20))):
                    connection.send(number, f"{marker} ".encode() * 3)
                    event = connection.wait_for((h2.events.DataReceived, h2.events.StreamEnded, h2.events.StreamReset), number)
                    if not isinstance(event, h2.events.DataReceived):
                        break
                    got += event.data
                else:
                    connection.h2.reset_stream(number, 8)
                    connection.flush()
                self.judge_body(marker, got, "h1", "tunnel by frames")
                self.seen["tunnel by frames: joined"] += 1

    # HTTP/2.

    def by_frames(self, chance):
        """Several streams of several users at a time, with bodies, some of them cancelled at some point."""
        with Http2(self.tls_port, self.trust, HOST) as connection:
            while not self.over.is_set():
                streams = dict(self.open_stream(connection, chance) for _ in range(6))
                for number in streams:
                    if chance.random() < 0.1:
                        self.seen["h2: cancelled"] += 1
                        with contextlib.suppress(h2.exceptions.ProtocolError):
                            connection.h2.reset_stream(number, 8)
                connection.flush()
                if not self.read_streams(connection, chance, streams):
                    return

    def open_stream(self, connection, chance):
        user, marker = self.marker(chance)
        where = chance.choice(("h1", "h2"))
        body = f"{marker} ".encode() * chance.choice((0, 0, 1, 200))
        fields = [(name.lower(), value) for name, value in self.fields(user, marker)]
        method = "POST" if body else "GET"
        number = connection.request(HOST, f"/{where}/plain/{marker}", method, fields, end=not body)
        if body:
            half = chance.random() < 0.1
            # A reset may have come meanwhile.
            with contextlib.suppress(h2.exceptions.ProtocolError):
                connection.send(number, body[: len(body) // 2] if half else body, end=not half)
                if half:
                    self.seen["h2: vanished within a body"] += 1
                    connection.h2.reset_stream(number, 8)
                    connection.flush()
        return number, (user, marker, where)

    def read_streams(self, connection, chance, streams):
        """Reads the answers; gives whether the connection goes on."""
        heads, bodies, left, whole = {}, collections.defaultdict(bytes), set(streams), set()
        deadline = time.monotonic() + PATIENCE
        alive = True
        while left and alive and time.monotonic() < deadline:
            events, connection.events = connection.events, []
            for event in events:
                number = getattr(event, "stream_id", None)
                if isinstance(event, h2.events.ResponseReceived):
                    heads[number] = [(str(name), str(value)) for name, value in event.headers]
                elif isinstance(event, h2.events.DataReceived):
                    bodies[number] += event.data
                    if chance.random() < 0.02 and number in left:
                        left.discard(number)
                        with contextlib.suppress(h2.exceptions.ProtocolError):
                            connection.h2.reset_stream(number, 8)
                            connection.flush()
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    left.discard(number)
                    if isinstance(event, h2.events.StreamEnded):
                        whole.add(number)
            # A stream that we have reset ourselves is told of no more.
            left -= {number for number in left if connection.h2._stream_closed_by(number) is not None}  # noqa: SLF001
            if left:
                alive = connection.read_more(PATIENCE)
        if left and alive:
            self.wrong.append(f"no answer on streams {left} within {PATIENCE} s")
        for number, (user, marker, where) in streams.items():
            head = heads.get(number)
            if head is None:
                continue
            status = dict(head)[":status"]
            self.judge(user, marker, head, where if status == "200" else None)
            if status == "200":
                self.judge_body(marker, bodies[number], where, "h2")
                self.seen[f"h2: {'whole' if number in whole else 'cut or cancelled'}"] += 1
            else:
                self.judge_failure(user, bodies[number])
                self.seen[f"h2: {status}"] += 1
        return alive and not left
