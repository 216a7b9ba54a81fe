#!/usr/bin/env python3
"""Measures the gateway beside nginx, HAProxy, Envoy and a bare Rust proxy: what each costs on the same machine, now.

Builds the gateway and the load generator, says what is not installed, and leaves a table, a plot and the raw values in
the directory --out. See benches/README.md.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import cost
import flow
import peers
import report
import weight
from stage import CORES, ROOT, Missing, find

FIGURES = {
    "cpu": cost.cpu,
    "syscalls": cost.syscall_counts,
    "instructions": cost.instruction_counts,
    "growth": cost.growth,
    "many-keys": weight.many_keys,
    "latency": flow.latency,
    "idle": weight.idle,
    "resident": weight.resident,
    "transfers": flow.transfers,
    "websocket": flow.websocket,
    "cores": flow.two_cores,
}


def several(known):
    def read(text):
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
        return names
    return read


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=several(FIGURES), default=list(FIGURES), metavar="FIGURE,…",
                        help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--peers", type=several(peers.NAMES), default=list(peers.NAMES), metavar="PEER,…",
                        help=f"of {', '.join(peers.NAMES)}; nginx is what the others are compared with")
    parser.add_argument("--ways", type=several(cost.WAYS), default=list(cost.WAYS), metavar="WAY,…",
                        help=f"of cpu and instructions: {', '.join(cost.WAYS)}")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one round; less than 50, for which answers live")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--most-keys", type=int, default=1_000_000)
    parser.add_argument("--sandboxes", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=4_000, help="requests a second at which latency is measured")
    parser.add_argument("--idle", type=int, default=4_000, help="idle connections")
    parser.add_argument("--instructions", type=int, default=8_000, metavar="REQUESTS", help="that are counted")
    parser.add_argument("--realtime", action="store_true",
                        help="latency is measured ahead of whatever else wants the machine; root only")
    parser.add_argument("--out", type=Path, default=ROOT / "target/side-by-side")
    parser.add_argument("--no-build", action="store_true", help="takes the programs as they are")
    parser.add_argument("--enforce", action="store_true", help="fails when the gateway misses a limit")
    return parser.parse_args()


def build():
    for manifest, more in ((ROOT / "Cargo.toml", []),
                           (ROOT / "benches/peer/Cargo.toml", ["--target-dir", str(ROOT / "target/peer")])):
        command = ["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest), *more]
        print(" ".join(command), file=sys.stderr)
        subprocess.run(command, check=True)


def prepare(no_build):
    """What every bench needs, or a word about what is missing."""
    try:
        find("nginx", "apt install nginx-light")
    except Missing as why:
        sys.exit(str(why))
    if not no_build:
        build()


def main():
    options = read_options()
    if len(CORES) < 2:
        raise SystemExit("the proxy wants a core of its own, and there is one in all")
    try:
        find("taskset", "apt install util-linux")
        # The upstream is one, whatever is compared.
        find("nginx", "apt install nginx-light")
    except Missing as why:
        raise SystemExit(str(why)) from None
    options.peers, missing = peers.available(options.peers)
    for advice in missing.values():
        print(advice, file=sys.stderr)
    if not options.no_build:
        build()

    rows, raw, skipped = [], {}, []
    for name in options.only:
        began = time.monotonic()
        try:
            found, raw[name] = FIGURES[name](options)
        except Missing as why:
            skipped.append(f"{name}: {why}")
            print(skipped[-1], file=sys.stderr)
            continue
        for row in found:
            for peer in missing:
                row.put(peer, "missing")
        rows += found
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        # After each, so that a run that breaks off leaves what it has.
        report.write(options, rows, raw, missing, skipped)
    print(report.table(rows, options.peers + list(missing)))
    missed = [row.label for row in rows if row.verdict() == "missed"]
    if options.enforce and missed:
        raise SystemExit(f"over the limit: {', '.join(missed)}")


if __name__ == "__main__":
    main()
