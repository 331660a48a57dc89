"""A generator of WebSocket frames, right and wrong (RFC 6455, RFC 7692): each case is what a client sends, in steps."""

import struct
import zlib

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
MIB = 1 << 20
# Behind a step: wait for the end of the connection instead of for so many frames.
END = -1
# The same, after the client has ended its own direction.
HALF_CLOSE = -2


def masked(payload, mask=MASK):
    if not payload:
        return b""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def frame(opcode, payload=b"", fin=True, rsv=0, mask=True, length=None):
    """One frame. `length` forces the 16-bit or the 64-bit form."""
    size = len(payload)
    bit = 0x80 if mask else 0
    if length is None:
        length = 0 if size < 126 else 16 if size < 65536 else 64
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if length == 0:
        head += bytes([bit | size])
    elif length == 16:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    return head + (MASK + masked(payload) if mask else payload)


def closing(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def fragments(opcode, *pieces, between=b"", rsv=0):
    """One message in so many frames, with `between` between each two."""
    last = len(pieces) - 1
    frames = [
        frame(CONTINUATION if number else opcode, piece, fin=number == last, rsv=0 if number else rsv)
        for number, piece in enumerate(pieces)
    ]
    return between.join(frames)


class Deflater:
    """permessage-deflate as a client does it."""

    def __init__(self, bits=15):
        self.deflate = zlib.compressobj(wbits=-bits)

    def __call__(self, payload):
        packed = self.deflate.compress(payload) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        assert packed.endswith(b"\0\0\xff\xff")
        return packed[:-4]


def noise(size):
    """Bytes that repeat nowhere soon, the same in every run."""
    state, out = 12345, bytearray()
    while len(out) < min(size, 65536):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out += state.to_bytes(4, "big")
    return bytes((out * (size // len(out) + 1))[:size]) if size else b""


GOODBYE = (closing(1000, b"done"), END)


def plain_cases():
    """name → steps of (bytes, frames of the server to wait for)."""
    cases = {}
    for size in (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, MIB, 16 * MIB):
        cases[f"text of {size}"] = [(frame(TEXT, b"*" * size), 1), GOODBYE]
        cases[f"binary of {size}"] = [(frame(BINARY, noise(size)), 1), GOODBYE]
    word = "Hello-µ@ßöäüàá-UTF-8!! κόσμε 𝄞 \U0010ffff".encode()
    cases["text beyond ASCII"] = [(frame(TEXT, word), 1), GOODBYE]
    cases["text cut inside its characters"] = [(fragments(TEXT, *(bytes([byte]) for byte in word)), 1), GOODBYE]
    for name, bad in {
        "a lone continuation byte": b"\x80", "a surrogate": b"\xed\xa0\x80", "beyond the last character": b"\xf4\x90\x80\x80",
        "overlong": b"\xc0\xaf", "cut at the end": "𝄞".encode()[:3],
    }.items():  # fmt: skip
        cases[f"text that is not UTF-8: {name}"] = [(frame(TEXT, b"good " + bad), END)]
        cases[f"fragmented text that is not UTF-8: {name}"] = [(fragments(TEXT, b"good ", bad, b" good"), END)]
    for pieces in (2, 3, 100):
        for opcode in (TEXT, BINARY):
            parts = [b"part %d " % number for number in range(pieces)]
            cases[f"opcode {opcode} in {pieces} fragments"] = [(fragments(opcode, *parts), 1), GOODBYE]
            ping = frame(PING, b"between")
            cases[f"opcode {opcode} in {pieces} fragments, pings between"] = [
                (fragments(opcode, *parts, between=ping), pieces), GOODBYE
            ]  # fmt: skip
    cases["fragments of nothing"] = [(fragments(TEXT, b"", b"", b""), 1), GOODBYE]
    cases["empty fragments around a full one"] = [(fragments(BINARY, b"", b"full", b""), 1), GOODBYE]
    cases["a pong nobody asked for between fragments"] = [
        (fragments(TEXT, b"one", b"two", between=frame(PONG, b"x")), 1), GOODBYE
    ]  # fmt: skip
    cases["16 MiB in 256 fragments"] = [(fragments(BINARY, *[noise(65536)] * 256), 1), GOODBYE]
    for size in (0, 1, 125):
        cases[f"ping of {size}"] = [(frame(PING, noise(size)), 1), GOODBYE]
        cases[f"pong of {size}"] = [(frame(PONG, noise(size)) + frame(TEXT, b"after"), 1), GOODBYE]
    cases["ten pings at once"] = [(b"".join(frame(PING, b"%d" % n) for n in range(10)), 10), GOODBYE]
    cases["a hundred messages at once"] = [(b"".join(frame(TEXT, b"%d" % n) for n in range(100)), 100), GOODBYE]
    cases |= wrong_cases() | closing_cases()
    return cases


def wrong_cases():
    """Frames that a server has to fail the connection for, and odd ones that servers judge differently."""
    cases = {"ping of 126": [(frame(PING, noise(126)), END)]}
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        cases[f"unknown opcode {opcode}"] = [(frame(opcode, b"x"), END)]
        cases[f"unknown opcode {opcode} after a message"] = [(frame(TEXT, b"good"), 1), (frame(opcode), END)]
    for rsv in range(1, 8):
        cases[f"reserved bits {rsv}"] = [(frame(TEXT, b"x", rsv=rsv), END)]
    for opcode in (CLOSE, PING, PONG):
        cases[f"fragmented control frame {opcode}"] = [(frame(opcode, b"", fin=False), END)]
    cases["not masked"] = [(frame(TEXT, b"x", mask=False), END)]
    cases["a ping that is not masked"] = [(frame(PING, b"x", mask=False), END)]
    cases["a continuation of nothing"] = [(frame(CONTINUATION, b"x"), END)]
    cases["a continuation of nothing, not final"] = [(frame(CONTINUATION, b"x", fin=False), END)]
    cases["a new message inside one"] = [(frame(TEXT, b"one", fin=False) + frame(TEXT, b"two"), END)]
    cases["a length that fits into fewer bits"] = [(frame(TEXT, b"short", length=16), 1), GOODBYE]
    cases["a length that fits into far fewer bits"] = [(frame(TEXT, b"short", length=64), 1), GOODBYE]
    cases["a length with its first bit set"] = [(b"\x82\xff" + b"\xff" * 8 + MASK, HALF_CLOSE)]
    cases["HTTP instead of frames"] = [(b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n", END)]
    return cases


def closing_cases():
    cases = {"close without a code": [(closing(), END)], "close with half a code": [(frame(CLOSE, b"\x03"), END)]}
    for code in (
        0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016,
        1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535,
    ):  # fmt: skip
        cases[f"close with code {code}"] = [(closing(code, b"why"), END)]
    cases["close with a reason of 123"] = [(closing(1000, b"r" * 123), END)]
    cases["close with a reason of 124"] = [(closing(1000, b"r" * 124), END)]
    cases["close with a reason that is not UTF-8"] = [(closing(1000, b"\xc0\xaf"), END)]
    cases["the end in the middle of a frame"] = [(frame(TEXT, b"cut short")[:9], HALF_CLOSE)]
    cases["the end in the middle of a message"] = [(frame(TEXT, b"cut short", fin=False), HALF_CLOSE)]
    cases["the end without a close"] = [(frame(TEXT, b"good"), 1), (b"", HALF_CLOSE)]
    cases["the server closes"] = [(frame(TEXT, b"please close 4321 because"), 1), (closing(4321, b"because"), END)]
    return cases


def deflate_cases():
    """With permessage-deflate agreed on."""
    text = b"the same words again and again, " * 50
    first, second = Deflater(), Deflater()
    cases = {"one compressed message": [(frame(TEXT, first(text), rsv=4), 1), GOODBYE]}
    cases["one that is not compressed"] = [(frame(TEXT, text), 1), GOODBYE]
    cases["an empty compressed message"] = [(frame(TEXT, Deflater()(b"") or b"\0", rsv=4), 1), GOODBYE]
    cases["messages that refer to those before"] = [
        (b"".join(frame(TEXT, packed, rsv=4) for packed in [second(text) for _ in range(5)]), 5), GOODBYE
    ]  # fmt: skip
    packed = Deflater()(text * 10)
    pieces = [packed[at : at + 20] for at in range(0, len(packed), 20)]
    cases["compressed and in fragments"] = [(fragments(TEXT, *pieces, rsv=4), 1), GOODBYE]
    ping = frame(PING, b"p")
    cases["compressed and in fragments, pings between"] = [
        (fragments(TEXT, *pieces, rsv=4, between=ping), len(pieces)), GOODBYE
    ]  # fmt: skip
    cases["4 MiB compressed"] = [(frame(BINARY, Deflater()(noise(4 * MIB)), rsv=4), 1), GOODBYE]
    cases["the bit on a continuation"] = [
        (frame(TEXT, packed[:9], fin=False, rsv=4) + frame(CONTINUATION, packed[9:], rsv=4), END)
    ]  # fmt: skip
    cases["the bit on a ping"] = [(frame(PING, b"x", rsv=4), END)]
    cases["data that is not deflate"] = [(frame(TEXT, b"\xff" * 40, rsv=4), END)]
    cases["compressed text that is not UTF-8"] = [(frame(TEXT, Deflater()(b"good \x80"), rsv=4), END)]
    return cases
