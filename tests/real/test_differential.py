"""The same request texts to four unrelated upstreams, through the gateway: what it decided on and what they read is the same, or
they get nothing. Thousands of texts (request_texts.py); each upstream gets half of them, each by one protocol and as one user,
in turn. With FLUIDGATE_DIFFERENTIAL=all it gets each by every protocol and as every user."""

import collections
import concurrent.futures
import json
import multiprocessing
import os
import random
import time
import unittest
import urllib.parse

from authority import Authority
from harness import Folder, Gateway, free_port, wait_until
from readers import start_readers
from request_texts import every
from routing_model import BY_NAME, IDENTITY, PRESETS, ROUTES, plain_host, route_of
from sender import HOST, Sender

PROTOCOLS, USERS = ("h1", "tls", "h2"), (None, "alice")
ALL = os.environ.get("FLUIDGATE_DIFFERENTIAL") == "all"
# Ways of upstreams that parse the target as a URL.
PARSING = ("new URL", "url.parse", "url.Parse", "urlsplit")
# Fields by which an app could take another method than the request's, folded as CGI does.
OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")


def plan(shift):
    """Which request goes by which protocol and as which user."""
    ways = [(protocol, user) for protocol in PROTOCOLS for user in USERS]
    chance = random.Random(shift)
    for request in every():
        if not ALL and chance.random() < 0.5:
            continue
        for protocol, user in ways if ALL else [chance.choice(ways)]:
            if request.only == "h1" and protocol == "h2":
                protocol = "h1"
            if request.only == "h2":
                protocol = "h2"
            yield request, protocol, user


def drive(port, tls_port, trust, cookie, shift):
    """In a process of its own, since this is what the test waits for."""
    return Sender(port, tls_port, trust, {None: None, "alice": cookie}).send(plan(shift))


def folded(name):
    return "".join(sign if sign.isalnum() else "-" for sign in name.lower())


def decoded(path):
    return urllib.parse.unquote_to_bytes(path.encode("utf-8", "surrogateescape")).decode("latin-1")


def asked_as_url(path):
    """The path behind what a URL parser takes for the host."""
    if not path.startswith("//"):
        return None
    rest = path.lstrip("/").partition("/")
    return squeezed(decoded("/" + rest[2]))


def squeezed(path):
    """Without empty segments: some upstreams merge them, and the gateway has looked at both readings."""
    while "//" in path:
        path = path.replace("//", "/")
    return path


def disagreements(line, reading, cookie):
    """What the access log says was decided on, against what one upstream has read."""
    route = BY_NAME[line["route"]]
    host = plain_host(line["host"])
    for way, method in reading["methods"].items():
        if method != line["method"] and route.name != route_of(host, line["path"], method):
            yield f"{way}: method {method!r} for {line['method']!r}"
    fields = collections.defaultdict(list)
    for name, values in reading["fields"].items():
        fields[folded(name)] += [value for value in values if value]
    for name in OVERRIDES:
        for method in fields[name] if any(r.methods for r in ROUTES if r.host == route.host) else ():
            yield f"{name}: {method} where methods are told apart"
    if route.original(reading["target"].split("?")[0]) != line["path"] and route.replaced_by is None and line["path"] != "*":
        yield f"target {reading['target']!r}"
    for way, path in reading["paths"].items():
        original = "/" if path == "*" else route.original(path or "/")
        asked = squeezed(decoded(line["path"]))
        # Where a prefix went, what is left of it is `/`; and what is cleaned has no slash at its end.
        same_but_for_the_end = original is not None and squeezed(original).rstrip("/") == asked.rstrip("/")
        if way == "path.Clean" or (route.replaced_by and same_but_for_the_end):
            if not same_but_for_the_end and path != "*":
                yield f"{way}: path {path!r}"
            continue
        behind_a_host = asked_as_url(line["path"]) if way in PARSING else None
        if original is None or (squeezed(original) not in (asked, behind_a_host) and "*" not in (path, line["path"])):
            yield f"{way}: path {path!r}"
        elif route_of(host, squeezed(original), line["method"]) != route.name:
            yield f"{way}: path {path!r} is of {route_of(host, squeezed(original), line['method'])}"
        if original is not None and (squeezed(original) + "/").startswith("/_auth/"):
            yield f"{way}: our own path {path!r}"
    for way, name in reading["hosts"].items():
        # An app that takes what is behind two slashes for a host, takes that for one: the path that it reads then was judged above.
        if plain_host(name) != host and not (way == "new URL" and line["path"].startswith("//")):
            yield f"{way}: host {name!r}"
    if fields["x-forwarded-host"] and plain_host(fields["x-forwarded-host"][0]) != host:
        yield f"X-Forwarded-Host {fields['x-forwarded-host']}"
    yield from wrong_identity(route, line, fields)
    for name, values in fields.items():
        if cookie.split("=", 1)[1] in "".join(values):
            yield f"our cookie in {name}"
    if len(fields["cookie"]) > 1 or fields["x-forwarded-for"] != ["127.0.0.1"] or fields["x-real-ip"] != ["127.0.0.1"]:
        yield f"cookie {fields['cookie']}, addresses {fields['x-forwarded-for']} {fields['x-real-ip']}"


