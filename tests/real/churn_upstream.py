"""An upstream that takes nothing on trust. Each request carries the marker `USER.NUMBER` in its path, a cookie, a field and its whole
body, and the gateway says who asks: where one of them is of another user or request, that is written down. The answer is the marker,
over and over, by length or in chunks; sometimes it comes early or ends in the middle, but for paths of the kind `steady`. Arguments:
the port, the file for what is wrong, the file that grows by a byte per request."""

import base64
import hashlib
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from wire import RawUpstream  # noqa: E402

PIECES = 10
WRONG = os.open(sys.argv[2], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
COUNT = os.open(sys.argv[3], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
CHANCE = random.Random(os.getpid())


def complain(*what):
    os.write(WRONG, " ".join(map(str, what)).encode() + b"\n")


class Repeated:
    """Judges bytes that must be `word` over and over, from its beginning."""

    def __init__(self, word, where):
        self.word, self.where, self.seen = word, where, 0

    def take(self, data):
        at = self.seen % len(self.word)
        if data != (self.word * (len(data) // len(self.word) + 2))[at : at + len(data)]:
            complain("a body of", self.where, "held", data[:80])
        self.seen += len(data)


def read_body(wire, head, judge):
    """The body to its end; what comes of one that breaks off is judged too."""
    if "chunked" in (head.get("Transfer-Encoding") or ""):
        while size := int(wire.until(b"\r\n"), 16):
            pass_on(wire, size, judge)
            wire.until(b"\r\n")
        wire.until(b"\r\n")
    else:
        pass_on(wire, int(head.get("Content-Length") or 0), judge)


def pass_on(wire, size, judge):
    while size:
        data = wire.more()
        if not data:
            raise ConnectionError
        judge.take(data[:size])
        wire.left = data[size:]
        size -= min(size, len(data))


def serve(wire):
    while True:
        head = wire.head()
        os.write(COUNT, b".")
        _, target, _ = head.first.decode().split()
        _, _, kind, marker = target.split("/")
        user = marker.split(".")[0]
        for name, expected in (("Remote-User", user), ("X-Marker", marker), ("Cookie", f"marker={marker}")):
            if head.all(name) != [expected]:
                complain(target, name, head.all(name))
        word = marker.encode() + b" "
        if kind == "ws":
            return join(wire, head, word)
        # Now and then the answer comes before the body has.
        if kind == "steady" or CHANCE.random() < 0.97:
            read_body(wire, head, Repeated(word, target))
            answer(wire, kind, marker, word, b"")
        else:
            return answer(wire, kind, marker, word, b"Connection: close\r\n")


def answer(wire, kind, marker, word, more):
    chunked = kind == "sse" or CHANCE.random() < 0.5
    piece = word * CHANCE.choice((1, 10, 400))
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (len(piece) * PIECES)
    own = f"X-Marker: {marker}\r\nSet-Cookie: last={marker}\r\n".encode()
    wire.send(b"HTTP/1.1 200 OK\r\n" + own + more + framing + b"\r\n\r\n")
    for _ in range(PIECES):
        if kind != "steady" and CHANCE.random() < 0.005:
            return wire.abort()
        wire.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if kind == "sse":
            # The pace of events, not a wait for something.
            time.sleep(0.05)
    if chunked:
        wire.send(b"0\r\n\r\n")


def join(wire, head, word):
    """A tunnel: both sides say the marker over and over."""
    key = (head.get("Sec-WebSocket-Key") or "").encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key).digest())
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + accept
    wire.send(upgrade + b"\r\n\r\n")
    judge = Repeated(word, "a tunnel of " + word.decode())
    for _ in range(200):
        wire.send(word * 50)
        data = wire.more()
        if not data:
            return
        judge.take(data)


if __name__ == "__main__":
    RawUpstream(serve, int(sys.argv[1]))
    threading.Event().wait()
