#!/usr/bin/env python3
"""Fails when a request takes more instructions than it did when benches/instructions.json was recorded, or more where
there are many keys, tenants or sandboxes than where there is one of each.

User instructions of the gateway under callgrind, without SHA-256's, for one request after the other on one connection:
the same build gives the same number within a thousandth, whatever else the machine does. See benches/README.md.
"""

import argparse
import contextlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cost
from load import Keys
from measure import instructions
from side_by_side import build
from stage import ROOT, Missing, Stage, find

BASELINE = ROOT / "benches/instructions.json"
PATHS = ("plain", "keyed", "cached", "data", "refused")
KEYS = 1_000
# Of how many keys and sandboxes the requests are, one after the other.
MANY = 5_000
GROWN = {
    "keys, tenants": lambda stage, count, **how: cost.keyed_lane(stage, "gateway", Keys(stage, count, count), **how),
    "sandboxes": cost.sandbox_lane,
}
# So many percent more with many than with one fail. A table that is fuller is searched a step further at times.
GROWTH = 2
# More than the baseline by so many percent fails. Another compiler inlines otherwise, another libc copies otherwise.
TOLERANCE, TOLERANCE_ELSEWHERE = 3, 10
# Less by so many percent wants a new baseline, or else later growth up to here goes unseen.
IMPROVEMENT = 10


def tools():
    """What the numbers depend on beside the code."""
    def said(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    flags = Path("/proc/cpuinfo").read_text().split()
    # valgrind's processor has what the real one has, of these.
    vectors = [name for name in ("avx2", "asimd") if name in flags]
    return {"rustc": said("rustc", "--version"), "valgrind": said("valgrind", "--version"),
            "libc": " ".join(platform.libc_ver()), "processor": " ".join([platform.machine(), *vectors])}


def lane_of(stage, path, under):
    return next(cost.lanes(SimpleNamespace(keys=KEYS), stage, "gateway", (path,), Keys(stage, KEYS), under, single=True))


def count(requests, make):
    """Instructions of each request, through the lane that `make(stage, under)` gives."""
    @contextlib.contextmanager
    def started():
        def run(under):
            lane = make(stage, under)
            # With several, it would depend on the machine how many requests one wake-up finds.
            lane.connections = 1
            return lane
        with Stage() as stage:
            yield stage, run
    return round(instructions(started, requests)["each"])


def grows(requests):
    """Prints what many of something cost beside one; true if that is more than nothing."""
    print(f"{'instructions a request':24}{'with one':>10}{f'{MANY:,}':>10}{'growth':>9}")
    found = False
    for what, lane in GROWN.items():
        one, many = (count(requests, lambda stage, under: lane(stage, number, under=under, single=True))
                     for number in (1, MANY))
        growth = (many / one - 1) * 100
        found = found or growth > GROWTH
        print(f"{what:24}{one:>10}{many:>10}{growth:>+8.1f}%{f'  over +{GROWTH} %' if growth > GROWTH else ''}")
    return found


def compare(counts, baseline, here):
    """Prints how they stand; true if nothing has grown too much."""
    tolerance = TOLERANCE
    for tool, version in here.items():
        recorded = baseline["tools"].get(tool)
        if recorded != version:
            tolerance = TOLERANCE_ELSEWHERE
            print(f"{tool} is {version}; the baseline was recorded with {recorded}: +{tolerance} % is tolerated")
    print(f"{'instructions a request':24}{'baseline':>10}{'now':>10}{'change':>9}")
    passed, improved = True, False
    for path, now in counts.items():
        before = baseline["instructions"].get(path)
        if before is None:
            print(f"{path:24}{'none':>10}{now:>10}{'':>9}  record it: benches/gate.py --record")
            passed = False
            continue
        change = (now / before - 1) * 100
        failed = change > tolerance
        improved = improved or change < -IMPROVEMENT
        print(f"{path:24}{before:>10}{now:>10}{change:>+8.1f}%{f'  over +{tolerance} %' if failed else ''}")
        passed = passed and not failed
    if improved:
        print(f"less by over {IMPROVEMENT} %: record anew, with benches/gate.py --record")
    return passed


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="writes the baseline anew and compares nothing")
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE")
    parser.add_argument("--paths", type=lambda text: text.split(","), default=list(PATHS), metavar="PATH,…",
                        help=f"of {', '.join(PATHS)}; all are recorded")
    parser.add_argument("--requests", type=int, default=2_000, help="that are counted on each path")
    parser.add_argument("--no-build", action="store_true", help="takes the programs as they are")
    options = parser.parse_args()
    if unknown := set(options.paths) - set(PATHS):
        parser.error(f"no such path: {', '.join(sorted(unknown))}")
    if options.record and set(options.paths) != set(PATHS):
        parser.error("--record wants all paths")
    return options


def main():
    options = read_options()
    try:
        find("nginx", "apt install nginx-light")
        find("valgrind", "apt install valgrind")
        # Read before anything is counted, which takes a minute.
        baseline = None if options.record else json.loads(options.baseline.read_text())
    except (Missing, OSError, ValueError) as why:
        sys.exit(str(why))
    if not options.no_build:
        build()
    counts = {path: count(options.requests, lambda stage, under: lane_of(stage, path, under)) for path in options.paths}
    if options.record:
        told = {"tools": tools(), "requests": options.requests, "instructions": counts}
        options.baseline.write_text(json.dumps(told, indent=2) + "\n")
        print(options.baseline.read_text(), end="")
    elif not compare(counts, baseline, tools()):
        sys.exit("a request takes more than it did. Where that is worth it: benches/gate.py --record")
    if not options.record and grows(options.requests):
        sys.exit("a request takes more where there is more: what is done for each of them?")


if __name__ == "__main__":
    main()
