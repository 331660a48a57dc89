"""Routes that differ in what they let whom do, and a second, independent reading of which request is whose: the oracle of the
differential test. It knows plain paths and hosts alone; whatever an upstream reads is judged by it as if it had been asked for."""

import dataclasses
import ipaddress

PRESETS = {
    "remote": ["remote-user", "remote-name", "remote-email", "remote-groups"],
    "x-forwarded": ["x-forwarded-user", "x-forwarded-preferred-username", "x-forwarded-email", "x-forwarded-groups"],
    "x-auth-request": ["x-auth-request-user", "x-auth-request-preferred-username", "x-auth-request-email", "x-auth-request-groups"],
    "own": ["x-my-user", "x-my-groups"],
}
IDENTITY = {name for names in PRESETS.values() for name in names} | {"x-remote-user", "x-fluidgate-assertion"}


@dataclasses.dataclass(frozen=True)
class Route:
    name: str
    host: str | None
    path: str
    public: bool = False
    exact: bool = False
    methods: tuple = ()
    headers: str = "remote"
    # What takes the place of `path` towards the upstream; None when it stays.
    replaced_by: str | None = None
    more: str = ""

    def toml(self, upstream):
        lines = ["[[routes]]", f'name = "{self.name}"', f'path = "{self.path}"', f'upstream = ["{upstream}"]']
        lines += [f'host = "{self.host}"'] if self.host else []
        lines += ['access = "public"'] if self.public else []
        lines += ["exact = true"] if self.exact else []
        lines += [f"methods = {list(self.methods)}".replace("'", '"')] if self.methods else []
        own = '{ user = "X-My-User", groups = "X-My-Groups" }'
        lines += [f"headers = {own}" if self.headers == "own" else f'headers = "{self.headers}"']
        if self.replaced_by is not None:
            lines += ["strip_prefix = true" if self.replaced_by == "/" else f'replace_prefix = "{self.replaced_by}"']
        return "\n".join([*lines, self.more, ""])

    def takes_path(self, path):
        if self.exact:
            return path == self.path
        return self.path == "/" or path == self.path or path.startswith(self.path + "/")

    def original(self, path):
        """The path that a client asked for when the upstream gets `path`; None when that cannot be."""
        if self.replaced_by is None:
            return path
        prefix, new = self.path.rstrip("/"), self.replaced_by.rstrip("/")
        if not path.startswith(new + "/") and path != new:
            return None
        return prefix + path[len(new) :]


ROUTES = [
    # Protected, with a public place in it, and a protected one in that.
    Route("closed", "closed.test", "/"),
    Route("closed-pub", "closed.test", "/pub", public=True),
    Route("closed-prot", "closed.test", "/pub/prot"),
    # Public, with protected places in it.
    Route("open", "open.test", "/", public=True),
    Route("open-prot", "open.test", "/prot"),
    Route("open-pub", "open.test", "/prot/pub", public=True),
    Route("open-exact", "open.test", "/only/this", exact=True),
    # Prefixes that go.
    Route("strip", "strip.test", "/api", public=True, replaced_by="/"),
    Route("strip-prot", "strip.test", "/api/prot", replaced_by="/"),
    Route("replace", "strip.test", "/old", public=True, replaced_by="/new"),
    Route("replace-prot", "strip.test", "/old/prot", replaced_by="/new/prot"),
    # By method.
    Route("verbs-read", "verbs.test", "/", public=True, methods=("GET",)),
    Route("verbs-write", "verbs.test", "/", methods=("POST", "PUT", "DELETE", "PATCH")),
    Route("mixed", "mixed.test", "/", public=True),
    Route("mixed-write", "mixed.test", "/", methods=("POST", "DELETE")),
    # By host.
    Route("wild", "*.wild.test", "/"),
    Route("wild-pub", "pub.wild.test", "/", public=True),
    Route("deep", "*.deep.wild.test", "/"),
    Route("address", "10.0.0.1", "/"),
    Route("address-6", "[::1]", "/"),
    Route("anyone", None, "/anyone", public=True),
    # Identity by every preset, names of every kind, and what switches let through.
    Route("x-forwarded", "x-forwarded.test", "/", public=True, headers="x-forwarded"),
    Route("x-auth-request", "x-auth-request.test", "/", public=True, headers="x-auth-request"),
    Route("own", "own.test", "/", public=True, headers="own"),
    Route("odd", "odd.test", "/", more="allow_odd_header_names = true"),
    Route("odd-pub", "odd.test", "/pub", public=True, more="allow_odd_header_names = true"),
    Route("slash", "slash.test", "/", public=True, more="allow_encoded_slashes = true"),
    Route("slash-prot", "slash.test", "/prot", more="allow_encoded_slashes = true"),
    Route("trailers", "trailers.test", "/", public=True, more="allow_trailers = true"),
]
BY_NAME = {route.name: route for route in ROUTES}


def place(host, path):
    """The routes of the most specific place for a plain host and path."""
    by_host = [[route for route in ROUTES if route.host == host]]
    labels = host.split(".")
    by_host += [[r for r in ROUTES if r.host == "*." + ".".join(labels[at:])] for at in range(1, len(labels))]
    by_host.append([route for route in ROUTES if route.host is None])
    for routes in by_host:
        taking = [route for route in routes if route.takes_path(path)]
        if taking:
            best = max(taking, key=lambda route: (route.exact, len(route.path)))
            return [route for route in taking if (route.exact, route.path) == (best.exact, best.path)]
    return []


def route_of(host, path, method):
    """The name of the route that a plain request belongs to, or None."""
    routes = place(host, path)
    for takes in (lambda r: method in r.methods, lambda r: method == "HEAD" and "GET" in r.methods, lambda r: not r.methods):
        for route in routes:
            if takes(route):
                return route.name
    return None


def plain_host(text):
    """`Host` without its port, in the form in which hosts are compared."""
    name = text if text.endswith("]") else text.rsplit(":", 1)[0] if ":" in text else text
    if name.startswith("["):
        return f"[{ipaddress.IPv6Address(name[1:-1])}]"
    return name.lower().removesuffix(".")
