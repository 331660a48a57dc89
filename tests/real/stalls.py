"""Every way to keep a connection open and do nothing with it, and when the gateway ends it by its documented deadlines."""

import dataclasses
import ssl
from collections.abc import Callable, Iterator

from http2_frames import (
    CONTINUATION, DATA, END_STREAM, HEADERS, MAX_WINDOW, PING, PREFACE, block, connect, frame, opening, request, window
)  # fmt: skip
from siege import LAST_CALL, LINGER
from test_websocket import handshake

HOST = "front.test"
HEAD = f"GET /index.html HTTP/1.1\r\nHost: {HOST}\r\n"
UPLOAD = f"PUT /up/stalled HTTP/1.1\r\nHost: {HOST}\r\n"
LARGE = f"GET /large.bin HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
CHUNKED = f"{UPLOAD}Transfer-Encoding: chunked\r\n\r\n"


@dataclasses.dataclass(frozen=True)
class Stall:
    """`says` is sent at once, the pieces of `drips` one a second. `after` and `before` give, by the `Limits`, the seconds from
    then on between which the gateway ends the connection. A client that `reads` takes what comes, and says yes to pings."""

    name: str
    way: str
    says: bytes
    before: Callable
    after: Callable | None = None
    drips: Callable[[], Iterator[bytes]] | None = None
    reads: bool = False
    small_buffer: bool = False
    half_closes: bool = False
    sips: bool = False

    @property
    def title(self):
        return f"{self.name} ({self.way})"

    def span(self, limits):
        earliest = (self.after or self.before)(limits)
        if self.way in ("h2", "h2c"):
            # Whoever does not say yes to a ping, or says it inside another frame, is gone as soon as that is due.
            earliest = min(earliest, limits.ping + limits.pong)
        # Deadlines are looked at once a second, and time moves on in the same steps: they come up to a second early or late.
        return max(0, earliest - 1.5), self.before(limits) + 2


def byte_by_byte(data, then=b"x"):
    """`data` and then `then` for ever, a byte at a time."""

    def drips():
        yield from (data[at : at + 1] for at in range(len(data)))
        while True:
            yield then

    return drips


def handshake_limit(limits):
    return limits.handshake


def first_byte(limits):
    return limits.first_byte


def head(limits):
    return limits.head


def body(limits):
    return limits.body


def at_once(limits):
    return 0


def idle(limits):
    return limits.idle


def tunnel(limits):
    return limits.tunnel


def idle_h2(limits):
    return limits.idle + LAST_CALL


def idle_from(limits):
    return limits.idle


def stream_h2(limits):
    """The stream is ended, then the connection rests, then it is told to go."""
    return limits.body + limits.idle + LAST_CALL


def tunnel_h2(limits):
    return limits.tunnel + limits.idle + LAST_CALL


def unanswered_ping(limits):
    return limits.ping + limits.pong


