"""Requests of every common kind through the gateway that FLUIDGATE names: `./scripts/build-guided` counts what they run through.

Nothing is measured here, but every answer is checked as in the bench: a profile of errors would lead the compiler astray.
"""

import tls_client  # isort: skip # noqa: F401, I001 (first, as it says itself)

import contextlib
import http.client
import signal
import sys
import tempfile

from measure import PROTOCOLS, h2load
from parts.bodies import SINK, download, upload
from parts.handshakes import KINDS, handshakes
from peers import LARGE, RIG_CORE, ROOT, USER, Peer, Rig, Unmeasurable

REQUESTS = 20_000  # of each protocol, with a session
SIGN_INS = 8
# What a browser sends beside a cookie.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Upgrade-Insecure-Requests": "1",
    "Priority": "u=0, i",
}


def ask(port, method, path, form=None, cookie=None, expected=200):
    """One request of a browser's, on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        headers = {**BROWSER, **({"Cookie": cookie} if cookie else {})}
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, form, headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != expected:
            raise Unmeasurable(f"{method} {path} answered {answer.status}: {body[:200]!r}")


def traffic(rig, upstream, name, log):
    """All of it through one gateway."""
    gateway, cookie = rig.fluidgate(upstream.port, name, log=log)
    public = Peer(name, gateway.port, gateway.process, gateway.log, "/public", None, gateway.tls)
    for protocol in PROTOCOLS:
        for fields in ({}, BROWSER):
            h2load(gateway, cookie, REQUESTS // 2, protocol, fields=fields)
            h2load(public, None, REQUESTS // 10, protocol, fields=fields)
        h2load(gateway, cookie, REQUESTS // 20, protocol, "/64k")
    for kind in KINDS:
        handshakes(gateway, kind, 1)
    for tls in (False, True):
        download(gateway, cookie, tls, LARGE)
        upload(gateway, cookie, tls, LARGE)
    for _ in range(SIGN_INS):
        ask(gateway.port, "GET", "/", expected=303)
        ask(gateway.port, "GET", "/_auth/login")
        ask(gateway.port, "POST", "/_auth/login", f"username={USER}&password=wrong&return_to=/", expected=401)
        ask(gateway.port, "POST", "/_auth/logout", "", rig.log_in(gateway.port), expected=303)
    rig.stop(gateway)
    if gateway.process.returncode != 0:
        raise Unmeasurable(f"the gateway ended with {gateway.process.returncode}, and its counts may not be whole")


def main():
    (ROOT / "target/tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="traffic-", dir=ROOT / "target/tmp") as folder:
        rig = Rig(folder)
        try:
            upstream = rig.upstream()
            rig.start("sink", [sys.executable, "-B", SINK, rig.sink], RIG_CORE, rig.sink)
            traffic(rig, upstream, "with an access log", "HOME/access.log")
            traffic(rig, upstream, "without one", "off")
        finally:
            rig.close()


if __name__ == "__main__":
    # A SIGTERM takes the same way out as Ctrl-C, so that nothing is left running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except Unmeasurable as error:
        sys.exit(f"the traffic was not as it should be: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
