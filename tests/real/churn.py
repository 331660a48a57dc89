"""Churn: upstreams that are killed every second in the middle of answers, clients that break off everywhere, several users on every
connection. Each request has a marker of its own, and whoever sees a byte of another one says so. Run by test_churn.py for a few
seconds, and by scripts/churn for as long as it is told."""

import collections
import concurrent.futures
import multiprocessing
import pathlib
import signal
import time

from authority import Authority
from churn_clients import HOST, Clients, told
from harness import VENV, Gateway, Process, accepts, free_port, wait_until
from peers import start_nginx
from wire import Wire

HERE = pathlib.Path(__file__).resolve().parent
USERS = ("alice", "bob", "carol")
PROCESSES = 2


def run_clients(port, tls_port, trust, cookies, seed, seconds):
    """In a process of its own."""
    return Clients(port, tls_port, trust, cookies, seed).run(seconds)


class Churn:
    """A gateway before two upstreams of HTTP/1.1, which share a route, and one of HTTP/2. `test` ends what was started."""

    def __init__(self, test, folder):
        self.test, self.folder = test, folder
        authority = Authority(folder)
        authority.sign("front", HOST)
        self.trust = authority.file
        self.ports, self.h2_port, self.tls_port = [free_port(), free_port()], free_port(), free_port()
        self.upstreams, self.nginx, self.restarts = {}, None, 0
        self.wrong, self.count = folder / "wrong", folder / "count"
        members = ", ".join(f'"http://127.0.0.1:{port}"' for port in self.ports)
        self.gateway = Gateway(
            folder,
            f'[tls]\ncertificates = [{authority.toml("front")}]\n\n[[routes]]\npath = "/h1"\nupstream = [{members}]\n\n'
            f'[[routes]]\npath = "/h2"\nupstream = ["h2c://127.0.0.1:{self.h2_port}"]\n',
            users=USERS,
            server='grace_period = "1s"',
            listeners=[f'{{ address = "127.0.0.1:{self.tls_port}", tls = true }}'],
        )
        test.addCleanup(self.gateway.stop)
        self.gateway.start()
        self.cookies = {user: self.gateway.client().log_in_at(HOST, user) for user in USERS}
        for port in self.ports:
            self.start(port)
        self.start_nginx()

    def start(self, port):
        argv = [VENV / "bin/python", HERE / "churn_upstream.py", port, self.wrong, self.count]
        process = Process(argv, self.folder / "upstream.log")
        self.test.addCleanup(process.stop)
        wait_until(lambda: accepts(port), "an upstream", process=process.child, log=process.log)
        self.upstreams[port] = process

    def start_nginx(self):
        words = "set $few '" + "$http_remote_user $http_x_marker " * 20 + "'; set $many '" + "$few" * 20 + "';"
        server = f"server {{ listen 127.0.0.1:{self.h2_port} http2; location / {{ {words} return 200 $many; }} }}"
        self.nginx = start_nginx(self.test, self.folder, server, self.h2_port, f"nginx-{self.restarts}")

    def restart(self):
        """Kills one upstream where it stands, and starts it again."""
        self.restarts += 1
        if self.restarts % 3 == 0:
            self.nginx.child.send_signal(signal.SIGKILL)
            self.nginx.stop()
            self.start_nginx()
        else:
            port = self.ports[self.restarts % 3 - 1]
            self.upstreams[port].child.send_signal(signal.SIGKILL)
            self.upstreams[port].stop()
            self.start(port)

    def run(self, seconds):
        """Gives what became of requests, and what nobody may get."""
        seen, wrong = collections.Counter(), []
        with concurrent.futures.ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("fork")) as pool:
            arguments = (self.gateway.port, self.tls_port, self.trust, self.cookies)
            clients = [pool.submit(run_clients, *arguments, seed, seconds) for seed in range(PROCESSES)]
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                # The pace of the churn, not a wait for something.
                concurrent.futures.wait(clients, timeout=1)
                self.restart()
            for client in clients:
                one, more = client.result()
                seen += one
                wrong += more
        wrong += self.wrong.read_text().splitlines() if self.wrong.exists() else []
        return seen, wrong

    def still_serves(self):
        """Whether each user gets an honest answer from each upstream afterwards."""
        for where in ("h1", "h2"):
            for number, user in enumerate(USERS):
                marker = f"{user}.after{number}"
                with Wire.to(self.gateway.port) as wire:
                    head, body = wire.ask(
                        f"GET /{where}/steady/{marker} HTTP/1.1\r\nHost: {HOST}\r\nX-Marker: {marker}\r\n"
                        f"Cookie: marker={marker}; {self.cookies[user]}\r\n\r\n".encode()
                    )
                word = told(marker, where)
                if head.status != 200 or not body or body.replace(word, b""):
                    return False
        return True

    def read_upstream(self):
        """How many requests the upstreams of HTTP/1.1 have read."""
        return self.count.stat().st_size


def report(seen, wrong, churn, seconds):
    """The numbers as text."""
    lines = [f"{seen.total()} outcomes in {seconds} s, {churn.restarts} restarts of upstreams, {churn.read_upstream()} requests read by those of HTTP/1.1"]
    lines += [f"  {what}: {count}" for what, count in sorted(seen.items())]
    return "\n".join([*lines, f"{len(wrong)} bytes, fields or identities of somebody else", *map(str, wrong[:20])])


