"""System calls per request over HTTP/1.1, counted by strace in a short run of its own."""

from bench import EVERYBODY, LOGGED_IN, PUBLIC
from measure import h2load, system_calls
from peers import Unmeasurable

PART = "calls"
GROUP = "HTTP/1.1, 1 KiB"
REQUESTS = 4000


def measure(bench):
    requests = REQUESTS // 2 if bench.quick else REQUESTS
    for peer in bench.present(PART, GROUP, EVERYBODY):
        cookie = None if peer.name == PUBLIC else peer.cookie or bench.cookie
        try:
            h2load(peer, cookie, 500)
            calls, _ = system_calls(peer, lambda peer=peer, cookie=cookie: h2load(peer, cookie, requests))
            value = calls / requests
        except Unmeasurable as error:
            bench.problem(PART, f"{peer.name}: {error}")
            value = None
        bench.single(PART, GROUP, peer.name, "system calls per request", value, "", "≤ 4.3" if peer.name == LOGGED_IN else "")
