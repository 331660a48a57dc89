"""Two workers against one: what a request costs with them, and how many a whole machine of two cores serves for one of one core.

nginx is measured beside: it shares nothing between its workers, so what two cost more there is the machine's.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from measure import Loaded, Sample, counters, rounds
from others import nginx
from parts.handshakes import connected
from parts.latency import paced
from peers import BOTH, PROXY_CORE

PART = "workers"
CLIENTS = 4  # for each core, so that it is never idle
RATE = 5000  # requests per second that the generator sends without being late, beside a worker on its own core


def called(name, count):
    return f"{name}, {count} worker{'s' * (count > 1)}"


def pair(bench, upstream, count, cores):
    """fluidgate and nginx with that many workers, and the cookie of both."""
    gateway, cookie = bench.rig.fluidgate(upstream, called("fluidgate", count), count, cores)
    other = nginx(bench.rig, upstream, called("nginx proxy_pass", count), core=cores, workers=count)
    return gateway, other, cookie


def compared(bench, group, cases, units, aim):
    """Each two against its one."""
    one, two = called("fluidgate", 1), called("fluidgate", 2)
    first = next(iter(units))
    made = rounds(bench, PART, group, cases, one, units, aims={(two, first): aim})
    bench.versus(made, called("nginx proxy_pass", 2), called("nginx proxy_pass", 1), first, "")


def cost(bench, seconds):
    """At one rate, the generator and the upstream on one of the two cores."""
    cases, running = [], []
    try:
        for count in (1, 2):
            *peers, cookie = pair(bench, bench.upstream.port, count, BOTH)
            running += peers
            cases += [(peer.name, partial(paced, peer, cookie, RATE, seconds)) for peer in peers]
        units = {"CPU per request": "µs", "p99": "ms"}
        compared(bench, f"{RATE:,} requests/s", cases, units, "≤ 1.05")
    finally:
        bench.rig.stop(*running)


def throughput(bench):
    """A generator, a gateway and an upstream of one thread each on one core; and of two threads each, with as many connections for
    each, on two. Then clients that do nothing but shake hands, as many for each core."""
    cases, shaking, running = [], [], []
    try:
        for count, cores in ((1, PROXY_CORE), (2, BOTH)):
            upstream = bench.rig.upstream(called("upstream", count), cores, count)
            *peers, cookie = pair(bench, upstream.port, count, cores)
            running += [upstream, *peers]
            for peer in peers:
                loaded = Loaded(peer, cookie, connections=32 * count, cores=cores, threads=count)
                cases.append((peer.name, partial(served, loaded, bench.seconds)))
                shaking.append((peer.name, partial(shaken, peer, CLIENTS * count, cores, bench.seconds)))
        units = {"requests": "/s", "CPU per request": "µs"}
        compared(bench, "everything on one core, everything twice on two", cases, units, "≥ 1.9")
        units = {"CPU per handshake": "µs", "handshakes": "/s"}
        compared(bench, "full handshakes, clients and gateway on one core, twice as many on two", shaking, units, "≤ 1.05")
    finally:
        bench.rig.stop(*running)


def served(loaded, seconds):
    sample = loaded.run(seconds)
    return {"requests": sample.rate, "CPU per request": sample.cpu / 1000}


def shaken(peer, clients, cores, seconds):
    """Full handshakes by so many processes at once: work that is the worker's alone, and nobody's memory but its own."""
    where = {int(core) for core in cores.split(",")}
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(clients, fork, os.sched_setaffinity, (0, where)) as pool:
        before = counters(peer)
        made = [client.result() for client in [pool.submit(connected, peer.tls, "full", seconds) for _ in range(clients)]]
        sample = Sample(sum(count for count, _ in made), max(took for _, took in made), before, counters(peer))
    return {"CPU per handshake": sample.cpu / 1000, "handshakes": sample.rate}


def measure(bench):
    cost(bench, bench.seconds * 2)
    throughput(bench)
    bench.note(
        PART,
        "in the second case both cores are full, and the generator and the upstream must grow with the gateway: a ratio below 2 is"
        " theirs, the kernel's and the caches', too. nginx's workers share nothing; the system shares out their connections, by chance.",
    )
