"""Every way to keep a server of HTTP/2 busy with frames that ask for nothing, or for more than they cost."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from http2_frames import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, MAX_WINDOW, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
    SETTINGS, block, frame, opening, request, settings, window,
)  # fmt: skip

HOST = "front.test"
PAGE = block("/index.html", HOST)
OWN = block("/own", HOST)
UPLOAD = block("/up/flood", HOST, "PUT")
WHOLE = END_HEADERS | END_STREAM
ODD = range(1, MAX_WINDOW, 2)


@dataclasses.dataclass(frozen=True)
class Flood:
    """`pieces` gives what is sent, piece by piece and without an end; a client that does not `reads` takes nothing that comes.
    `ended` says whether the gateway has to end the connection, where absorbing the flood would not do."""

    name: str
    pieces: Callable[[], Iterator[bytes]]
    reads: bool = True
    ended: bool = False


def again(piece, first=b""):
    """`first`, and then `piece` for ever."""
    return lambda: itertools.chain([opening() + first], itertools.repeat(piece))


def on_streams(piece, first=b""):
    """`piece(number)` for one stream after the other."""
    return lambda: itertools.chain([opening() + first], map(piece, ODD))


def reset(stream, code=8):
    return frame(RST_STREAM, stream=stream, payload=code.to_bytes(4, "big"))


def get(stream, head=PAGE):
    return frame(HEADERS, WHOLE, stream, head)


def put(stream, head=UPLOAD):
    return frame(HEADERS, END_HEADERS, stream, head)


def literal(name, value):
    """A header field in no table, of any size."""
    return b"\0" + number(len(name), 7) + name + number(len(value), 7) + value


def number(value, bits, first=0):
    """An integer of HPACK (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    coded, value = bytes([first | most]), value - most
    while value >= 128:
        coded, value = coded + bytes([value & 127 | 128]), value >> 7
    return coded + bytes([value])


def in_frames(stream, head, flags=END_STREAM):
    """A header block in as many frames as it takes."""
    pieces = [head[at : at + 16_384] for at in range(0, len(head), 16_384)]
    out = b""
    for at, piece in enumerate(pieces):
        last = END_HEADERS if at == len(pieces) - 1 else 0
        out += frame(CONTINUATION, last, stream, piece) if at else frame(HEADERS, flags | last, stream, piece)
    return out


def plain_floods():
    yield Flood("SETTINGS", again(settings(initial_window=65_535)))
    yield Flood("SETTINGS, nothing read", again(settings(initial_window=65_535)), reads=False)
    yield Flood("SETTINGS of 2000 values", again(frame(SETTINGS, payload=b"\0\4\0\0\xff\xff" * 2000)))
    yield Flood("SETTINGS acknowledged unasked", again(frame(SETTINGS, ACK)))
    sizes = settings(header_table_size=0) + settings(header_table_size=(1 << 32) - 1)
    yield Flood("size of the table, to and fro", on_streams(lambda stream: sizes + get(stream, OWN)))
    windows = settings(initial_window=0) + settings(initial_window=MAX_WINDOW)
    yield Flood("initial window to and fro over 100 streams", again(windows, b"".join(put(s) for s in ODD[:100])))
    yield Flood("PING", again(frame(PING, payload=b"anything")))
    yield Flood("PING, nothing read", again(frame(PING, payload=b"anything")), reads=False)
    yield Flood("PING acknowledged unasked", again(frame(PING, ACK, payload=b"anything")))
    yield Flood("PRIORITY of streams that are none", on_streams(lambda s: frame(PRIORITY, stream=s, payload=b"\0\0\0\0\7")))
    yield Flood("PRIORITY in circles", on_streams(lambda s: frame(PRIORITY, stream=s, payload=s.to_bytes(4, "big") + b"\7")))
    yield Flood("WINDOW_UPDATE by 1", again(window(0, 1)))
    yield Flood("GOAWAY", again(frame(GOAWAY, payload=bytes(8))))
    yield Flood("GOAWAY that says much", again(frame(GOAWAY, payload=bytes(16_000))))
    yield Flood("PUSH_PROMISE", again(frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + PAGE), get(1)), ended=True)
    yield Flood("unknown frames", again(frame(0x20, payload=bytes(16_000))))
    yield Flood("empty unknown frames", on_streams(lambda s: frame(0xFF, 0xFF, s)))
    yield Flood("a frame above the size", again(bytes(60_000), frame(DATA, 0, 1, length=(1 << 24) - 1)), ended=True)
    yield Flood("padding alone", again(frame(DATA, 8, 1, b"\xff" + bytes(255)), put(1)))
    yield Flood("empty DATA", again(frame(DATA, 0, 1), put(1)), ended=True)
    yield Flood("empty DATA on 100 streams", again(b"".join(frame(DATA, 0, s) for s in ODD[:100]), b"".join(map(put, ODD[:100]))), ended=True)
    yield Flood("DATA on a stream that is none", on_streams(lambda s: frame(DATA, 0, s, b"x")), ended=True)
    yield Flood("DATA beyond the windows", again(frame(DATA, 0, 1, bytes(16_000)), put(1, block("/up/" + "x" * 300, HOST, "PUT"))))


