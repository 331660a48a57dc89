"""HTTP/1.1 by hand, for what a well-behaved library would not send or would hide: a client and an upstream on bare sockets."""

import contextlib
import socket
import threading
import time


class Closed(Exception):
    """The other side ended the connection before the message was complete; `got` is what had come."""

    def __init__(self, what, got=b""):
        super().__init__(what)
        self.got = got


class Head:
    """The first line and the fields of a message, as they came."""

    def __init__(self, raw):
        self.raw = raw
        lines = raw.split(b"\r\n")
        self.first = lines[0]
        self.fields = []
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            self.fields.append((name.decode("latin-1"), value.strip().decode("latin-1")))

    @property
    def status(self):
        return int(self.first.split()[1])

    def all(self, name):
        """Every value of the field `name`, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name):
        """The first value of the field `name`, or None."""
        return next(iter(self.all(name)), None)


class Wire:
    """One connection: writes bytes, reads heads and bodies."""

    def __init__(self, stream):
        self.stream = stream
        self.left = b""

    @classmethod
    def to(cls, port, timeout=20):
        return cls(socket.create_connection(("127.0.0.1", port), timeout=timeout))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.stream.close()

    def abort(self):
        """Ends the connection with a reset."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.stream.close()

    def send(self, data):
        self.stream.sendall(data)

    def more(self):
        """Some more bytes, or b"" at the end."""
        if self.left:
            data, self.left = self.left, b""
            return data
        return self.stream.recv(1 << 16)

    def until(self, mark):
        """Everything up to `mark`, which is taken away."""
        while mark not in self.left:
            data = self.stream.recv(1 << 16)
            if not data:
                raise Closed(f"the end came before {mark!r}", self.left)
            self.left += data
        found, _, self.left = self.left.partition(mark)
        return found

    def exactly(self, count):
        while len(self.left) < count:
            data = self.stream.recv(1 << 16)
            if not data:
                raise Closed(f"the end came after {len(self.left)} of {count} bytes", self.left)
            self.left += data
        found, self.left = self.left[:count], self.left[count:]
        return found

    def rest(self):
        """Everything until the other side ends the connection."""
        found, self.left = self.left, b""
        while data := self.stream.recv(1 << 16):
            found += data
        return found

    def head(self):
        return Head(self.until(b"\r\n\r\n"))

    def final_head(self):
        """The head of the final answer, and the statuses of those before it."""
        interim = []
        while True:
            head = self.head()
            if head.status >= 200 or head.status == 101:
                return head, interim
            interim.append(head.status)

    def body(self, head, method=b"GET"):
        """The body that belongs to the answer `head`."""
        if method == b"HEAD" or head.status in (204, 304):
            return b""
        if "chunked" in (head.get("Transfer-Encoding") or ""):
            whole = b""
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                try:
                    whole += self.exactly(size)
                    assert self.exactly(2) == b"\r\n"
                except Closed as closed:
                    raise Closed(str(closed), whole + closed.got) from None
            while self.until(b"\r\n"):
                pass
            return whole
        length = head.get("Content-Length")
        return self.rest() if length is None else self.exactly(int(length))

    def ask(self, data, method=None):
        """Sends a request and gives the final head and its body."""
        self.send(data)
        head, _ = self.final_head()
        return head, self.body(head, method or data.split(b" ", 1)[0])

    def ended(self, seconds=10):
        """Whether the other side has ended the connection, by a close or a reset, within that time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.stream.settimeout(left)
            try:
                if not self.stream.recv(1 << 16):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False


def get(path, port, cookie=None, method="GET", fields=()):
    """The bytes of a request without a body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *fields]
    if cookie:
        lines.append(f"Cookie: {cookie}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


class RawUpstream:
    """A listener that hands each connection to `serve(wire)`, in a thread of its own. `connections` counts them."""

    def __init__(self, serve, port=0):
        self.serve = serve
        self.connections = 0
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            stream.settimeout(30)
            self.connections += 1
            threading.Thread(target=self.handle, args=(Wire(stream),), daemon=True).start()

    def handle(self, wire):
        self.open.add(wire)
        with contextlib.suppress(OSError, Closed):
            self.serve(wire)
        self.open.discard(wire)
        wire.close()

    def stop(self):
        """Takes no more connections and resets those there are."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for wire in list(self.open):
            with contextlib.suppress(OSError):
                wire.stream.shutdown(socket.SHUT_RDWR)
