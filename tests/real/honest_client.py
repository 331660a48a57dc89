"""An honest client, in a process of its own: asks for a page at a steady rate, on one connection and every tenth time on a new
one, and prints for each request when it was sent (monotonic), how long it took in ms, and whether the page came.
Arguments: the port, the address to come from, requests a second, and the request's head."""

import socket
import sys
import time

PORT, SOURCE, RATE = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
HEAD = sys.argv[4].replace("\\n", "\r\n").encode() + b"\r\n\r\n"


def dial():
    return socket.create_connection(("127.0.0.1", PORT), timeout=10, source_address=(SOURCE, 0))


def ask(stream):
    """One exchange; whether it was answered with 200, whole."""
    stream.sendall(HEAD)
    got = b""
    while b"\r\n\r\n" not in got:
        data = stream.recv(65536)
        if not data:
            return False
        got += data
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        data = stream.recv(65536)
        if not data:
            return False
        body += data
    return head.startswith(b"HTTP/1.1 200")


kept, number, due = None, 0, time.monotonic()
while True:
    number += 1
    began = time.monotonic()
    try:
        if number % 10 == 0:
            with dial() as fresh:
                good = ask(fresh)
        else:
            kept = kept or dial()
            good = ask(kept)
            if not good:
                kept = None
    except OSError:
        good, kept = False, None
    print(f"{began:.6f} {(time.monotonic() - began) * 1000:.3f} {int(good)}", flush=True)
    due = max(due + 1 / RATE, time.monotonic() - 1)
    time.sleep(max(0.0, due - time.monotonic()))
