"""Prints the suite's specification: spec.py client DIR URL NAME, or spec.py server DIR URL."""

import json
import sys

mode, directory, url, *name = sys.argv[1:]
spec = {
    "outdir": directory,
    "cases": [f"{group}.*" for group in range(1, 11)],
    "exclude-cases": [],
    "exclude-agent-cases": {},
}
if mode == "client":
    spec["servers"] = [{"agent": name[0], "url": url}]
else:
    spec["url"] = url
json.dump(spec, sys.stdout)
