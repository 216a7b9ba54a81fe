#!/usr/bin/env python3
"""Counts the instructions of a request through the gateway, by static key and by remembered callback answer.

Under valgrind's callgrind, which no other load on the machine disturbs; it sees no system time and no cache misses.
Each way is run twice, with few and with many requests over one connection: the difference is what a request takes.
SHA-256 is counted apart: valgrind's processor lacks the instructions for it. Needs valgrind, nginx-light and a release
build of the gateway. See benches/README.md.
"""

import argparse
import http.client
import re
import subprocess

from stage import ASKED, GATEWAY, Stage


def counts(start, requests):
    """Instructions of a whole run with so many requests: all but SHA-256's, and those."""
    with Stage() as stage:
        out = stage.work / "callgrind.out"
        proxy = start(stage, ("valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"))
        name, value = proxy.header.split(": ")
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
        for _ in range(requests):
            connection.request("GET", ASKED, headers={name: value})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"{proxy.name} answers {answer.status}")
        connection.close()
        if stage.service.calls > 1:
            raise SystemExit(f"{proxy.name} asked the callback {stage.service.calls} times")
        stage.proxies.remove(proxy)
        proxy.stop()
        listed = subprocess.run(
            ["callgrind_annotate", "--threshold=100", str(out)], capture_output=True, text=True, check=True
        ).stdout
    lines = re.findall(r"^ *([\d,]+) \([ .\d]+%\)  (.*)", listed, re.MULTILINE)
    everything, hashing = (
        sum(int(number.replace(",", "")) for number, what in lines if part in what)
        for part in ("PROGRAM TOTALS", "sha2::")
    )
    return everything - hashing, hashing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--gateway", default=GATEWAY)
    parser.add_argument("--callback-at-most", type=float, metavar="RATIO",
                        help="fail when a remembered callback answer takes more than this times a static key")
    options = parser.parse_args()
    ways = {"keys": lambda stage, under: stage.keyed(options.keys, options.gateway, under)}
    for by in ("request", "credential"):
        ways[f"callback, by {by}"] = lambda stage, under, by=by: stage.called_back(by, options.gateway, under)

    start_up, keys = 200, None
    print(f"{'instructions/request':26}{'SHA-256':>10}{'all else':>10}{'/ keys':>8}")
    for name, start in ways.items():
        runs = zip(counts(start, start_up + options.requests), counts(start, start_up))
        rest, hashing = ((many - few) / options.requests for many, few in runs)
        keys = keys or rest
        print(f"{name:26}{hashing:>10.0f}{rest:>10.0f}{rest / keys:>8.3f}", flush=True)
        if options.callback_at_most and rest / keys > options.callback_at_most:
            raise SystemExit(f"over the limit of {options.callback_at_most}")


if __name__ == "__main__":
    main()
