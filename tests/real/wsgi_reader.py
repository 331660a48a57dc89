"""A WSGI app that says how it reads each request, as a line of JSON in the file that READINGS names (see readers.py)."""

import json
import os
import urllib.parse

OUT = os.open(os.environ["READINGS"], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)


def app(environ, start_response):
    body = environ["wsgi.input"].read()
    fields = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): [value]
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
    }
    identity = environ.get("HTTP_X_REQUEST_ID", "")
    paths = {"PATH_INFO": environ["PATH_INFO"]}
    # What some apps do with the target once more.
    with_host = urllib.parse.urlsplit(environ["RAW_URI"])
    paths["urlsplit"] = urllib.parse.unquote_to_bytes(with_host.path.encode("latin-1")).decode("latin-1")
    reading = {
        "id": identity,
        # Django and Werkzeug take it in capitals.
        "methods": {"REQUEST_METHOD": environ["REQUEST_METHOD"], "upper": environ["REQUEST_METHOD"].upper()},
        "target": environ["RAW_URI"],
        "paths": paths,
        "hosts": {"HTTP_HOST": environ.get("HTTP_HOST", "")},
        "fields": fields,
        "body": body.decode("latin-1"),
    }
    os.write(OUT, json.dumps(reading).encode() + b"\n")
    start_response("200 OK", [("Content-Length", str(len(identity)))])
    return [identity.encode()]
