"""One run of ./scripts/bench: its contestants, each started when a part first asks for it, and everything that was measured."""

import functools

import others
from measure import DRIFT_BOUND, ENOUGH, spread
from peers import ROOT, Peer, Unmeasurable

NGINX, BARE = "nginx proxy_pass", "nginx proxy_pass, two headers"
CONSTANT, ASKING = "nginx auth_request, constant", "nginx auth_request, oauth2-proxy"
HAPROXY, CADDY, CADDY_ASKING, OAUTH2 = "HAProxy", "Caddy", "Caddy forward_auth, oauth2-proxy", "oauth2-proxy"
LOGGED_IN, PUBLIC = "fluidgate, logged in", "fluidgate, public route"
PLAIN = "fluidgate, logged in, plain build"  # the other two are guided by a profile, see scripts/build-guided
HYPER = "hyper alone"  # benches/floor: what fluidgate is built on, and nothing of fluidgate
EVERYBODY = [NGINX, BARE, CONSTANT, ASKING, HAPROXY, CADDY, CADDY_ASKING, OAUTH2, LOGGED_IN, PUBLIC]


class Bench:
    """What the parts measure with, and where they put what they measured."""

    def __init__(self, rig, options):
        self.rig, self.quick, self.rounds, self.seconds = rig, options.quick, options.rounds, options.seconds
        self.fill, self.floor, self.plain, self.built = options.fill, options.floor, options.plain, options.built
        self.running, self.results, self.thrown, self.problems, self.notes = {}, [], [], [], []

    @functools.cached_property
    def upstream(self):
        return self.rig.upstream()

    @functools.cached_property
    def cookie(self):
        """Every peer parses a cookie; to those that know no sessions fluidgate's own is sent, or one of its size."""
        try:
            return self.peer(LOGGED_IN).cookie
        except Unmeasurable:
            return "fluidgate=v1.0." + "A" * 43 + "." + "B" * 43

    def peer(self, name):
        """The contestant of that name; started once, and when that failed it stays so."""
        if name not in self.running:
            try:
                self.running[name] = self.begin(name)
            except (Unmeasurable, OSError) as error:
                self.running[name] = error
        found = self.running[name]
        if isinstance(found, Exception):
            raise Unmeasurable(str(found))
        return found

    def begin(self, name):
        rig, port = self.rig, self.upstream.port
        if name == PUBLIC:
            inside = self.peer(LOGGED_IN)
            return Peer(PUBLIC, inside.port, inside.process, inside.log, "/public", None, inside.tls)
        return {
            NGINX: lambda: others.nginx(rig, port),
            BARE: lambda: others.nginx_bare(rig, port),
            CONSTANT: lambda: others.nginx_constant(rig, port),
            ASKING: lambda: others.nginx_asking(rig, port),
            HAPROXY: lambda: others.haproxy(rig, port),
            CADDY: lambda: others.caddy(rig, port),
            CADDY_ASKING: lambda: others.caddy_asking(rig, port),
            OAUTH2: lambda: others.oauth2_proxy(rig, f"http://127.0.0.1:{port}/", tls=True),
            LOGGED_IN: lambda: rig.fluidgate(port, LOGGED_IN)[0],
            PLAIN: lambda: rig.fluidgate(port, PLAIN, binary=self.plain)[0],
            HYPER: lambda: others.hyper(rig, port, self.floor, HYPER),
        }[name]()

    def present(self, part, group, names):
        """Those of the contestants that run; what is missing is a problem of that part."""
        found = []
        for name in names:
            try:
                found.append(self.peer(name))
            except Unmeasurable as error:
                self.problem(part, f"{group}: {name}: {error}")
                self.single(part, group, name, "", None)
        return found

    def problem(self, part, why):
        """What went wrong, once."""
        why = self.words(why)
        if (part, why) not in self.problems:
            self.problems.append((part, why))

    def thrown_away(self, part, group, name, number, why):
        self.thrown.append({"part": part, "group": group, "contestant": name, "round": number, "why": self.words(why)})

    def words(self, why):
        """A reason on one line, without folders of this machine, which are nobody's business."""
        text = str(why).replace(str(self.rig.folder), "…").replace(str(ROOT), "…")
        return " ".join(text.split())[:300].replace("|", "/")

    def note(self, part, text):
        """A sentence that goes below the table."""
        self.notes.append((part, text))

    def single(self, part, group, contestant, figure, values, unit="", aim="", base=None):
        """One row of the table: a list of values (one a round, None where it was thrown away), or one value, or None."""
        values = values if isinstance(values, list) else [values]
        row = {"part": part, "group": group, "contestant": contestant, "figure": figure, "unit": unit, "aim": aim,
               "values": values, "ratios": None, "base": None, "drift": None, "shown": True}  # fmt: skip
        if base:
            row["base"] = base["contestant"]
            pairs = zip(values, base["values"], strict=True)
            row["ratios"] = [value / first if value is not None and first else None for value, first in pairs]
            had = [value for value in base["values"] if value is not None]
            row["drift"] = spread(had) if len(had) >= 2 else None
            row["conclusive"] = len(had) >= ENOUGH and row["drift"] <= DRIFT_BOUND
        self.results.append(row)
        return row

    def add(self, part, group, samples, control, units, aims):
        """The rows of one group of rounds. `units` names the figures that are shown, in order, and their units."""
        units = units if isinstance(units, dict) else {"": units}
        keys = list(units)
        for rounds in samples.values():
            for sample in rounds:
                keys += [key for key in (sample if isinstance(sample, dict) else {}) if key not in keys]
        made = {}
        for key in keys:
            column = {
                name: [sample if sample is None or not isinstance(sample, dict) else sample.get(key) for sample in rounds]
                for name, rounds in samples.items()
            }
            # The first figure is the one that is compared; the others stand by themselves.
            base = {"contestant": control, "values": column[control]} if control in column and key == keys[0] else None
            for name, values in column.items():
                row = self.single(part, group, name, key, values, units.get(key, ""), aims.get((name, key), ""), base)
                row["shown"] = key in units
                made[name, key] = row
        return made

    def versus(self, made, name, control, figure, aim):
        """One more row: a contestant against another than the control."""
        if (name, figure) in made and (control, figure) in made:
            row = made[name, figure]
            self.single(row["part"], row["group"], name, figure, row["values"], row["unit"], aim, made[control, figure])
