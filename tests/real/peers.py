"""The programs of others that stand before and behind the gateway: how each is started here."""

import os
import shutil

from harness import Process, accepts, wait_until


def program(name):
    """The path of an installed program; a missing one fails the test."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    assert path, f"{name} is not installed"
    return path


def start_nginx(test, folder, http, port, name="nginx", address="127.0.0.1", connections=256):
    """nginx with `http` in its http block, up when `port` accepts; `test` ends it."""
    base = folder / name
    base.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    paths = "\n".join(f"  {kind}_temp_path {base}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (base / "nginx.conf").write_text(
        f"""{user}
daemon off;
worker_processes 1;
pid {base}/nginx.pid;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  sendfile on;
  client_max_body_size 0;
{paths}
  default_type application/octet-stream;
{http}
}}
"""
    )
    log = base / "log"
    process = Process([program("nginx"), "-c", base / "nginx.conf", "-e", base / "error.log"], log)
    test.addClassCleanup(process.stop) if isinstance(test, type) else test.addCleanup(process.stop)
    wait_until(lambda: accepts(port, address), name, process=process.child, log=log)
    return process


def start_haproxy(test, folder, sections, port, name="haproxy"):
    """HAProxy in HTTP mode with these frontends and backends, up when `port` accepts; `test` ends it."""
    config = folder / f"{name}.cfg"
    config.write_text(
        f"""global
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout tunnel 60s
{sections}
"""
    )
    log = folder / f"{name}.log"
    process = Process([program("haproxy"), "-db", "-f", config], log)
    test.addClassCleanup(process.stop) if isinstance(test, type) else test.addCleanup(process.stop)
    wait_until(lambda: accepts(port), name, process=process.child, log=log)
    return process
