"""TLS 1.3 handshakes per second of CPU time: full ones with an ECDSA certificate, and resumed ones.

The client is OpenSSL, one connection after the other. Each is looked at: the version, and whether the session was really resumed.
What is counted is a whole connection that carries nothing: accept, handshake, the tickets sent, close.
"""

import contextlib
import socket
import time

import tls_client
from bench import CADDY, HAPROXY, LOGGED_IN, NGINX
from measure import Sample, counters, rounds
from peers import Unmeasurable

PART = "handshakes"
KINDS = {"full": "≥ 1.0", "resumed": "≥ 1.5"}


def ticket(context, port):
    """A session to resume: the server sends it behind the handshake, so it takes an answer to have it."""
    with tls_client.connect(port, context) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(OSError):  # some end without a close_notify
            while stream.recv(65536):
                pass
        if not stream.session or not stream.session.has_ticket:
            raise Unmeasurable("it gives no ticket")
        return stream.session


def connected(port, kind, seconds):
    """How many connections were made and closed, one after the other, and in how many seconds; each handshake was of that kind."""
    context = tls_client.context()
    session = ticket(context, port) if kind == "resumed" else None
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        stream = tls_client.connect(port, context, session)
        if stream.session_reused != (kind == "resumed"):
            raise Unmeasurable(f"handshake {count + 1} was {'resumed' if stream.session_reused else 'not resumed'}")
        # Not closed before the server has: it is to read the end of the handshake, and its tickets are to be taken.
        stream.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while stream.recv(65536):
                pass
        stream.close()
        count += 1
    return count, time.monotonic() - began


def handshakes(peer, kind, seconds):
    """How many a second of CPU time makes."""
    before = counters(peer)
    count, took = connected(peer.tls, kind, seconds)
    sample = Sample(count, took, before, counters(peer))
    return {"handshakes per CPU second": 1e9 / sample.cpu, "CPU per handshake, µs": sample.cpu / 1000, "handshakes": count}


def measure(bench):
    for kind, aim in KINDS.items():
        peers = bench.present(PART, kind, [NGINX, HAPROXY, CADDY, LOGGED_IN])
        cases = [(peer.name, lambda peer=peer, kind=kind: handshakes(peer, kind, bench.seconds)) for peer in peers]
        rounds(
            bench,
            PART,
            kind,
            cases,
            NGINX,
            {"handshakes per CPU second": "/s"},
            aims={(LOGGED_IN, "handshakes per CPU second"): aim},
        )
    bench.note(
        PART,
        "here a higher figure is better. The certificate is ECDSA P-256; one connection at a time; every resumed one was seen"
        " to be. A whole connection is counted: accept, handshake, tickets, close.",
    )
