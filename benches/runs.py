#!/usr/bin/env python3
"""Puts what several runs of side_by_side.py say of the gateway beside each other: runs.py RESULTS.json RESULTS.json…"""

import json
import sys
from pathlib import Path

from report import cell, lines, number
from rows import Row


def read(path):
    """The gateway's rows of a run, by label."""
    rows = json.loads(Path(path).read_text())["rows"]
    known = Row.__dataclass_fields__
    return {row["label"]: Row(**{name: value for name, value in row.items() if name in known}) for row in rows}


def verdict(rows):
    """The worst of the runs'."""
    verdicts = [row.verdict() for row in rows if row]
    return next((word for word in ("missed", "met", "goal") if word in verdicts), "")


def main(paths):
    runs = [read(path) for path in paths]
    labels = list(dict.fromkeys(label for run in runs for label in run))
    table = [["", "", *(f"run {number}" for number in range(1, len(runs) + 1)), "must", "goal", ""]]
    table.append(["---"] * len(table[0]))
    for label in labels:
        rows = [run.get(label) for run in runs]
        one = next(row for row in rows if row)
        limits = ["", ""]
        if one.must is not None:
            limits = [("≥ " if one.more else "≤ ") + number(one.must, one.digits), number(one.goal, one.digits)]
        cells = (cell(row, "gateway") if row else "–" for row in rows)
        table.append([label, one.unit, *cells, *limits, verdict(rows)])
    print(lines(table))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(sys.argv[1:])
