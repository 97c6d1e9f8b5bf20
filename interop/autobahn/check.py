"""Reads a report of the suite: check.py server|client DIR. Every case must be OK, and its close too;
informational ones aside. Prints one line, and what failed."""

import json
import pathlib
import sys
from collections import Counter

# Cases 1 to 10 are these many; fewer means that the suite did not come to its end.
CASES = 301

end, directory = sys.argv[1:]
report = pathlib.Path(directory, "index.json")
if not report.exists():
    sys.exit(f"autobahn {end}: no report was written")
cases = {case: result for agent in json.loads(report.read_text()).values() for case, result in agent.items()}


def natural(case):
    return [int(part) for part in case.split(".")]


# INFORMATIONAL is the suite's word for what the standard leaves open, as what comes after a broken rule.
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
if len(cases) != CASES:
    sys.exit(f"autobahn {end}: {CASES} cases were due")
sys.exit(1 if failed else 0)
