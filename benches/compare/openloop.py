"""An open-loop generator: requests at moments that do not wait for answers. One that waits for a connection waits on the clock.

h2load's own rate keeps all connections in step and sends in bursts every 10 ms, which measures the bursts; so here the moments
are those of a Poisson process, the same for everybody.
"""

import collections
import random
import select
import socket
import time

from peers import SIZES, Unmeasurable


def moments(rate, seconds):
    """When each request is due; the same for every contestant."""
    chance, at, found = random.Random(41), 0.0, []
    while at < seconds:
        at += chance.expovariate(rate)
        found.append(at)
    return found


def whole(answer, size):
    """Whether an answer is complete; raises when it is not the expected one."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Unmeasurable(f"answered {bytes(answer[:40])!r}")
    if len(answer) < end + 4 + size:
        return False
    if len(answer) > end + 4 + size:
        raise Unmeasurable(f"an answer of {len(answer) - end - 4} bytes for {size}")
    return True


def latencies(peer, cookie, rate, seconds, path="/", connections=64):
    """Sorted seconds of all requests over HTTP/1.1, and how late the generator itself was in the 99th of 100 cases."""
    head = f"GET {peer.path}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n" + (f"Cookie: {cookie}\r\n" if cookie else "") + "\r\n"
    request, size = head.encode(), SIZES[path]
    streams = [socket.create_connection(("127.0.0.1", peer.port), timeout=10) for _ in range(connections)]
    try:
        for stream in streams:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.setblocking(False)
        due, idle, waiting = collections.deque(moments(rate, seconds)), list(streams), {}
        # Known at each step: whose answer is awaited, since when it was due, and what of it is here.
        found, late, freed, began = [], [], 0.0, time.perf_counter() + 0.05
        stop = began + seconds * 2 + 5
        while due or waiting:
            now = time.perf_counter() - began
            while due and due[0] <= now and idle:
                stream, at = idle.pop(), due.popleft()
                stream.send(request)
                # Due while no connection was free: the contestant's delay, which counts. Else it was the generator that was late.
                waited = at < freed
                late.append(0.0 if waited else now - at)
                waiting[stream] = (at if waited else now, bytearray())
            pause = max(0.0, due[0] - (time.perf_counter() - began)) if due and idle else 1.0
            ready, _, _ = select.select(list(waiting), [], [], pause)
            now = time.perf_counter() - began
            freed = freed if idle else now
            for stream in ready:
                at, answer = waiting[stream]
                piece = stream.recv(1 << 18)
                if not piece:
                    raise Unmeasurable("a connection was closed")
                answer += piece
                if whole(answer, size):
                    found.append(now - at)
                    del waiting[stream]
                    idle.append(stream)
            if now + began > stop:
                raise Unmeasurable(f"{rate:,.0f} requests/s were not reached")
        late.sort()
        return sorted(found), late[int(len(late) * 0.99)]
    finally:
        for stream in streams:
            stream.close()
