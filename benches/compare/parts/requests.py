"""CPU per request: HTTP/1.1, HTTP/1.1 over TLS, HTTP/2 over TLS, answers of 1 KiB and 64 KiB; context switches with them."""

from bench import ASKING, BARE, CADDY, EVERYBODY, HAPROXY, HYPER, LOGGED_IN, NGINX, OAUTH2, PLAIN, PUBLIC
from measure import PROTOCOLS, Loaded, h2load, rounds
from peers import SIZES

PART = "requests"
FEW = [NGINX, HAPROXY, CADDY, LOGGED_IN, PUBLIC]
FLOOR = 20_000  # requests, straight to the upstream
AIMS = {"h1": "≤ 1.00", "h1s": "≤ 0.90"}


def cost(loaded, seconds):
    """One run as the figures of the table and of the JSON."""
    sample = loaded.run(seconds)
    return {
        "CPU per request": sample.cpu / 1000, "context switches per request": sample.voluntary + sample.involuntary,
        "voluntary switches": sample.voluntary, "core 0 busy": sample.busy, "requests per second": sample.rate,
    }  # fmt: skip


def measure(bench):
    grid = [(protocol, path) for path in SIZES for protocol in PROTOCOLS]
    if bench.quick:
        grid = [("h1", "/"), ("h2s", "/")]
    for protocol, path in grid:
        group = f"{PROTOCOLS[protocol]}, {SIZES[path] >> 10} KiB"
        everybody = EVERYBODY if protocol == "h1" or not bench.quick else FEW
        # oauth2-proxy offers clients HTTP/1.1 only, and benches/floor offers nothing else.
        left_out = {"h1": [], "h1s": [HYPER], "h2s": [HYPER, OAUTH2]}[protocol]
        everybody = [*everybody, *([PLAIN] if bench.plain else []), HYPER]
        peers = bench.present(PART, group, [name for name in everybody if name not in left_out])
        cases = []
        for peer in peers:
            loaded = Loaded(peer, None if peer.name == PUBLIC else bench.cookie, protocol, path)
            cases.append((peer.name, lambda loaded=loaded: cost(loaded, bench.seconds)))
        units = {"CPU per request": "µs"}
        if (protocol, path) == ("h1", "/"):
            units["context switches per request"] = ""
        aims = {(LOGGED_IN, "CPU per request"): AIMS.get(protocol, "") if path == "/" else "",
                (LOGGED_IN, "context switches per request"): "≤ 0.05"}  # fmt: skip
        made = rounds(bench, PART, group, cases, NGINX, units, aims=aims)
        if path == "/":
            bench.versus(made, LOGGED_IN, BARE, "CPU per request", "")
            bench.versus(made, LOGGED_IN, ASKING, "CPU per request", "≤ 0.40" if protocol == "h1" else "")
            bench.versus(made, LOGGED_IN, PUBLIC, "CPU per request", "≤ 1.05" if protocol == "h1" else "")
            bench.versus(made, LOGGED_IN, PLAIN, "CPU per request", "")
            if protocol == "h1":
                # Two that are built alike.
                bench.versus(made, PLAIN if bench.plain else LOGGED_IN, HYPER, "CPU per request", "")
    floor = FLOOR / h2load(bench.upstream, bench.cookie, FLOOR)
    bench.note(PART, f"h2load straight to the upstream, HTTP/1.1, 1 KiB: {floor:,.0f} requests/s.")
    bench.note(
        PART,
        "32 requests at a time: 32 connections, over HTTP/2 8 with 4 streams each; opening the connections is counted with it."
        " oauth2-proxy speaks no HTTP/2 with clients.",
    )
