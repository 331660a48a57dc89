"""CPU per request with 1, 100 and 10 000 routes; each request asks for the one in the middle."""

from measure import Loaded, rounds

PART = "routes"
COUNTS = [1, 100, 10_000]
AIM = "≤ 1.02"


def tables(bench, count):
    """That many routes beside the one that is asked for; half sort before it, half behind."""
    upstream = f"http://127.0.0.1:{bench.upstream.port}"
    return "".join(f'[[routes]]\npath = "/app{number:05}/part"\nupstream = ["{upstream}"]\n\n' for number in range(count - 1))


def measure(bench):
    gateways, cases = [], []
    try:
        for count in COUNTS:
            name = f"{count:,} route{'s' * (count > 1)}"
            gateway, cookie = bench.rig.fluidgate(bench.upstream.port, f"fluidgate, {name}", routes=tables(bench, count))
            gateways.append(gateway)
            if count > 1:
                gateway.path = f"/app{(count - 1) // 2:05}/part"
            loaded = Loaded(gateway, cookie)
            cases.append((gateway.name, lambda loaded=loaded: cost(loaded, bench.seconds)))
        rounds(bench, PART, "HTTP/1.1, 1 KiB", cases, gateways[0].name, {"CPU per request": "µs"},
               aims={(gateways[-1].name, "CPU per request"): AIM})  # fmt: skip
    finally:
        bench.rig.stop(*gateways)


def cost(loaded, seconds):
    return {"CPU per request": loaded.run(seconds).cpu / 1000}