def wrong_identity(route, line, fields):
    """Who the upstream takes the client for, under any name."""
    user = line.get("user")
    named = {name: fields[name] for name in IDENTITY if fields[name]}
    expected = PRESETS[route.headers] if user else []
    if unexpected := {name: values for name, values in named.items() if name not in expected}:
        yield f"identity {unexpected}"
    for name in [name for name in expected if name.endswith(("user", "username"))]:
        if named.get(name) != [user]:
            yield f"{name} {named.get(name)} of {user}"
    for name, values in fields.items():
        if name in IDENTITY and any("mallory" in value for value in values):
            yield f"{name} {values}"


class Differential(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        path = cls.folder.path
        authority = Authority(path)
        authority.sign("front", HOST)
        cls.trust = authority.file
        cls.readers = start_readers(cls, path)
        cls.gateways, cls.tls, cls.cookies = {}, {}, {}
        for name, reader in cls.readers.items():
            (path / f"gateway-{name}").mkdir()
            cls.tls[name] = free_port()
            routes = "\n".join(route.toml(reader.url) for route in ROUTES)
            gateway = Gateway(
                path / f"gateway-{name}",
                f'[tls]\ncertificates = [{authority.toml("front")}]\n\n[access_log]\ntarget = "access.log"\n\n{routes}',
                users=("alice",),
                server='workers = 1\nhead_timeout = "2s"\nbody_timeout = "2s"\ngrace_period = "1s"\n',
                listeners=[f'{{ address = "127.0.0.1:{cls.tls[name]}", tls = true }}'],
            )
            cls.addClassCleanup(gateway.stop)
            gateway.start()
            cls.gateways[name] = gateway
            cls.cookies[name] = gateway.client().log_in_at(HOST, "alice")
        began = time.monotonic()
        with concurrent.futures.ProcessPoolExecutor(len(cls.readers), multiprocessing.get_context("fork")) as pool:
            driven = {
                name: pool.submit(drive, gateway.port, cls.tls[name], cls.trust, cls.cookies[name], shift)
                for shift, (name, gateway) in enumerate(cls.gateways.items())
            }
            cls.outcomes = {name: done.result() for name, done in driven.items()}
        cls.seconds = time.monotonic() - began
        cls.lines = {name: cls.log_of(name) for name in cls.gateways}

    @classmethod
    def log_of(cls, name):
        """The access log by request id, once it holds every request that was answered."""
        log = cls.gateways[name].folder / "access.log"
        asked = {identity for outcome in cls.outcomes[name] for identity in outcome.ids}

        def read():
            return {line["request_id"]: line for line in map(json.loads, log.read_text("utf-8").splitlines())}

        wait_until(lambda: asked <= read().keys(), f"the access log of {name}")
        return read()

    def test_what_was_decided_on_is_what_every_upstream_reads(self):
        found = collections.defaultdict(list)
        for name, reader in self.readers.items():
            texts = {identity: outcome for outcome in self.outcomes[name] for identity in outcome.ids}
            for reading in reader.readings():
                line, outcome = self.lines[name].get(reading["id"]), texts.get(reading["id"])
                what = f"{outcome.request.name} by {outcome.protocol} as {outcome.user}" if outcome else "a request nobody sent"
                if line is None or line["decision"] != "allow":
                    found[f"not allowed: {line} {reading}"].append((name, what))
                    continue
                for wrong in disagreements(line, reading, self.cookies[name]):
                    found[wrong].append((name, what))
        for wrong, where in sorted(found.items()):
            print(f"  {wrong}: {len(where)} times, as in {where[0]}")
        self.assertEqual(len(found), 0)

    def test_every_upstream_reads_as_many_requests_as_were_allowed(self):
        for name, reader in self.readers.items():
            read = collections.Counter(reading["id"] for reading in reader.readings())
            twice = {identity for identity, count in read.items() if count > 1}
            self.assertEqual(twice, set(), name)
            allowed = {key: line for key, line in self.lines[name].items() if line["decision"] == "allow" and line["status"] == 200}
            # Go answers `OPTIONS *` by itself.
            allowed = {key for key, line in allowed.items() if line["path"] != "*"}
            self.assertEqual(allowed - read.keys(), set(), name)

    def test_every_answer_is_of_the_request_it_answers(self):
        for name, outcomes in self.outcomes.items():
            self.assertEqual([(o.request.name, o.protocol, o.wrong) for o in outcomes if o.wrong], [], name)

    def test_the_texts_meet_every_route_and_every_decision(self):
        counts, routes = collections.Counter(), set()
        for name, lines in self.lines.items():
            counts.update(line["decision"] for line in lines.values())
            allowed = [line["route"] for line in lines.values() if line["decision"] == "allow"]
            self.assertGreater(len(allowed), 500, name)
            routes.update(allowed)
        self.assertEqual(routes, set(BY_NAME))
        sent = sum(map(len, self.outcomes.values()))
        print(f"\n  {sent} requests of {len(list(every()))} texts in {self.seconds:.0f} s: {dict(counts)}", flush=True)
        self.assertEqual(counts.keys(), {"allow", "challenge", "refuse", "own"})
