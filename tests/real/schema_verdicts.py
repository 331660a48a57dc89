"""Run by the virtual environment's Python: SCHEMA FILE… (TOML, or the same as JSON) → one JSON list per file, of what the schema finds wrong in it."""

import json
import pathlib
import sys
import tomllib

import jsonschema

schema = json.loads(pathlib.Path(sys.argv[1]).read_text())
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for name in sys.argv[2:]:
    read = json.loads if name.endswith(".json") else tomllib.loads
    file = read(pathlib.Path(name).read_text())
    problems = validator.iter_errors(file)
    print(json.dumps([f"{'.'.join(map(str, problem.absolute_path))}: {problem.message}" for problem in problems]))
