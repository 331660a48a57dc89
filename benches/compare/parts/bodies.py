"""CPU per gigabyte of large bodies, down and up, over HTTP/1.1 plain and over TLS."""

import pathlib
import re
import socket
import sys

import tls_client
from bench import CADDY, HAPROXY, LOGGED_IN, NGINX
from measure import counters, rounds, spent
from peers import LARGE, RIG_CORE, Unmeasurable

PART = "bodies"
SINK = pathlib.Path(__file__).resolve().parents[1] / "sink.py"
PIECE = memoryview(bytes(range(256)) * 4096)  # 1 MiB


def connect(peer, tls):
    return tls_client.connect(peer.tls) if tls else socket.create_connection(("127.0.0.1", peer.port), timeout=60)


def answer(stream):
    """The head's length field, and what of the body came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        if not piece:
            raise Unmeasurable("closed before an answer")
        data += piece
    head, rest = data.split(b"\r\n\r\n", 1)
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    if not head.startswith(b"HTTP/1.1 200 ") or not length:
        raise Unmeasurable(f"answered {head[:60]!r}")
    return int(length[1]), rest


def download(peer, cookie, tls, size):
    """The upstream's large file; all of its bytes must come, and not one more."""
    room = memoryview(bytearray(1 << 20))
    with connect(peer, tls) as stream:
        stream.sendall(f"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode())
        length, rest = answer(stream)
        got = len(rest)
        while got < length:
            piece = stream.recv_into(room)
            if not piece:
                break
            got += piece
    if length != size or got != size:
        raise Unmeasurable(f"{got} bytes of {size}")


def upload(peer, cookie, tls, size):
    """As many bytes to the sink, which says how many it got."""
    with connect(peer, tls) as stream:
        head = (
            f"POST /sink HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        )
        stream.sendall(head.encode())
        for _ in range(size // len(PIECE)):
            stream.sendall(PIECE)
        length, rest = answer(stream)
        while len(rest) < length:
            piece = stream.recv(64)
            if not piece:
                break
            rest += piece
    if rest != str(size).encode():
        raise Unmeasurable(f"the upstream got {rest[:40]!r} bytes of {size}")


def cost(peer, cookie, way, tls):
    """CPU milliseconds per gigabyte (10^9 bytes)."""
    before = counters(peer)
    way(peer, cookie, tls, LARGE)
    return {"CPU per GB": spent(before, counters(peer)) / 1e6 / (LARGE / 1e9)}


def measure(bench):
    bench.peer(NGINX)  # the upstream, and with it the sink's port, comes with the first contestant
    port = bench.rig.sink
    sink = bench.rig.start("sink", [sys.executable, "-B", SINK, port], RIG_CORE, port)
    try:
        for title, way in (("download", download), ("upload", upload)):
            for tls in (False, True):
                group = f"{title}{' over TLS' if tls else ''}"
                cases = [
                    (peer.name, lambda peer=peer, way=way, tls=tls: cost(peer, peer.cookie or bench.cookie, way, tls))
                    for peer in bench.present(PART, group, [NGINX, HAPROXY, CADDY, LOGGED_IN])
                ]
                rounds(bench, PART, group, cases, NGINX, {"CPU per GB": "ms"}, aims={(LOGGED_IN, "CPU per GB"): "≤ 1.00"})
    finally:
        bench.rig.stop(sink)
    bench.note(PART, f"one body of {LARGE >> 20} MiB at a time; nginx buffers neither way on the disk.")
