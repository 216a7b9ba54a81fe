#!/usr/bin/env python3
"""Measures what the audit journal costs requests that it records, and counts whether any is lost.

First as many requests as the gateway takes, with a journal: each must be in its file, in order. Then the same requests at
a fixed rate, in interleaved rounds, through a gateway with a journal and one without: latencies count from when a request
was due (benches/open_loop.rs), CPU time is the gateway's own, its journal's thread included. Needs nginx-light, a release
build of the gateway, and rustc. See benches/README.md.
"""

import argparse
import json
import re
import statistics
import subprocess
import urllib.request

from stage import GATEWAY, ROOT, Stage, free_port

BODY = b'{"files":[]}'


def generator(work):
    """Builds the load generator, which needs nothing but the standard library, and says where it is."""
    program = work / "open_loop"
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", program, ROOT / "benches/open_loop.rs"], check=True)
    return program


class Watched:
    """A gateway, with a journal or without, and what its rounds came to."""

    def __init__(self, stage, name, options, journal):
        self.name, self.load, self.connections = name, options.load, options.connections
        self.ops, self.file, self.sent, self.rounds = free_port(), stage.work / f"{name}/audit.jsonl", 0, []
        arguments = ["--ops-listen", f"127.0.0.1:{self.ops}"]
        arguments += ["--audit-log", str(self.file), "--audit-sync", options.sync] if journal else []
        self.proxy = stage.keyed(options.keys, options.gateway, name=name, scope="exec", arguments=arguments)

    def run(self, requests, rate, refused=False):
        """Sends requests that are recorded; with `refused`, every second one without a key."""
        keys = [self.proxy.header.encode(), b"X-Nothing: 0"] if refused else [self.proxy.header.encode()]
        texts = [
            b"POST /files/batch HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n%s\r\nContent-Length: %d\r\n\r\n%s"
            % (key, len(BODY), BODY)
            for key in keys
        ]
        command = [self.load, f"127.0.0.1:{self.proxy.port}", str(requests), str(self.connections), str(rate)]
        before = self.proxy.cpu()
        output = subprocess.run(command, input=b"\0".join(texts), stdout=subprocess.PIPE, check=True).stdout
        found = json.loads(output)
        found["cpu"] = (self.proxy.cpu() - before) / requests * 1e6
        expected = {"200": requests - requests // 2, "401": requests // 2} if refused else {"200": requests}
        if found["statuses"] != expected:
            raise SystemExit(f"{self.name} answered {found['statuses']} instead of {expected}")
        self.sent += requests
        return found

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/metrics") as answer:
            text = answer.read().decode()
        return int(re.search(rf"^coppice_gateway_{name} (\d+)", text, re.MULTILINE)[1])

    def lost_nothing(self, stage, program):
        """Ends the gateway and holds its journal against what was sent."""
        dropped, events = self.metric("audit_dropped_total"), self.metric("audit_events_total")
        stage.proxies.remove(self.proxy)
        self.proxy.stop()
        verified = subprocess.run([program, "audit", "verify", str(self.file)], capture_output=True, text=True)
        with open(self.file, "rb") as lines:
            in_order = all(json.loads(line)["seq"] == number for number, line in enumerate(lines, 1))
        with open(self.file, "rb") as lines:
            count = sum(b'"eventID"' in line for line in lines)
        if (dropped, events, count, in_order, verified.returncode) != (0, self.sent, self.sent, True, 0):
            raise SystemExit(f"of {self.sent} events {events} were told, {count} are in the journal, {dropped} were "
                             f"dropped; in order: {in_order}; {verified.stdout}")
        print(f"{self.name}: {self.sent} events, {count} lines in order, 0 dropped; {verified.stdout.split(': ', 1)[1]}", end="")


def middle(rounds, figure):
    return statistics.median(found[figure] for found in rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="sent at full rate; 0: none")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=5, help="of one round")
    parser.add_argument("--rate", type=int, default=2_000, help="requests a second in a round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--sync", default="1s", metavar="each|TIME|none")
    parser.add_argument("--gateway", default=GATEWAY)
    parser.add_argument("--p99-at-most", type=float, metavar="RATIO",
                        help="fail when the p99 with a journal is more than this times that without, by the median of pairs")
    options = parser.parse_args()

    with Stage() as stage:
        options.load = generator(stage.work)
        if options.events:
            full = Watched(stage, "full-rate", options, journal=True)
            found = full.run(options.events, 0, refused=True)
            print(f"{options.events / found['seconds']:.0f} requests/s, {found['cpu']:.1f} µs CPU each")
            full.lost_nothing(stage, options.gateway)
        journal = Watched(stage, "journal", options, journal=True)
        without = Watched(stage, "without", options, journal=False)
        for one in (journal, without):
            one.run(options.rate, options.rate)
        for number in range(options.rounds):
            for one in (without, journal) if number % 2 == 0 else (journal, without):
                one.rounds.append(one.run(options.rate * options.seconds, options.rate))
        journal.lost_nothing(stage, options.gateway)

    figures = [("p50", "p50 µs"), ("p99", "p99 µs"), ("max", "max µs"), ("late_p99", "sent late, p99 µs"), ("cpu", "CPU µs")]
    print(f"\n{'median of rounds':20}" + "".join(f"{title:>19}" for _, title in figures))
    for one in (without, journal):
        print(f"{one.name:20}" + "".join(f"{middle(one.rounds, figure):>19.1f}" for figure, _ in figures))
    ratios = {}
    for figure in ("p50", "p99", "cpu"):
        pairs = [with_it[figure] / bare[figure] for with_it, bare in zip(journal.rounds, without.rounds)]
        ratios[figure] = round(statistics.median(pairs), 3)
        print(f"{figure}, journal / without: {ratios[figure]:.3f} (median of pairs); all "
              + " ".join(f"{pair:.2f}" for pair in pairs))
    print(json.dumps(ratios))
    if options.p99_at_most and ratios["p99"] > options.p99_at_most:
        raise SystemExit(f"the p99 with a journal is over the limit of {options.p99_at_most}")


if __name__ == "__main__":
    main()
