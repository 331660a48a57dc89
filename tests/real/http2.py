"""A client of HTTP/2 with every frame in view, on PyPI's `h2`."""

import contextlib
import socket
import ssl
import time

import h2.config
import h2.connection
import h2.events


class GoAway:
    """The server has said that it takes no more streams."""

    def __init__(self, payload):
        self.last_stream, self.code = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
        self.why = payload[8:]

    def __repr__(self):
        return f"GoAway({self.last_stream}, {self.code}, {self.why})"


class Http2:
    """One connection, over TLS when `tls` is the file of an authority. `events` holds what came and was not asked for yet. With
    `as_given` the library does not keep us from sending what no client may."""

    def __init__(self, port, tls=None, name="127.0.0.1", as_given=False):
        stream = socket.create_connection(("127.0.0.1", port), timeout=20)
        if tls:
            context = ssl.create_default_context(cafile=str(tls))
            context.set_alpn_protocols(["h2"])
            stream = context.wrap_socket(stream, server_hostname=name)
            assert stream.selected_alpn_protocol() == "h2", stream.selected_alpn_protocol()
        self.stream, self.scheme = stream, "https" if tls else "http"
        checks = {"validate_outbound_headers": False, "normalize_outbound_headers": False} if as_given else {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8", **checks))
        self.h2.initiate_connection()
        self.events = []
        self.left = b""
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.stream.close()

    def flush(self):
        self.stream.sendall(self.h2.data_to_send())

    def request(self, authority, path="/", method="GET", fields=(), end=True):
        """Opens a stream and gives its number."""
        number = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", self.scheme), (":authority", authority), (":path", path)]
        self.h2.send_headers(number, [*head, *fields], end_stream=end)
        self.flush()
        return number

    def connect(self, authority, path, protocol, fields=()):
        """An extended CONNECT (RFC 8441)."""
        number = self.h2.get_next_available_stream_id()
        head = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", self.scheme), (":authority", authority), (":path", path)]
        self.h2.send_headers(number, [*head, *fields])
        self.flush()
        return number

    def send(self, number, data, end=False):
        """Sends data in as many frames as the windows and the frame size ask for."""
        while data:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if room <= 0:
                self.read_more()
                continue
            self.h2.send_data(number, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.h2.end_stream(number)
            self.flush()

    def read_more(self, seconds=20):
        """Reads what comes next into `events`; gives whether anything came before the end."""
        self.stream.settimeout(seconds)
        data = self.stream.recv(1 << 16)
        if not data:
            return False
        for event in self.h2.receive_data(self.without_goaway(data)):
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.events.append(event)
        # The other side may have ended meanwhile: what it said before that is here.
        with contextlib.suppress(OSError):
            self.flush()
        return True

    def without_goaway(self, data):
        """The whole frames in what has come, but for GOAWAY: the library would read no further than that."""
        self.left += data
        frames = b""
        while len(self.left) >= 9 and len(self.left) >= (size := 9 + int.from_bytes(self.left[:3], "big")):
            frame, self.left = self.left[:size], self.left[size:]
            if frame[3] == 7:
                self.events.append(GoAway(frame[9:]))
            else:
                frames += frame
        return frames

    def wait_for(self, kind, number=None, seconds=20):
        """The next event of that kind (of that stream), which is taken out; None when the connection ended first."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events:
                if isinstance(event, kind) and number in (None, getattr(event, "stream_id", None)):
                    self.events.remove(event)
                    return event
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind} of {number}, only {self.events}"
            if not self.read_more(left):
                return None

    def answer(self, number):
        """Status, fields and body of the answer on a stream, which may have ended by a reset: then the body is None."""
        ended = self.wait_for((h2.events.StreamEnded, h2.events.StreamReset), number)
        head = self.wait_for(h2.events.ResponseReceived, number)
        body = b""
        for event in [e for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == number]:
            body += event.data
            self.events.remove(event)
        fields = dict(head.headers)
        whole = isinstance(ended, h2.events.StreamEnded)
        return int(fields[":status"]), fields, body if whole else None
