"""Sends request texts to one gateway, over HTTP/1.1 in clear text and by TLS, and as frames of HTTP/2; keeps connections where it may."""

import collections
import contextlib
import re
import socket
import ssl

import h2.events
import h2.exceptions

from http2 import Http2
from wire import Closed, Wire

HOST = "open.test"
# So many streams of HTTP/2 at a time.
BATCH = 20
ID = re.compile(rb"\r\nx-request-id: ([0-9a-f-]+)\r\n", re.IGNORECASE)
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")

# What came back for a request: its final statuses, and the ids under which the gateway has it in its log.
Outcome = collections.namedtuple("Outcome", "request protocol user statuses ids wrong")


class Sender:
    """`cookies` holds the Cookie of each user, None for nobody."""

    def __init__(self, port, tls_port, trust, cookies):
        self.port, self.tls_port, self.trust, self.cookies = port, tls_port, trust, cookies
        self.kept = {}
        self.context = ssl.create_default_context(cafile=str(trust))
        self.context.set_alpn_protocols(["http/1.1"])

    def send(self, plan):
        """Sends every (request, protocol, user) of `plan`, and gives what came back."""
        plan = list(plan)
        outcomes = [self.by_text(*step) for step in plan if step[1] != "h2"]
        streams = [step for step in plan if step[1] == "h2"]
        for at in range(0, len(streams), BATCH):
            outcomes += self.by_frames(streams[at : at + BATCH])
        for connection in self.kept.values():
            connection.close()
        self.kept.clear()
        return outcomes

    def connect(self, protocol):
        """A fresh connection for texts."""
        stream = socket.create_connection(("127.0.0.1", self.tls_port if protocol == "tls" else self.port), timeout=10)
        if protocol == "tls":
            stream = self.context.wrap_socket(stream, server_hostname=HOST)
        # Without it, the second half of a text would wait for a sign that the first has come.
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(stream)

    def by_text(self, request, protocol, user):
        text = request.text(self.cookies[user])
        if request.raw is not None:
            return self.to_the_end(request, protocol, user, text)
        for _ in range(2):
            wire = self.kept.pop(protocol, None)
            fresh = wire is None
            with contextlib.suppress(OSError):
                wire = wire or self.connect(protocol)
                wire.send(text)
            try:
                head, _ = wire.final_head()
                body = wire.body(head, request.method.encode("latin-1"))
            except (Closed, OSError):
                wire.close()
                if fresh:
                    return Outcome(request, protocol, user, [], [], None)
                # It may have ended before this request came: once more, on a connection of its own.
                continue
            if head.get("Connection") == "close" or head.first.startswith(b"HTTP/1.0"):
                wire.close()
            else:
                self.kept[protocol] = wire
            ids = [head.get("X-Request-Id")] if head.get("X-Request-Id") else []
            answered = body.decode("latin-1")
            # The answer of an upstream is the id of the request that it read.
            wrong = answered if head.status == 200 and not head.get("Cache-Control") and answered not in (*ids, "") else None
            return Outcome(request, protocol, user, [head.status], ids, wrong)
        raise AssertionError(f"{request.name}: no connection")

    def to_the_end(self, request, protocol, user, text):
        """Sends a whole stretch of text and a last request that asks for the end, and reads until that."""
        last = f"GET /anyone/last HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        wire, got = self.connect(protocol), b""
        with contextlib.closing(wire), contextlib.suppress(OSError):
            wire.send(text + last)
            while data := wire.stream.recv(1 << 16):
                got += data
        statuses = [int(status) for status in STATUS.findall(got) if status[:1] != b"1"]
        return Outcome(request, protocol, user, statuses, [found.decode() for found in ID.findall(got)], None)

    def by_frames(self, steps):
        """Sends these requests as streams of one connection; those that are left when it ends, one by one."""
        outcomes, left = self.streams(steps)
        for step in left:
            more, nothing = self.streams([step])
            outcomes += more
            outcomes += [Outcome(*again, [], [], None) for again in nothing]
        return outcomes

    def streams(self, steps):
        """What came back for these requests, and those for which nothing did before the connection ended."""
        connection = self.kept.pop("h2", None) or Http2(self.tls_port, self.trust, HOST, as_given=True)
        opened, answers = {}, collections.defaultdict(dict)
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            for step in steps:
                opened[self.open_stream(connection, step[0], self.cookies[step[2]])] = step
        alive = self.read_streams(connection, set(opened), answers)
        if alive:
            self.kept["h2"] = connection
        else:
            connection.close()
        done = [(number, step) for number, step in opened.items() if answers[number].get("ended")]
        outcomes = [self.outcome(step, answers[number]) for number, step in done]
        finished = [step for _, step in done]
        return outcomes, [step for step in steps if step not in finished]

    @staticmethod
    def outcome(step, answer):
        fields, body = answer.get("fields", {}), answer.get("body", b"").decode("latin-1")
        statuses = [int(fields[":status"])] if ":status" in fields else []
        ids = [fields["x-request-id"]] if "x-request-id" in fields else []
        wrong = body if statuses == [200] and "cache-control" not in fields and body not in (*ids, "") else None
        return Outcome(*step, statuses, ids, wrong)

    @staticmethod
    def open_stream(connection, request, cookie):
        number = connection.h2.get_next_available_stream_id()
        fields = request.frames("https", cookie)
        body = None if request.body is None else request.body.encode("latin-1")
        connection.h2.send_headers(number, fields, end_stream=body is None and not request.trailers)
        if body is not None:
            connection.h2.send_data(number, body, end_stream=not request.trailers)
        if request.trailers:
            trailers = [(name.lower().encode(), value.encode()) for name, value in request.trailers]
            connection.h2.send_headers(number, trailers, end_stream=True)
        connection.flush()
        return number

    @staticmethod
    def read_streams(connection, left, answers):
        """Reads until every stream of `left` has ended; gives whether the connection has not."""
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            while True:
                events, connection.events = connection.events, []
                for event in events:
                    answer = answers[getattr(event, "stream_id", None)]
                    if isinstance(event, h2.events.ResponseReceived):
                        answer["fields"] = dict(event.headers)
                    elif isinstance(event, h2.events.DataReceived):
                        answer["body"] = answer.get("body", b"") + event.data
                    elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                        answer["ended"] = True
                        left.discard(event.stream_id)
                if not left:
                    return True
                if not connection.read_more(10):
                    return False
        return False
