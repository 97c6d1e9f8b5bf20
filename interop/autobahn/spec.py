"""Prints the suite's specification for a set of cases.

spec.py client SET DIR URL NAME, or spec.py server SET DIR URL
"""

import json
import sys

from cases import SETS

mode, cases, directory, url, *name = sys.argv[1:]
spec = {
    "outdir": directory,
    "cases": SETS[cases][0],
    "exclude-cases": [],
    "exclude-agent-cases": {},
}
if mode == "client":
    spec["servers"] = [{"agent": name[0], "url": url}]
else:
    spec["url"] = url
json.dump(spec, sys.stdout)
