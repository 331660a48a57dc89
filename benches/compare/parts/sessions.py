"""What sessions cost by their number, and a storm of logins: what ./scripts/bench-sessions is made of, in this run's rounds.

That command measures more of it. Loads come from wrk, whose errors and average length are looked at, not each answer.
"""

import functools
import pathlib
import sys

from measure import rounds
from peers import ROOT, Unmeasurable

PART = "sessions"
LOGINS, STORM, PLAIN = "durable logins per second past the password check", "p99 in a login storm", "p99 beside plain load"


@functools.cache
def programs():
    """benches/sessions, as a module."""
    sys.path.insert(0, str(ROOT / "benches/sessions"))
    import sessions

    return sessions


def gateways(bench, many):
    """Gateways with 1, 1 000 and that many sessions, filled and not running."""
    if not bench.fill or not pathlib.Path(bench.fill).is_file():
        raise Unmeasurable("the program that fills a store is not built; ./scripts/bench builds it")
    return [programs().Gateway(bench.rig, count, bench.upstream.port, bench.fill) for count in (1, 1000, many)]


def starts(bench, large):
    """The largest store: how long it takes until ready."""
    both = programs().BOTH

    def once():
        took = large.start(both)
        large.stop()
        if large.live() != large.sessions:
            raise Unmeasurable(f"{large.live()} sessions were found at start")
        return {"start to ready": took}

    rounds(
        bench,
        PART,
        large.name,
        [("fluidgate", once)],
        None,
        {"start to ready": "s"},
        aims={("fluidgate", "start to ready"): "≤ 5 s"},
    )


def anew(gateway, cases):
    """Starts it again before the first of its `cases` in each round: where a process happens to lie in memory changes what a
    request costs by more than the rounds of one process differ."""
    left = 0

    def begin():
        nonlocal left
        if left == 0:
            if gateway.process.poll() is None:
                gateway.stop()
            gateway.start()
            gateway.settle()
            left = cases
        left -= 1

    return begin


def growth(bench, one, few, large):
    """CPU per request by the number of sessions, random ones of them asked for.

    The generator shares the last cache with the gateway: so the large one is held against a small one while the generator reads
    through as many cookies.
    """
    lookup, seconds = programs().lookup, max(1, round(bench.seconds))  # wrk takes whole seconds
    reading = f"{few.name}, generator reads {large.sessions:,}"
    of_one, of_few, of_large = anew(one, 1), anew(few, 2), anew(large, 1)
    cases = [
        (few.name, few, of_few, {}),
        (one.name.removesuffix("s"), one, of_one, {}),
        (reading, few, of_few, {"BESIDE": str(large.cookies)}),
        (large.name, large, of_large, {}),
    ]

    def asked(gateway, begin, more):
        begin()
        return {"CPU per request": lookup(gateway, seconds, 32, **more) / 1000}

    cases = [(name, functools.partial(asked, gateway, begin, more)) for name, gateway, begin, more in cases]
    made = rounds(bench, PART, "HTTP/1.1, 1 KiB", cases, few.name, {"CPU per request": "µs"})
    bench.versus(made, large.name, reading, "CPU per request", "≤ 1.03")
    apart = (large.resident() - few.resident() - programs().SLED_CACHE) / (large.sessions - few.sessions)
    bench.single(
        PART,
        large.name,
        "fluidgate",
        "resident memory per session, without the store's cache of 16 MiB",
        apart,
        "bytes",
        "≤ 200 bytes",
    )


def storms(bench, few):
    def once():
        rate, calm, busy, stormy = programs().storm(bench.rig, few, max(1, round(bench.seconds * 2)))
        return {LOGINS: rate, STORM: stormy, PLAIN: busy, "the one by the other": stormy / busy, "p99 calm": calm}

    units = {LOGINS: "/s", STORM: "ms", PLAIN: "ms", "the one by the other": ""}
    aims = {("fluidgate", LOGINS): "≥ 2,000", ("fluidgate", "the one by the other"): "≤ 1.25"}
    rounds(bench, PART, "login storm", [("fluidgate", once)], None, units, aims)


def measure(bench):
    one, few, large = gateways(bench, 100_000 if bench.quick else 1_000_000)
    starts(bench, large)
    for gateway in (one, few, large):
        gateway.start()
    large.settle()
    bench.note(
        PART,
        "requests by the number of sessions: the gateways were started anew for each round, and asked when the store had cleaned up.",
    )
    growth(bench, one, few, large)
    for gateway in (one, few, large):
        gateway.stop()
    few.start(programs().BOTH)
    try:
        storms(bench, few)
    finally:
        few.stop()
