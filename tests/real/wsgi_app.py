"""A WSGI app that returns its whole environment as JSON: what an app behind CGI-style header names really sees."""

import json


def app(environ, start_response):
    seen = {name: value for name, value in environ.items() if isinstance(value, str)}
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
