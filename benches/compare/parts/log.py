"""What the access log costs: fluidgate that writes it to a file, against fluidgate without one."""

from measure import Loaded, rounds

PART = "log"


def measure(bench):
    gateways, cases = [], []
    try:
        for name, target in (("fluidgate, no access log", "off"), ("fluidgate, access log to a file", "HOME/access.log")):
            gateway, cookie = bench.rig.fluidgate(bench.upstream.port, name, log=target)
            gateways.append(gateway)
            loaded = Loaded(gateway, cookie)
            cases.append((name, lambda loaded=loaded: {"CPU per request": loaded.run(bench.seconds).cpu / 1000}))
        rounds(bench, PART, "HTTP/1.1, 1 KiB", cases, gateways[0].name, {"CPU per request": "µs"},
               aims={(gateways[1].name, "CPU per request"): "≤ 1.03"})  # fmt: skip
    finally:
        bench.rig.stop(*gateways)