def stream_floods():
    yield Flood("rapid reset", on_streams(lambda s: get(s) + reset(s)), ended=True)
    yield Flood("rapid reset of our own answers", on_streams(lambda s: get(s, OWN) + reset(s)), ended=True)
    yield Flood("rapid reset of uploads", on_streams(lambda s: put(s) + frame(DATA, 0, s, b"x") + reset(s)), ended=True)
    # The server is made to reset: each of these is an error of the stream alone.
    yield Flood("made to reset: WINDOW_UPDATE by 0", on_streams(lambda s: put(s) + window(s, 0)), ended=True)
    yield Flood("made to reset: window too large", on_streams(lambda s: put(s) + window(s, MAX_WINDOW)), ended=True)
    yield Flood("made to reset: DATA after the end", on_streams(lambda s: get(s) + frame(DATA, 0, s, b"x")), ended=True)
    yield Flood("made to reset: HEADERS after the end", on_streams(lambda s: get(s) + get(s)), ended=True)
    itself = lambda s: put(s) + frame(PRIORITY, stream=s, payload=s.to_bytes(4, "big") + b"\7")  # noqa: E731
    yield Flood("made to reset: depends on itself", on_streams(itself))
    short = block("/up/flood", HOST, "PUT", [("content-length", "1")])
    yield Flood("made to reset: longer than announced", on_streams(lambda s: put(s, short) + frame(DATA, 1, s, b"xx")), ended=True)
    bad = PAGE + literal(b"Upper", b"x")
    yield Flood("made to reset: malformed heads", on_streams(lambda s: get(s, bad)), ended=True)
    yield Flood("made to reset: half of a PRIORITY", on_streams(lambda s: put(s) + frame(PRIORITY, stream=s, payload=b"x")), ended=True)
    yield Flood("streams against the limit", on_streams(put))
    yield Flood("streams against the limit, nothing read", on_streams(put), reads=False)
    yield Flood("RST_STREAM of streams that have ended", again(reset(1), get(1)))
    yield Flood("RST_STREAM of streams that are none", on_streams(reset), ended=True)
    yield Flood("requests, no answer read", on_streams(lambda s: get(s, OWN)), reads=False)
    yield Flood("requests for large answers, no answer read", on_streams(lambda s: request(s, "/half.bin", HOST)), reads=False)
    yield Flood("requests and no window", lambda: itertools.chain([opening(initial_window=0)], map(get, ODD)))


def header_floods():
    field = literal(b"x-a", b"b")
    begun = frame(HEADERS, END_STREAM, 1, PAGE)
    yield Flood("CONTINUATION", again(frame(CONTINUATION, 0, 1, field), begun), ended=True)
    yield Flood("empty CONTINUATION", again(frame(CONTINUATION, 0, 1), begun), ended=True)
    yield Flood("full CONTINUATION", again(frame(CONTINUATION, 0, 1, literal(b"x-a", b"b" * 16_000)), begun), ended=True)
    yield Flood("endless field", again(frame(CONTINUATION, 0, 1, b"b" * 16_384), frame(HEADERS, 1, 1, PAGE + b"\0\1a" + number(1 << 30, 7))), ended=True)
    # A field of 4 kB put into the table, and then named by a byte each.
    stored = b"\x40" + number(3, 7) + b"x-b" + number(4000, 7) + b"b" * 4000
    keep = get(1, PAGE + stored)
    for times in (30, 300, 16_000):
        bomb = PAGE + b"\xbe" * times
        yield Flood(f"a stored field named {times} times", on_streams(lambda s, bomb=bomb: get(s + 2, bomb), keep))
    long = PAGE + b"\xbe" * 16_000
    yield Flood("a stored field named 160 000 times", on_streams(lambda s: in_frames(s + 2, long + b"\xbe" * 144_000), keep), ended=True)
    yield Flood("entries that push each other out", on_streams(lambda s: get(s, PAGE + stored * 3)))
    yield Flood("small entries that push each other out", on_streams(lambda s: get(s, PAGE + b"\x40\1a\1b" * 2000)))
    yield Flood("a table larger than ours", on_streams(lambda s: get(s, number(1 << 20, 5, 0x20) + PAGE)), ended=True)
    flaps = (number(0, 5, 0x20) + number(4096, 5, 0x20)) * 2000
    yield Flood("size of our table, to and fro", on_streams(lambda s: get(s, flaps + PAGE)))
    yield Flood("an integer without an end", on_streams(lambda s: get(s, PAGE + b"\x7f" + b"\xff" * 10_000)), ended=True)
    large = PAGE + literal(b"x-a", b"b" * 60_000)
    yield Flood("heads of 60 kB", on_streams(lambda s: in_frames(s, large)))
    many = PAGE + field * 1500
    yield Flood("heads of 1500 fields", on_streams(lambda s: in_frames(s, many)))
    held = UPLOAD + literal(b"x-a", b"b" * 60_000)
    yield Flood("heads of 60 kB without a body", on_streams(lambda s: in_frames(s, held, 0)))
    yield Flood("heads of a megabyte", on_streams(lambda s: in_frames(s, PAGE + literal(b"x-a", b"b" * 16_000) * 64)))
    cookies = PAGE + literal(b"cookie", b"a") * 1000
    yield Flood("a thousand crumbs of cookie", on_streams(lambda s: in_frames(s, cookies)))
    tail = frame(HEADERS, WHOLE, 0, field * 1000)
    trailed = lambda s: put(s) + tail[:5] + s.to_bytes(4, "big") + tail[9:]  # noqa: E731
    yield Flood("trailers of a thousand fields", on_streams(trailed))
    yield Flood("trailers of 60 kB", on_streams(lambda s: put(s) + in_frames(s, literal(b"x-a", b"b" * 60_000))))
    yield Flood("trailers without an end", again(frame(CONTINUATION, 0, 1, field), put(1) + frame(HEADERS, 1, 1, field)), ended=True)


def every_flood():
    return [*plain_floods(), *stream_floods(), *header_floods()]
