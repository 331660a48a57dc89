"""Runs the tests against real upstreams and closes with one plain line. Arguments: names of tests, all without.

Some of the clients are packages of target/venv, so it goes on in that one's Python.
"""

import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import BINARY, VENV  # noqa: E402


def main():
    python = VENV / "bin/python"
    if pathlib.Path(sys.prefix) != VENV:
        if not python.is_file():
            print(f"no {python}: ./scripts/test real installs it")
            print("real: 0 passed, 1 failed")
            return 1
        os.execv(python, [str(python), *sys.argv])
    if not pathlib.Path(BINARY).is_file():
        print(f"no gateway at {BINARY}: build it (cargo build --release --locked) or name it in FLUIDGATE")
        print("real: 0 passed, 1 failed")
        return 1
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]] or None
    suite = loader.discover(str(HERE), pattern="test_*.py")
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
    # A test that fails in several sub-tests counts once; a class whose preparation failed counts as one; none may be skipped.
    bad = result.failures + result.errors + result.skipped + [(test, "") for test in result.unexpectedSuccesses]
    names = {getattr(test, "test_case", test).id() for test, _ in bad}
    ran_and_bad = {getattr(test, "test_case", test).id() for test, _ in bad if isinstance(test, unittest.TestCase)}
    failed, passed = len(names), result.testsRun - len(ran_and_bad)
    if passed + failed == 0:
        failed = 1
        print("no test ran")
    print(f"real: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
