"""What the access log costs: fluidgate that writes it to a file, against fluidgate without one.

Both are started anew for each round: where a process happens to lie in memory changes what a request costs by more than the rounds
of one process differ.
"""

from functools import partial

from measure import Loaded, rounds

PART = "log"


def anew(bench, name, target):
    """One run of a gateway that was just started."""
    gateway, cookie = bench.rig.fluidgate(bench.upstream.port, name, log=target)
    try:
        return {"CPU per request": Loaded(gateway, cookie).run(bench.seconds).cpu / 1000}
    finally:
        bench.rig.stop(gateway)


def measure(bench):
    without, written = "fluidgate, no access log", "fluidgate, access log to a file"
    targets = {without: "off", written: "HOME/access.log"}
    cases = [(name, partial(anew, bench, name, target)) for name, target in targets.items()]
    rounds(bench, PART, "HTTP/1.1, 1 KiB", cases, without, {"CPU per request": "µs"},
           aims={(written, "CPU per request"): "≤ 1.03"})  # fmt: skip
