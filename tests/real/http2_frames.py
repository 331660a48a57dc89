"""Frames of HTTP/2 by hand (RFC 9113 section 4), for what no library would send."""

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEADER_TABLE_SIZE, INITIAL_WINDOW, MAX_WINDOW = 1, 4, (1 << 31) - 1


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """One frame; `length` claims another length than the payload has."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(**values):
    """A SETTINGS frame; names as the constants above, in lower case."""
    numbers = {"header_table_size": HEADER_TABLE_SIZE, "initial_window": INITIAL_WINDOW}
    return frame(SETTINGS, payload=b"".join(numbers[k].to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in values.items()))


def opening(**values):
    """What a client begins with: its preface, its SETTINGS, and its yes to those of the server."""
    return PREFACE + settings(**values) + frame(SETTINGS, ACK)


def window(stream, by):
    return frame(WINDOW_UPDATE, stream=stream, payload=by.to_bytes(4, "big"))


def block(path, authority, method="GET", fields=(), scheme="http"):
    """A header block that leaves nothing in any table, so that every connection can use the same bytes."""
    head = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *fields]
    encoder = hpack.Encoder()
    return encoder.encode([hpack.NeverIndexedHeaderTuple(*field) for field in head], huffman=False)


def request(stream, path, authority, method="GET", fields=(), end=True):
    """A whole request without a body, or (`end` false) the head of one."""
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, flags, stream, block(path, authority, method, fields))


def connect(stream, path, authority):
    """An extended CONNECT that opens a WebSocket (RFC 8441)."""
    return request(stream, path, authority, "CONNECT", [(":protocol", "websocket"), ("sec-websocket-version", "13")], end=False)


def split(data):
    """The whole frames at the start of `data`, as (kind, flags, stream, payload), and the rest."""
    frames = []
    while len(data) >= 9 and len(data) >= (size := 9 + int.from_bytes(data[:3], "big")):
        frames.append((data[3], data[4], int.from_bytes(data[5:9], "big") & MAX_WINDOW, data[9:size]))
        data = data[size:]
    return frames, data
