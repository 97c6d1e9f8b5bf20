"""Reads a report of the suite: check.py server|client SET DIR. Every case and its close must be OK or
informational. Prints one line, and the failed cases."""

import json
import pathlib
import sys
from collections import Counter

from cases import SETS

end, cases_due, directory = sys.argv[1:]
due = SETS[cases_due][1]
if cases_due != "plain":
    end = f"{end} {cases_due}"
report = pathlib.Path(directory, "index.json")
if not report.exists():
    sys.exit(f"autobahn {end}: no report was written")
cases = {case: result for agent in json.loads(report.read_text()).values() for case, result in agent.items()}


def natural(case):
    return [int(part) for part in case.split(".")]


# The suite says INFORMATIONAL if the standard leaves the behaviour open, for example after a broken rule.
GOOD = {"OK", "INFORMATIONAL"}
failed = {
    case: result
    for case, result in cases.items()
    if result["behavior"] not in GOOD or result["behaviorClose"] not in GOOD
}
count = Counter(result["behavior"] for result in cases.values())
parts = [f"{len(cases)} cases", f"{count.pop('OK', 0)} OK", f"{count.pop('INFORMATIONAL', 0)} informational"]
parts += [f"{number} {behavior.lower()}" for behavior, number in sorted(count.items())]
print(f"autobahn {end}: {', '.join(parts)}")
for case in sorted(failed, key=natural):
    result = failed[case]
    print(f"  {case}: {result['behavior']}, close {result['behaviorClose']} (see {result['reportfile']})")
if len(cases) != due:
    sys.exit(f"autobahn {end}: {due} cases were due")
sys.exit(1 if failed else 0)
