"""Sends floods, and says how each ended and what it cost the gateway."""

import contextlib
import dataclasses
import select
import ssl
import time

from http2_frames import GOAWAY, RST_STREAM, split

# What is handed to the kernel at a time.
BATCH = 1 << 16


@dataclasses.dataclass
class Outcome:
    """What became of a flood on one connection."""

    frames: int
    sent: int
    seconds: float
    ended_by: str

    @property
    def ended(self):
        return self.ended_by != "absorbed" and not self.ended_by.startswith("held back")


class Flooder:
    """One connection that floods."""

    def __init__(self, site, flood, way, frames):
        self.flood, self.most, self.pieces = flood, frames, flood.pieces()
        self.stream = site.dial(way, small_buffer=not flood.reads)
        self.stream.setblocking(False)
        self.began, self.frames, self.sent, self.batch, self.left = time.monotonic(), 0, 0, b"", b""
        self.said, self.over, self.resets = "", "", 0

    def fill(self):
        pieces = []
        size = 0
        while size < BATCH and self.frames < self.most:
            piece = next(self.pieces)
            self.frames += 1
            pieces.append(piece)
            size += len(piece)
        self.batch = b"".join(pieces)

    def step(self):
        """Sends and reads what can be sent and read now; whether that was anything."""
        moved = False
        try:
            if not self.batch:
                self.fill()
            if self.batch:
                count = self.stream.send(self.batch)
                self.sent += count
                self.batch = self.batch[count:]
                moved = True
            elif not self.over:
                self.over = "absorbed"
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except (OSError, ssl.SSLError) as error:
            self.over = self.said or type(error).__name__
        return self.take() or moved

    def take(self):
        # Who reads nothing still looks whether it has been reset.
        if not self.flood.reads:
            return False
        try:
            data = self.stream.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (OSError, ssl.SSLError) as error:
            self.over = self.said or type(error).__name__
            return True
        if not data:
            self.over = self.said or "closed"
        frames, self.left = split(self.left + data)
        for kind, _, _, payload in frames:
            if kind == RST_STREAM:
                self.resets += 1
            if kind == GOAWAY and int.from_bytes(payload[4:8], "big"):
                self.said = f"GOAWAY {int.from_bytes(payload[4:8], 'big')} {payload[8:].decode(errors='replace')}".strip()
        return True


def send_flood(site, flood, way, connections, frames, seconds):
    """Floods with so many frames on each of so many connections, for that long at most; an `Outcome` each."""
    flooders = [Flooder(site, flood, way, frames) for _ in range(connections)]
    began = time.monotonic()
    outcomes = []
    try:
        # Absorbed: all was sent, and the answer to it may still be the end.
        settled = None
        while True:
            left = [flooder for flooder in flooders if not flooder.over or flooder.over == "absorbed"]
            moving = [flooder for flooder in left if flooder.step()]
            now = time.monotonic()
            busy = [flooder for flooder in left if not flooder.over]
            settled = None if busy else settled or now
            if not left or now - began > seconds or (settled and not moving and now - settled > 0.3):
                break
            if not moving:
                readers = [f.stream for f in left if f.flood.reads]
                writers = [f.stream for f in left if f.batch]
                with contextlib.suppress(ValueError):
                    select.select(readers, writers, [], 0.1)
        for flooder in flooders:
            ended_by = flooder.over or f"held back, {flooder.resets} resets"
            outcomes.append(Outcome(flooder.frames, flooder.sent, time.monotonic() - flooder.began, ended_by))
    finally:
        for flooder in flooders:
            flooder.stream.close()
    return outcomes
