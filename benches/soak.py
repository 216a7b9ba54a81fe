#!/usr/bin/env python3
"""Keeps a gateway at half of its full load for a long time, with everything that happens in its life, and fails if a
request fails that should not, or if memory or descriptors grow.

See benches/README.md.
"""

import argparse
import http.client
import json
import statistics
import sys
import time
from pathlib import Path

import peers
import traffic
from load import Keys
from side_by_side import prepare
from stage import Stage, free_port

# Of the resident memory, from the second third of the time to the last; and of descriptors, in number.
MEMORY, DESCRIPTORS = 1.05, 32
# How long what is left over may take to end.
PATIENCE = 20


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, help="requests a second; half of what it takes, where not given")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--out", type=Path, metavar="FILE", help="keeps what was noted every second, as JSON")
    parser.add_argument("--no-build", action="store_true", help="takes the programs as they are")
    return parser.parse_args()


def soak(options, stage):
    """Runs all of it; returns what was noted, and what was wrong."""
    keys = Keys(stage, options.keys, tenants=2)
    proxy = peers.start(stage, "gateway", "keyed", keys, arguments=(
        "--audit-rotate-size", str(64 << 20), "--envd-listen", f"127.0.0.1:{free_port()}={traffic.PORT}"))
    mixed, tally = traffic.Mixed(stage, proxy, keys), traffic.Tally()
    rate = options.rate
    if rate is None:
        mixed.send(proxy, seconds=1)
        told = mixed.send(proxy, seconds=4)
        rate = told["requests"] / told["seconds"] / 2
    print(f"{options.minutes:g} minutes at {rate:.0f} requests a second", flush=True)

    seconds = min(10.0, options.minutes * 60 / 6)
    watch, steady = traffic.Watch(stage, proxy, tally), traffic.Steady(stage, proxy, tally, mixed, rate, seconds)
    workers = [
        watch, steady, traffic.Echo(stage, proxy, tally, keys, seconds), traffic.Turnover(stage, proxy, tally, keys),
        traffic.Aborts(stage, proxy, tally, keys), traffic.Lives(stage, proxy, tally, keys),
    ]
    for worker in workers:
        worker.start()
    until = time.monotonic() + options.minutes * 60
    while time.monotonic() < until and proxy.process.poll() is None:
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))
    for worker in workers:
        worker.stopped.set()
    for worker in workers:
        worker.join(timeout=seconds + 60)
    breaches = [f"{worker.name} does not end" for worker in workers if worker.is_alive()]
    return proxy, watch.samples, steady.p99, tally, breaches + left_over(proxy)


def left_over(proxy):
    """What is still there when everybody has gone."""
    if proxy.process.poll() is not None:
        return [f"the gateway ended with {proxy.process.returncode}"]
    until, held = time.monotonic() + PATIENCE, {}
    while any((held := {name: proxy.metric(name) for name in ("connections", "streams")}).values()):
        if time.monotonic() > until:
            return [f"{PATIENCE} s after the last client left: {held}"]
        time.sleep(0.1)
    found = []
    for name, labels in (("audit_dropped_total", ".*"), ("reloads_total", 'result="(?!ok).*')):
        if number := proxy.metric(name, labels):
            found.append(f"{name} is {number}")
    return found


def judge(samples):
    """The thirds of the time, and what has grown."""
    whole = samples[-1]["at"]
    thirds = [[one for one in samples if third * whole / 3 <= one["at"] <= (third + 1) * whole / 3]
              for third in range(3)]
    print(f"\n{'':28}{'first third':>14}{'second':>14}{'last':>14}")
    medians = {}
    for what, unit in (("resident", " MiB"), ("descriptors", ""), ("threads", "")):
        medians[what] = [statistics.median(one[what] for one in third) for third in thirds]
        shown = (f"{median:.1f}" if unit else f"{median:.0f}" for median in medians[what])
        print(f"{what + unit + ', median':28}" + "".join(f"{median:>14}" for median in shown))
    breaches = []
    (_, before, after), (_, open_before, open_after) = medians["resident"], medians["descriptors"]
    if after > before * MEMORY:
        breaches.append(f"memory grew from {before:.1f} to {after:.1f} MiB")
    if open_after > open_before + DESCRIPTORS:
        breaches.append(f"descriptors grew from {open_before:.0f} to {open_after:.0f}")
    return breaches


def main():
    options = read_options()
    prepare(options.no_build)
    with Stage() as stage:
        try:
            proxy, samples, p99, tally, breaches = soak(options, stage)
        except (http.client.HTTPException, OSError, RuntimeError) as why:
            sys.exit(f"it did not get far: {type(why).__name__}: {why}")
    for what, number in sorted(tally.counts.items()):
        print(f"{what:44}{number:>12,}")
    if p99:
        print(f"{'p99 of the mixed ones, median, µs':44}{statistics.median(p99):>12,.0f}")
    if len(samples) >= 6:
        breaches += judge(samples)
    else:
        breaches.append("too short to tell")
    if options.out:
        options.out.write_text(json.dumps({"samples": samples, "counts": tally.counts, "p99": p99,
                                           "failures": tally.failures, "breaches": breaches}, indent=1) + "\n")
    breaches += [f"{len(tally.failures)} failed that should not have"] if tally.failures else []
    for why in tally.failures[:20]:
        print(why)
    if breaches:
        sys.exit("; ".join(breaches))
    print("\nnone failed that should not have, and nothing grew")


if __name__ == "__main__":
    main()
