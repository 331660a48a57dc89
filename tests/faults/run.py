"""Runs the fault tests and closes with one plain line. Arguments: parts of test names, all without."""

import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from rig import FULL, SEED, harness  # noqa: E402


def main():
    if not pathlib.Path(harness.BINARY).is_file():
        print(f"no gateway at {harness.BINARY}: build it (cargo build --release --locked) or name it in FLUIDGATE")
        print("faults: 0 passed, 1 failed")
        return 1
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]] or None
    began = time.monotonic()
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(loader.discover(str(HERE), pattern="test_*.py"))
    # A skipped test is a failed one; a test that fails in several sub-tests counts once.
    bad = result.failures + result.errors + result.skipped + [(test, "") for test in result.unexpectedSuccesses]
    names = {getattr(test, "test_case", test).id() for test, _ in bad}
    failed = len(names)
    passed = result.testsRun - len({getattr(test, "test_case", test).id() for test, _ in bad if isinstance(test, unittest.TestCase)})
    if passed + failed == 0:
        failed = 1
        print("no test ran")
    print(f"{'full' if FULL else 'bounded'} form, seed {SEED}, {time.monotonic() - began:.0f} s")
    print(f"faults: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
