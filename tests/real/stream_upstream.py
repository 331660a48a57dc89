"""An upstream for very long bodies, in a process of its own: `GET /SIZE/NAME` gives that many bytes that were never stored, `GET
/digest/NAME` the SHA-256 of what it gave, `PUT` takes a chunked body and answers its SHA-256 and length. Arguments: the port."""

import hashlib
import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from wire import RawUpstream  # noqa: E402

BLOCK = 1 << 20


def blocks(size):
    """`size` bytes in pieces of a MiB, no two alike."""
    noise = os.urandom(BLOCK - 8)
    for number in range(size // BLOCK):
        yield number.to_bytes(8, "big") + noise


# Name of a download → SHA-256 of what was sent.
DIGESTS = {}


def serve(wire):
    while True:
        head = wire.head()
        method, path, _ = head.first.split()
        _, what, *name = path.split(b"/")
        if what == b"digest":
            said = DIGESTS[name[0]].encode()
        elif method == b"GET":
            size, digest = int(what), hashlib.sha256()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for block in blocks(size):
                digest.update(block)
                # Before the last block leaves, because the client asks for it as soon as that has come.
                DIGESTS[name[0]] = digest.hexdigest()
                wire.send(block)
            continue
        else:
            digest, length = hashlib.sha256(), 0
            while size := int(wire.until(b"\r\n"), 16):
                length += size
                while size:
                    piece = wire.more()
                    digest.update(piece[:size])
                    wire.left = piece[size:]
                    size -= min(size, len(piece))
                wire.until(b"\r\n")
            wire.until(b"\r\n")
            said = b"%s %d" % (digest.hexdigest().encode(), length)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))


if __name__ == "__main__":
    RawUpstream(serve, int(sys.argv[1]))
    threading.Event().wait()
