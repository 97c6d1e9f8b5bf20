"""Runs every test of the current folder. The last line has the counts for interop/run."""

import os
import pathlib
import sys
import time
import unittest

here = pathlib.Path.cwd()
started = time.monotonic()
loader = unittest.TestLoader()
loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]] or None
result = unittest.TextTestRunner(verbosity=1).run(loader.discover(str(here)))

failed = len({str(getattr(test, "test_case", test)) for test, _ in result.failures + result.errors})
passed = result.testsRun - failed - len(result.skipped)
what = "reference" if os.environ.get("INTEROP_REFERENCE") else os.environ.get("INTEROP_ARGS") or "defaults"
print(f"{here.name} ({what}, {time.monotonic() - started:.1f} s): {passed} passed, {failed} failed")
sys.exit(0 if passed and not failed else 1)
