"""Upstreams of unrelated makers that say how they read each request: nginx, Node's http, a Python WSGI server, Go's net/http.

Each writes a line of JSON per request:

    id       X-Request-Id, by which the line is found again in the gateway's access log
    methods  every way in which the apps of this upstream come by the method
    target   the request target as it came
    paths    every way in which this upstream's apps come by the path, decoded
    hosts    every way in which they come by the host
    fields   the fields under the names that this upstream gives them, in lower case with `-`
    body     the whole body; absent where the upstream does not tell

Strings hold a character per byte. The answer to each request is its id.
"""

import json
import os
import pathlib

from harness import ROOT, VENV, Process, accepts, free_port, wait_until
from peers import program, start_nginx

HERE = pathlib.Path(__file__).resolve().parent
# nginx names a field only when asked for it.
NGINX_FIELDS = [
    "remote-user", "remote-name", "remote-email", "remote-groups",
    "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username",
    "x-auth-request-user", "x-auth-request-email", "x-auth-request-groups", "x-auth-request-preferred-username",
    "x-fluidgate-assertion", "x-my-user", "x-my-groups", "x-remote-user",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-uri", "x-forwarded-prefix", "x-real-ip",
    "x-original-url", "x-rewrite-url", "x-http-method-override", "x-method-override", "x-http-method", "cookie",
]  # fmt: skip


class Reader:
    """One upstream: `url` is where it is, `lines` where it writes."""

    def __init__(self, name, folder, scheme="http"):
        self.name, self.port = name, free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.lines = folder / f"{name}.readings"

    def start(self, test, argv, **options):
        log = self.lines.with_suffix(".log")
        process = Process(argv, log, **options)
        test.addClassCleanup(process.stop)
        wait_until(lambda: accepts(self.port), self.name, process=process.child, log=log)
        return self

    def readings(self):
        """What it has read so far."""
        encoding = "latin-1" if self.name.startswith("nginx") else "utf-8"
        if not self.lines.exists():
            return []
        return [json.loads(line, strict=False) for line in self.lines.read_text(encoding).split("\n") if line]


def start_readers(test, folder):
    """All of them, by name; `test` ends them."""
    readers = {name: Reader(name, folder) for name in ("nginx", "node", "wsgi", "go")}
    readers["nginx-h2"] = Reader("nginx-h2", folder, "h2c")
    for name in ("nginx", "nginx-h2"):
        nginx(test, folder, readers[name])
    go = ROOT / "target/tools/bin/go-reader"
    assert go.is_file(), f"no {go}: ./scripts/test real builds it"
    wsgi, node = readers["wsgi"], readers["node"]
    # Names with an underscore come through folded, as with CGI.
    wsgi.start(
        test,
        [VENV / "bin/gunicorn", "--bind", f"127.0.0.1:{wsgi.port}", "--threads", "4", "--keep-alive", "60", "--header-map", "dangerous",
         "--permit-unconventional-http-method", "--chdir", HERE, "wsgi_reader:app"],
        env={**os.environ, "READINGS": str(wsgi.lines)},
    )  # fmt: skip
    node.start(test, [program("node"), "--no-deprecation", HERE / "node/reader.mjs", node.port, node.lines])
    readers["go"].start(test, [go, readers["go"].port, readers["go"].lines])
    return readers


def nginx(test, folder, reader):
    """nginx takes the names with odd signs too; a request that it refuses itself has no reading."""
    fields = ",".join(f'"{name}":["$http_{name.replace("-", "_")}"]' for name in NGINX_FIELDS)
    listen = f"127.0.0.1:{reader.port}" + (" http2" if reader.url.startswith("h2c") else "")
    http = f"""
  log_format reading escape=json '{{"id":"$http_x_request_id","methods":{{"request_method":"$request_method"}},"target":"$request_uri",'
    '"paths":{{"uri":"$uri"}},"hosts":{{"host":"$host","http_host":"$http_host"}},"fields":{{{fields}}}}}';
  map $status $understood {{ ~^[4] 0; default 1; }}
  underscores_in_headers on;
  ignore_invalid_headers off;
  keepalive_requests 1000000;
  keepalive_timeout 60s;
  server {{
    listen {listen};
    access_log {reader.lines} reading if=$understood;
    location / {{ return 200 $http_x_request_id; }}
  }}"""
    start_nginx(test, folder, http, reader.port, reader.name)
