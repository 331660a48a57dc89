"""p99 at half load, open loop at one rate for all.

One rate is half of what the slowest of all can take; the other half of what the slowest of nginx, HAProxy and fluidgate can, or
what the generator can send beside the upstream on one core, if that is less.
"""

from functools import partial

from bench import BARE, CONSTANT, EVERYBODY, HAPROXY, LOGGED_IN, NGINX, PUBLIC
from measure import Loaded, counters, rounds, spent
from openloop import latencies
from peers import Unmeasurable

PART = "latency"
MOST = 15_000  # requests per second that the generator sends without being late
ENOUGH = 20_000  # requests of nginx, HAProxy and fluidgate, so that 200 are beyond their p99
LATE = 0.0005  # seconds, in one of 100 cases: more, and the machine was not quiet


def paced(peer, cookie, rate, seconds):
    """p50 and p99 in ms, and CPU per request."""
    before = counters(peer)
    took, late = latencies(peer, cookie, rate, seconds)
    after = counters(peer)
    if late > LATE:
        raise Unmeasurable(f"the generator was {late * 1000:.1f} ms late in one of 100 cases")
    cpu = spent(before, after)
    at = lambda part: took[int(len(took) * part)] * 1000  # noqa: E731
    return {"p99": at(0.99), "p50": at(0.5), "p999": at(0.999), "CPU per request": cpu / len(took) / 1000,
            "generator late, p99": late * 1000, "requests": len(took)}  # fmt: skip


def measure(bench):
    seconds = bench.seconds * 2
    peers = bench.present(PART, "half load", [name for name in EVERYBODY if name not in (PUBLIC, BARE, CONSTANT)])
    most = {}
    for peer in list(peers):
        loaded = Loaded(peer, bench.cookie)
        try:
            loaded.warm(0.5)
            loaded.warm(1)
        except Unmeasurable as error:
            bench.problem(PART, f"{peer.name}: {error}")
            peers.remove(peer)
            continue
        most[peer.name] = loaded.rate
    fast = [peer for peer in peers if peer.name in (NGINX, HAPROXY, LOGGED_IN)]
    rates = []
    for who in (peers, fast):
        if not who:
            continue
        half = min(most[peer.name] for peer in who) / 2
        rate = min(half, MOST)
        if rate in rates:
            continue  # the slowest of the few is the slowest of all
        rates.append(rate)
        share = (
            f"half of what {min(who, key=lambda peer: most[peer.name]).name} can"
            if rate == half
            else "the most that the generator can send"
        )
        group = f"{rate:,.0f} requests/s, {share}"
        longer = max(seconds, ENOUGH / rate)
        cases = [
            (peer.name, partial(paced, peer, peer.cookie or bench.cookie, rate, longer if peer in fast else seconds))
            for peer in who
        ]
        rounds(bench, PART, group, cases, NGINX, {"p99": "ms", "p50": "ms"}, aims={(LOGGED_IN, "p99"): "≤ 1.00"})
    bench.note(
        PART, "requests come as a Poisson process, at the same moments for everybody; to nginx, HAProxy and fluidgate for longer."
    )
