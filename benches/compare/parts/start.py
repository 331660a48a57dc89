"""From exec to the first answer with an empty store; the binary's size; resident memory after start and after a little load."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

from bench import LOGGED_IN
from measure import h2load, rounds
from peers import FLUIDGATE, PROXY_CORE, Peer, Unmeasurable

PART = "start"
REQUEST = b"GET /_auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def first_answer(argv, port):
    """Milliseconds from exec to the first byte of an answer, and the process, which still runs."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [*map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {int(PROXY_CORE)}),
    )  # fmt: skip
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
            stream.sendall(REQUEST)
            answer = stream.recv(4096)
            took = (time.perf_counter() - began) * 1000
            if not answer.startswith(b"HTTP/1.1 200"):
                end(child)
                raise Unmeasurable(f"first answer: {answer[:40]!r}")
            return took, child
        if child.poll() is not None or time.perf_counter() - began > 10:
            end(child)
            raise Unmeasurable("it did not start")
        time.sleep(0.0005)  # between two questions


def end(child):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def started(bench):
    argv, port, _ = bench.rig.gateway_at_rest(bench.upstream.port, "started")
    took, child = first_answer(argv, port)
    try:
        time.sleep(0.5)  # until what follows the start is done
        status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
        own = int(re.search(r"^RssAnon:\s+(\d+)", status, re.M)[1]) * 1024 / 1e6
        return {
            "exec to first answer": took,
            "resident memory, idle": Peer("", port, child).resident() / 1e6,
            "of this not of files": own,
        }
    finally:
        end(child)


def measure(bench):
    rounds(bench, PART, "empty store", [(LOGGED_IN, lambda: started(bench))], None,
           {"exec to first answer": "ms", "resident memory, idle": "MB", "of this not of files": "MB"},
           aims={(LOGGED_IN, "exec to first answer"): "≤ 50 ms", (LOGGED_IN, "resident memory, idle"): "≤ 20 MB"})  # fmt: skip
    binary = pathlib.Path(FLUIDGATE)
    stripped = b".symtab\0" not in binary.read_bytes()
    what = "size of the binary" + ("" if stripped else ", not stripped")
    bench.single(PART, "", LOGGED_IN, what, binary.stat().st_size / 1e6, "MB", "≤ 20 MB stripped")
    loaded, cookie = bench.rig.fluidgate(bench.upstream.port, "fluidgate, after load")
    try:
        h2load(loaded, cookie, 2000)
        time.sleep(0.5)
        bench.single(PART, "", LOGGED_IN, "resident memory after a login and 2,000 requests", loaded.resident() / 1e6, "MB")
    finally:
        bench.rig.stop(loaded)