def before_http():
    hello = client_hello()
    records = b"".join(b"\x16\x03\x01\0\x01" + hello[at : at + 1] for at in range(len(hello)))
    whole = b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello
    yield Stall("silent", "plain", b"", first_byte)
    yield Stall("silent", "tls", b"", first_byte)
    yield Stall("silent", "h2c", b"", handshake_limit)
    yield Stall("silent, and no TLS hello", "shaking", b"", handshake_limit)
    yield Stall("partial TLS hello", "shaking", whole[:100], handshake_limit)
    yield Stall("TLS hello, a byte a record", "shaking", records[:60], handshake_limit, drips=six_by_six(records[60:]))
    yield Stall("TLS hello, no answer to ours", "shaking", whole, handshake_limit, at_once)
    yield Stall("silent, and no PROXY header", "proxied", b"", handshake_limit)
    yield Stall("partial PROXY header", "proxied", b"PROXY TCP4 192.0.2.7", handshake_limit)
    yield Stall("partial PROXY header 2", "proxied", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0", handshake_limit)
    yield Stall("PROXY header, dripped", "proxied", b"PROXY ", handshake_limit, drips=byte_by_byte(b"TCP4 192.0.2.7 1", b"2"))
    yield Stall("PROXY header and no request", "proxied", b"PROXY UNKNOWN\r\n", first_byte)
    yield Stall("partial preface", "h2c", PREFACE[:10], handshake_limit)
    yield Stall("preface, dripped", "h2c", b"P", handshake_limit, drips=byte_by_byte(PREFACE[1:], b""))
    yield Stall("partial preface", "h2", PREFACE[:10], idle_h2, idle_from)
    yield Stall("half-closed and silent", "shaking", b"", at_once, half_closes=True)
    yield Stall("half-closed in the TLS hello", "shaking", whole[:100], at_once, half_closes=True)
    yield Stall("half-closed in the PROXY header", "proxied", b"PROXY TCP4", at_once, half_closes=True)
    yield Stall("half-closed in the preface", "h2c", PREFACE[:10], at_once, half_closes=True)


def six_by_six(data):
    return lambda: (data[at : at + 6] for at in range(0, len(data), 6))


def client_hello():
    """What a client of TLS says first, without its record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    shaking = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=HOST)
    try:
        shaking.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()[5:]


def over_http1():
    for way in ("plain", "tls"):
        yield Stall("half a request line", way, b"GET /ind", head)
        yield Stall("request line, dripped", way, b"G", head, drips=byte_by_byte(b"ET /", b"x"))
        yield Stall("half a head", way, HEAD.encode() + b"X-A: b", head)
        yield Stall("head, dripped", way, HEAD.encode(), head, drips=byte_by_byte(b"X-A: "))
        yield Stall("empty lines before a request, dripped", way, b"\r\n", head, at_once, drips=byte_by_byte(b"", b"\r\n"))
        yield Stall("half a body", way, f"{UPLOAD}Content-Length: 1000\r\n\r\nhalf".encode(), body)
        yield Stall("no body", way, f"{UPLOAD}Content-Length: 1000\r\n\r\n".encode(), body)
        yield Stall("no body after 100", way, f"{UPLOAD}Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n".encode(), body)
        yield Stall("half a chunk", way, f"{CHUNKED}ff\r\nhalf".encode(), body)
        yield Stall("half a chunk size", way, f"{CHUNKED}4\r\nhalf\r\nf".encode(), body)
        yield Stall("trailers never finished", way, f"{CHUNKED}4\r\nhalf\r\n0\r\nX-A: b".encode(), body)
        # Answered early: the client is heard out for its answer's sake, but not for long.
        owed = f"PUT /own HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\nhalf".encode()
        yield Stall("half a body nobody wants", way, owed, lambda limits: max(LINGER, limits.body), at_once)
        yield Stall("idle", way, HEAD.encode() + b"\r\n", idle, reads=True)
        yield Stall("unread answer", way, LARGE, body, small_buffer=True)
        yield Stall("unread answers, pipelined", way, LARGE.replace(b"large", b"half") * 200, body, small_buffer=True)
        yield Stall("answer read by a byte a second", way, LARGE, body, small_buffer=True, sips=True)
        yield Stall("half-closed and silent", way, b"", at_once, half_closes=True)
        yield Stall("half-closed in a head", way, HEAD.encode(), at_once, half_closes=True)
        yield Stall("half-closed in a body", way, f"{UPLOAD}Content-Length: 9\r\n\r\nhalf".encode(), at_once, half_closes=True)
        yield Stall("half-closed, answer unread", way, LARGE, body, at_once, small_buffer=True, half_closes=True)
        yield Stall("WebSocket that reads nothing", way, handshake("/sockets/flood", HOST), body, small_buffer=True)
        yield Stall("WebSocket at rest", way, handshake("/sockets/quiet", HOST), tunnel)


def over_http2():
    for way in ("h2c", "h2"):
        upload = request(1, "/up/stalled", HOST, "PUT", end=False)
        large = request(1, "/large.bin", HOST)
        wide = opening(initial_window=MAX_WINDOW) + window(0, MAX_WINDOW - 65_535)
        some = block("/index.html", HOST)
        yield Stall("preface only", way, PREFACE, idle_h2, idle_from)
        yield Stall("idle after SETTINGS", way, opening(), idle_h2, idle_from, reads=True)
        yield Stall("idle after a request", way, opening() + request(1, "/index.html", HOST), idle_h2, idle_from, reads=True)
        pings = byte_by_byte(b"", frame(PING, payload=b"anything"))
        yield Stall("idle, but for pings", way, opening(), idle_h2, idle_from, reads=True, drips=pings)
        yield Stall("half a frame", way, opening() + frame(HEADERS, 5, 1, b"x", length=100), idle_h2, idle_from, reads=True)
        yield Stall("frame, dripped", way, opening() + frame(HEADERS, 5, 1, b"", length=16_000), idle_h2, idle_from, reads=True, drips=byte_by_byte(b""))
        # Nothing is read from here on: a yes to a ping inside a header block would be an error that ends the connection.
        no_end = opening() + frame(HEADERS, END_STREAM, 1, some)
        yield Stall("HEADERS without END_HEADERS", way, no_end, idle_h2, idle_from)
        more = byte_by_byte(b"", frame(CONTINUATION, 0, 1, b"\0\1a\1b"))
        # So many of them are a flood, if the time does not end it before.
        yield Stall("CONTINUATION, dripped", way, no_end, idle_h2, at_once, drips=more)
        yield Stall("no DATA", way, opening() + upload, stream_h2, body, reads=True)
        yield Stall("half a body", way, opening() + upload + frame(DATA, 0, 1, b"half"), stream_h2, body, reads=True)
        yield Stall("half a DATA frame", way, opening() + upload + frame(DATA, 0, 1, b"half", length=100), stream_h2, body, reads=True)
        trailers = upload + frame(DATA, 0, 1, b"half") + frame(HEADERS, END_STREAM, 1, b"\0\1a\1b")
        yield Stall("trailers never finished", way, opening() + trailers, stream_h2, body)
        yield Stall("no window", way, opening(initial_window=0) + large, stream_h2, body, reads=True)
        # 60 kB each: the gateway has the whole answer in hand at once.
        halves = b"".join(request(number, "/half.bin", HOST) for number in range(1, 200, 2))
        yield Stall("no window for a hundred answers", way, opening(initial_window=0) + halves, stream_h2, idle_from, reads=True)
        drip = byte_by_byte(b"", window(1, 1))
        yield Stall("a window of one byte a second", way, opening(initial_window=0) + large, stream_h2, body, reads=True, drips=drip)
        yield Stall("a connection's window used up", way, opening(initial_window=MAX_WINDOW) + large, stream_h2, body, reads=True)
        yield Stall("unread answer", way, wide + large, body, small_buffer=True)
        yield Stall("answer read by a byte a second", way, wide + large, body, small_buffer=True, sips=True)
        yield Stall("half-closed and idle", way, opening(), at_once, half_closes=True, reads=True)
        yield Stall("half-closed with no window", way, opening(initial_window=0) + large, stream_h2, at_once, half_closes=True, reads=True)
        flood, quiet = (connect(1, f"/sockets/{path}", HOST) for path in ("flood", "quiet"))
        yield Stall("WebSocket that reads nothing", way, opening() + flood, stream_h2, body, reads=True)
        yield Stall("WebSocket at rest", way, opening() + quiet, tunnel_h2, tunnel, reads=True)
        yield Stall("no answer to a ping", way, opening() + quiet, unanswered_ping, unanswered_ping)


def every_stall():
    return [*before_http(), *over_http1(), *over_http2()]
