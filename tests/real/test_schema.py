"""The JSON Schema of the configuration, by an independent validator: what it takes, what it refuses, and that `check` agrees."""

import json
import re
import subprocess
import tomllib
import unittest

from harness import BINARY, ROOT, VENV, Folder

LEAST = """
[session]
secrets = ["file:secret.key"]
[login.password]
users = "users.toml"
"""
ROUTE = """
[[routes]]
upstream = ["http://127.0.0.1:3000"]
"""
# Each alone makes a good file bad.
WRONG = {
    "an unknown section": "[sever]\n" + ROUTE,
    "an unknown key": "[server]\nlistne = []\n" + ROUTE,
    "an unknown key of a route": ROUTE + "acess = 'public'\n",
    "an unknown key of a table in a route": ROUTE + "access = { user = ['ada'] }\n",
    "no route": "",
    "an empty upstream": "[[routes]]\nupstream = ['']\n",
    "a number for a string": "[server]\nprefix = 1\n" + ROUTE,
    "a string for a number": "[server]\nworkers = '4'\n" + ROUTE,
    "a number for a duration": "[server]\nhead_timeout = 60\n" + ROUTE,
    "words for a duration": "[server]\nhead_timeout = 'soon'\n" + ROUTE,
    "a number above its range": "[server]\nworkers = 1025\n" + ROUTE,
    "a number below its range": "[server]\nworkers = 0\n" + ROUTE,
    "a word that is none": "[access_log]\nformat = 'xml'\n" + ROUTE,
    "a word for a boolean": "[session.cookie]\nhttp_only = 'yes'\n" + ROUTE,
    "a false that must be true": "[session.cookie]\nsigned = false\n" + ROUTE,
    "a true that may only be false": "[management]\nlisten = true\n" + ROUTE,
    "a string for a list": "[server]\ntrusted_proxies = '10.0.0.1'\n" + ROUTE,
    "a header name with a space": ROUTE + "headers = { user = 'X User' }\n",
    "a path without a slash": ROUTE + "path = 'wiki'\n",
    "a host with a port": ROUTE + "host = 'a.example:80'\n",
}


def lay_over(under, over):
    """`over` on top of `under`, table by table."""
    for name, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(name), dict):
            lay_over(under[name], value)
        else:
            under[name] = value


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Folder()
        cls.addClassCleanup(cls.folder.remove)
        cls.schema = cls.folder.path / "schema.json"
        cls.schema.write_bytes(subprocess.run([BINARY, "schema"], check=True, capture_output=True).stdout)
        secret = cls.folder.path / "secret.key"
        secret.touch(mode=0o600)
        secret.write_bytes(subprocess.run([BINARY, "secret"], check=True, capture_output=True).stdout)
        (cls.folder.path / "users.toml").touch(mode=0o600)

    def verdicts(self, texts):
        """What the schema finds wrong in each text, or in each table as Python has it."""
        names = []
        for number, text in enumerate(texts):
            is_text = isinstance(text, str)
            names.append(self.folder.path / f"{number}.{'toml' if is_text else 'json'}")
            names[-1].write_text(text if is_text else json.dumps(text))
        argv = [VENV / "bin/python", ROOT / "tests/real/schema_verdicts.py", self.schema, *names]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def is_refused_by_check(self, text):
        path = self.folder.path / "checked.toml"
        path.write_text(text)
        done = subprocess.run([BINARY, "check", "-c", path], capture_output=True, text=True, timeout=30)
        return done.returncode == 1

    def test_the_program_prints_the_schema_that_stands_in_docs(self):
        self.assertEqual(self.schema.read_text(), (ROOT / "docs/gateway.schema.json").read_text())

    def test_the_example_passes_and_names_the_schema_for_editors(self):
        example = (ROOT / "gateway.toml.example").read_text()
        self.assertEqual(self.verdicts([example, LEAST + ROUTE]), [[], []])
        named = re.match(r"#:schema (\S+)\n", example)
        self.assertTrue((ROOT / named[1]).is_file(), named[0])

    def lint(self, example):
        """What taplo, which editors ask, says of the example file beside the documents."""
        (self.folder.path / "docs").mkdir(exist_ok=True)
        (self.folder.path / "docs/gateway.schema.json").write_text(self.schema.read_text())
        file = self.folder.path / "gateway.toml"
        file.write_text(example)
        taplo = ROOT / "target/real-node/node_modules/.bin/taplo"
        done = subprocess.run([taplo, "lint", file], cwd=self.folder.path, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def test_editors_find_the_schema_by_the_first_line_of_the_example(self):
        example = (ROOT / "gateway.toml.example").read_text()
        code, said = self.lint(example)
        self.assertEqual(code, 0, said)
        code, said = self.lint(example.replace('same_site = "lax"', 'same_site = "laxx"'))
        self.assertNotEqual(code, 0)
        self.assertIn('"laxx" is not one of', said)

    def test_every_alternative_in_the_comments_of_the_example_passes(self):
        text = (ROOT / "gateway.toml.example").read_text()
        section, alternatives = "", []
        for line in text.splitlines():
            header = re.match(r"(?:# )?\[+([a-z0-9_.]+)\]+", line)
            section = header[1] if header else section
            if re.match(r"# [a-z0-9_]+ = ", line):
                alternatives.append((section, line[2:]))
        self.assertGreater(len(alternatives), 20)
        wholes = []
        for section, line in alternatives:
            whole = tomllib.loads(text)
            if section == "tls":
                whole["tls"] = {"certificates": [{"certificate": "a.pem", "key": "a.key"}]}
            table = whole
            for part in section.split("."):
                table = table[part][0] if isinstance(table[part], list) else table[part]
            table.update(tomllib.loads(line))
            wholes.append(whole)
        for (section, line), verdict in zip(alternatives, self.verdicts(wholes)):
            with self.subTest(section, line=line):
                self.assertEqual(verdict, [])

    def test_every_configuration_in_the_documents_passes(self):
        pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        found = [(page, block) for page in pages for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)]
        self.assertGreater(len(found), 20)
        wholes = []
        for _, block in found:
            wholes.append(tomllib.loads(LEAST + ROUTE))
            lay_over(wholes[-1], tomllib.loads(block))
        for (page, block), verdict in zip(found, self.verdicts(wholes)):
            with self.subTest(page.name, block=block):
                self.assertEqual(verdict, [])

    def test_wrong_files_are_refused_by_the_schema_and_by_check(self):
        texts = [LEAST + wrong for wrong in WRONG.values()]
        for (name, wrong), verdict in zip(WRONG.items(), self.verdicts(texts)):
            with self.subTest(name):
                self.assertNotEqual(verdict, [], wrong)
                self.assertTrue(self.is_refused_by_check(LEAST + wrong), wrong)
        self.assertFalse(self.is_refused_by_check(LEAST + ROUTE), "the oracle: what is refused is refused for a reason")
