"""What connections cost that do nothing: memory of each, plain and over TLS, and CPU per request beside 10 000 and beside 100.

Each idle connection has made one request and is kept. Every contestant is started anew, with room for that many and a long idle
limit; memory is the resident memory of its processes more than before, so the kernel's own for the sockets is not in it.
"""

import contextlib
import resource
import socket
import time

import others
import tls_client
from bench import HAPROXY, LOGGED_IN, NGINX
from measure import Loaded, rounds
from peers import PROXY_CORE, Unmeasurable

PART = "idle"
WANTED, FEW = 10_000, 100
ROOM = 'max_connections = 100000\nmax_connections_per_source = 100000\nidle_timeout = "30m"'


def many(bench):
    """How many connections the limit of open files allows: HAProxy wants two files for each that it might have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wanted = 1000 if bench.quick else WANTED
    return wanted if most == resource.RLIM_INFINITY else min(wanted, (most - 1000) // 2)


def begin(bench, name, count):
    """A new instance of a contestant with room for that many connections."""
    port = bench.upstream.port
    if name == NGINX:  # it closes idle ones when less than a sixteenth of its table is free
        return others.nginx(bench.rig, port, connections=2 * count)
    if name == HAPROXY:
        return others.haproxy(bench.rig, port, connections=count + 200)
    return bench.rig.fluidgate(port, LOGGED_IN, core=PROXY_CORE, limits=ROOM)[0]


def rest(peer, cookie, count, tls):
    """That many connections, each after one request; gives them, open."""
    context = tls_client.context()
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
    streams = []
    try:
        for number in range(count):
            stream = (
                tls_client.connect(peer.tls, context) if tls else socket.create_connection(("127.0.0.1", peer.port), timeout=20)
            )
            streams.append(stream)
            stream.sendall(request)
            answer = stream.recv(65536)
            while answer and not answer.endswith(b"cdef"):
                answer += stream.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise Unmeasurable(f"connection {number + 1}: answered {answer[:40]!r}")
        return streams
    except OSError as error:
        close(streams)
        raise Unmeasurable(f"connection {len(streams) + 1}: {error}") from error
    except BaseException:
        close(streams)
        raise


def close(streams):
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.close()


def open_still(streams):
    """Whether nobody has closed any of them; what is sampled is every hundredth."""
    for stream in streams[::100]:
        stream.setblocking(False)
        try:
            if stream.recv(1) == b"":
                return False
        except (BlockingIOError, tls_client.ssl.SSLWantReadError):
            pass
    return True


def memory(bench, name, count, tls):
    """Resident bytes for each connection."""
    peer = begin(bench, name, count)
    streams = []
    try:
        close(rest(peer, peer.cookie or bench.cookie, 20, tls))  # what the first connections need once
        time.sleep(0.5)
        before = peer.resident()
        streams = rest(peer, peer.cookie or bench.cookie, count, tls)
        time.sleep(3)  # a connection may be put aside only after a while
        if not open_still(streams):
            raise Unmeasurable("it closed idle connections")
        return (peer.resident() - before) / count
    finally:
        close(streams)
        bench.rig.stop(peer)


def beside(bench, name, count):
    """CPU per request beside many idle connections and beside few: two instances, in alternating rounds."""
    group = "CPU per request, HTTP/1.1, 1 KiB"
    streams, peers, cases = [], [], []
    try:
        for idle in (FEW, count):
            peer = begin(bench, name, count)
            peers.append(peer)
            streams += rest(peer, peer.cookie or bench.cookie, idle, False)
            loaded = Loaded(peer, bench.cookie)
            cases.append((f"{name}, {idle:,} idle", lambda loaded=loaded: {"": loaded.run(bench.seconds).cpu / 1000}))
        rounds(
            bench, PART, group, cases, cases[0][0], {"": "µs"}, aims={(cases[1][0], ""): "≤ 1.15" if name == LOGGED_IN else ""}
        )
        if not open_still(streams):
            raise Unmeasurable(f"{name} closed idle connections")
    finally:
        close(streams)
        bench.rig.stop(*peers)


def measure(bench):
    count = many(bench)
    for tls, aim in ((False, "≤ 10,000 bytes"), (True, "≤ 30,000 bytes")):
        group = f"memory per connection of {count:,}{' over TLS' if tls else ''}"
        for name in (NGINX, HAPROXY, LOGGED_IN):
            try:
                value = memory(bench, name, count, tls)
            except Unmeasurable as error:
                bench.problem(PART, f"{group}: {name}: {error}")
                value = None
            bench.single(PART, group, name, "", value, "bytes", aim if name == LOGGED_IN else "")
    for name in (NGINX, HAPROXY, LOGGED_IN):
        try:
            beside(bench, name, count)
        except Unmeasurable as error:
            bench.problem(PART, f"{name}: {error}")
    bench.note(
        PART,
        "memory is resident memory of the processes, without the kernel's; nginx keeps a table for all connections from its"
        " start, which is not in it.",
    )
