"""The clients of a siege, all in one thread: they say what their stall has them say, drip, sip or take what comes, and it is noted
when the gateway has ended each."""

import contextlib
import socket
import ssl
import time

from http2_frames import ACK, PING, frame, split
from siege import name_of

GONE = (OSError, ssl.SSLError, ValueError)


class Attacker:
    """One connection that stalls."""

    def __init__(self, site, stall):
        self.stall, self.left, self.ended_after = stall, b"", None
        self.stream = site.dial(stall.way, stall.small_buffer)
        self.name = name_of(self.stream)
        self.pieces = iter(stall.drips()) if stall.drips else None
        self.began = time.monotonic()
        with contextlib.suppress(*GONE):
            # Who does not read may not get rid of all of it.
            self.stream.settimeout(0.5 if stall.small_buffer else 20)
            self.stream.sendall(stall.says)
        if stall.half_closes:
            with contextlib.suppress(*GONE):
                self.stream.shutdown(socket.SHUT_WR)
        self.stream.setblocking(False)

    def tick(self):
        """Once a second."""
        with contextlib.suppress(*GONE):
            if self.pieces and (piece := next(self.pieces, b"")):
                self.stream.send(piece)
        if self.stall.sips:
            with contextlib.suppress(*GONE):
                self.stream.recv(1)

    def take(self):
        """Reads what is there, and answers pings as an honest client would."""
        with contextlib.suppress(*GONE):
            while data := self.stream.recv(1 << 16):
                if self.stall.way not in ("h2", "h2c"):
                    continue
                frames, self.left = split(self.left + data)
                for kind, flags, _, payload in frames:
                    if kind == PING and not flags & ACK:
                        self.stream.send(frame(PING, ACK, payload=payload))


class Siege:
    """`count` attackers of each of `stalls` on `site`, who are looked at every `period` seconds: whoever times an honest client beside
    them wants that to be seldom. They go when the block ends, if the gateway has not ended them before."""

    def __init__(self, site, stalls, count, period=0.2):
        self.site, self.attackers, self.left, self.period = site, [], [], period
        self.next_tick = self.next_look = time.monotonic()
        for stall in stalls:
            for _ in range(count):
                self.attackers.append(Attacker(site, stall))
                self.left.append(self.attackers[-1])
                # The first have begun while the last are still coming.
                self.turn()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for attacker in self.attackers:
            attacker.stream.close()

    def turn(self):
        """What is due: a look at who was ended, a piece of each that drips, and what has come for those who read."""
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + self.period
        held = self.site.held()
        for attacker in self.left:
            if attacker.name not in held:
                attacker.ended_after = now - attacker.began
        self.left = [attacker for attacker in self.left if attacker.ended_after is None]
        if now >= self.next_tick:
            self.next_tick = now + 1
            for attacker in self.left:
                attacker.tick()
        for attacker in self.left:
            if attacker.stall.reads:
                attacker.take()

    def go_on(self, seconds):
        """Lets them stall for that long, or until all were ended; whether some are still held."""
        until = time.monotonic() + seconds
        while self.left and time.monotonic() < until:
            self.turn()
            # Looked at so often; nothing is waited for that could be told.
            time.sleep(0.05)
        return bool(self.left)

    def ends(self):
        """Stall → the seconds after which the gateway ended the first and the last of it, None if it holds one still."""
        ends = {}
        for attacker in self.attackers:
            first, last = ends.get(attacker.stall, (attacker.ended_after, attacker.ended_after))
            if None in (last, attacker.ended_after):
                ends[attacker.stall] = (first, None)
            else:
                ends[attacker.stall] = (min(first, attacker.ended_after), max(last, attacker.ended_after))
        return ends
