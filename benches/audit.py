#!/usr/bin/env python3
"""Measures what the audit journal costs requests that it records, and counts whether any is lost.

First as many requests as the gateway takes, with a journal: each must be in its file, in order. Then the same requests
at a fixed rate, in interleaved rounds, through a gateway with a journal and one without: latencies count from when a
request was due, CPU time is the gateway's own, its journal's thread included. See benches/README.md.
"""

import argparse
import json
import statistics
import subprocess
import sys

import peers
from flow import ahead_of_others
from load import HOST, Keys, request, write_deck
from measure import Lane, interleave
from side_by_side import prepare
from stage import GATEWAY, Stage

BODY = b'{"files":[]}'


def post(headers):
    """A request that is recorded."""
    return request("POST", "/files/batch", {"Host": HOST, "Content-Type": "application/json"} | headers, BODY)


class Watched:
    """A gateway, with a journal or without, and how many events its rounds were."""

    def __init__(self, stage, name, keys, journal=None):
        self.stage, self.name, self.sent = stage, name, 0
        self.keyed = [post({"X-API-Key": key}) for key in keys.keys]
        way, arguments = ("keyed", ("--audit-sync", journal)) if journal else ("unjournaled", ())
        self.proxy = peers.start(stage, "gateway", way, keys, arguments=arguments)
        self.lane = Lane("gateway", name, self.proxy, write_deck(stage.work / f"{name}.deck", self.keyed))

    def run(self, **options):
        """One round, and the gateway's CPU time for each request of it."""
        before = self.proxy.cpu()
        told = self.lane.send(**options)
        self.sent += told["requests"]
        return told | {"cpu": (self.proxy.cpu() - before) / told["requests"] * 1e6}

    def half_refused(self, requests, connections):
        """As many as it takes at once, every second one without a key."""
        refused = post({"X-Nothing": "0"})
        deck = [one for keyed in self.keyed for one in (keyed, refused)]
        write_deck(self.lane.deck, deck)
        told = self.run(requests=requests, connections=connections, expect="200,401")
        if told["statuses"] != {"200": requests - requests // 2, "401": requests // 2}:
            raise SystemExit(f"{self.name} answered {told['statuses']} to {requests}, half of them without a key")
        return told

    def lost_nothing(self):
        """Ends the gateway and holds its journal against what was sent."""
        dropped, events = self.proxy.metric("audit_dropped_total"), self.proxy.metric("audit_events_total")
        self.stage.stop(self.proxy)
        file = self.proxy.option("--audit-log")
        verified = subprocess.run([GATEWAY, "audit", "verify", file], capture_output=True, text=True)
        count, in_order = 0, True
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                in_order = in_order and json.loads(line)["seq"] == number
                count += b'"eventID"' in line
        if (dropped, events, count, in_order, verified.returncode) != (0, self.sent, self.sent, True, 0):
            raise SystemExit(f"of {self.sent} events {events} were told, {count} are in the journal, {dropped} were "
                             f"dropped; in order: {in_order}; {verified.stdout}{verified.stderr}")
        print(f"{self.name}: {self.sent} events, {count} lines in order, 0 dropped; "
              f"{verified.stdout.strip().split(': ', 1)[1]}")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="sent at full rate; 0: none")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5, help="of one round")
    parser.add_argument("--rate", type=int, default=2_000, help="requests a second in a round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--sync", default="1s", metavar="each|TIME|none")
    parser.add_argument("--p99-at-most", type=float, metavar="RATIO",
                        help="fail when the p99 with a journal is more than this times that without, by the median of"
                             " pairs")
    parser.add_argument("--realtime", action="store_true",
                        help="runs ahead of whatever else wants the machine; root only")
    parser.add_argument("--no-build", action="store_true", help="takes the programs as they are")
    return parser.parse_args()


FIGURES = {"p50": "p50 µs", "p99": "p99 µs", "max": "max µs", "late_p99": "sent late, p99 µs", "cpu": "CPU µs"}


def show(journal, without):
    """Prints figures and ratios; returns the ratios."""
    print(f"\n{'median of rounds':20}" + "".join(f"{title:>19}" for title in FIGURES.values()))
    for lane in (without, journal):
        print(f"{lane.way:20}" + "".join(f"{statistics.median(lane.values(figure)):>19.1f}" for figure in FIGURES))
    ratios = {}
    for figure in ("p50", "p99", "cpu"):
        ratio = journal.over(without, figure)
        ratios[figure] = round(ratio["median"], 3)
        print(f"{figure}, journal / without: {ratio['median']:.3f} (median of pairs; half of them lie between"
              f" {ratio['half'][0]:.2f} and {ratio['half'][1]:.2f})")
    print(json.dumps(ratios))
    return ratios


def main():
    options = read_options()
    prepare(options.no_build)
    with ahead_of_others(options.realtime), Stage() as stage:
        keys = Keys(stage, options.keys)
        if options.events:
            full = Watched(stage, "full-rate", keys, options.sync)
            told = full.half_refused(options.events, options.connections)
            print(f"{options.events / told['seconds']:.0f} requests/s, {told['cpu']:.1f} µs CPU each")
            full.lost_nothing()
        journal, without = Watched(stage, "journal", keys, options.sync), Watched(stage, "without", keys)
        both = {one.name: one for one in (journal, without)}
        interleave([one.lane for one in both.values()], options.rounds, lambda lane: both[lane.way].run(
            connections=options.connections, rate=options.rate, seconds=options.seconds))
        journal.lost_nothing()
    ratios = show(journal.lane, without.lane)
    if options.p99_at_most and ratios["p99"] > options.p99_at_most:
        sys.exit(f"the p99 with a journal is over the limit of {options.p99_at_most}")


if __name__ == "__main__":
    main()
