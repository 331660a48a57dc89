"""How many connections are opened to the upstream for 1 000 requests of steady load, counted by the upstream itself."""

import contextlib
import http.client
import re

from bench import CADDY, HAPROXY, LOGGED_IN, NGINX
from measure import Loaded, h2load, rounds

PART = "reuse"


def accepted(upstream):
    """Connections that the upstream took so far. The one that asks is its own and is known to the caller."""
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/accepted")
        return int(re.search(r"^ (\d+) \d+ \d+", connection.getresponse().read().decode(), re.M)[1])


def opened(bench, loaded):
    """The load is warm: what it opened by then is not counted."""
    loaded.warm(0.5)
    requests = max(2000, int(loaded.rate * bench.seconds))
    before = accepted(bench.upstream)
    h2load(loaded.peer, loaded.cookie, requests)
    more = accepted(bench.upstream) - before - 1
    return {"connections opened per 1,000 requests": more / requests * 1000, "requests": requests}


def measure(bench):
    peers = bench.present(PART, "HTTP/1.1, 1 KiB", [NGINX, HAPROXY, CADDY, LOGGED_IN])
    cases = [(peer.name, lambda loaded=Loaded(peer, bench.cookie): opened(bench, loaded)) for peer in peers]
    rounds(bench, PART, "HTTP/1.1, 1 KiB", cases, None, {"connections opened per 1,000 requests": ""},
           aims={(LOGGED_IN, "connections opened per 1,000 requests"): "≤ 1 (99.9 % reused)"})  # fmt: skip
