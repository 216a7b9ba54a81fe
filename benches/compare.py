#!/usr/bin/env python3
"""Compares what a request costs through plain nginx, and through the gateway by static key and by callback answer.

The answer is a remembered one. The figure is CPU time (user + system) of the proxy's processes over the requests it
served, in interleaved rounds; it survives a noisy machine better than requests per second. Needs Debian's nginx-light
and wrk, and a release build of the gateway. See benches/README.md.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess

from stage import ASKED, GATEWAY, Stage


class Measured:
    """What the rounds of one proxy came to."""

    def __init__(self, proxy, service):
        self.proxy, self.service, self.costs, self.rates, self.calls = proxy, service, [], [], 0

    def warm(self):
        """Has the identity remembered: an answer is for a minute at most."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port)
        header = self.proxy.header.split(": ") if self.proxy.header else ("Accept", "*/*")
        connection.request("GET", ASKED, headers=dict([header]))
        status = connection.getresponse().status
        connection.close()
        if status != 200:
            raise SystemExit(f"{self.proxy.name} answers {status}")

    def round(self, seconds, connections):
        self.warm()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        if self.proxy.header:
            command += ["-H", self.proxy.header]
        before, asked = self.proxy.cpu(), self.service.calls
        output = subprocess.run(
            [*command, f"http://127.0.0.1:{self.proxy.port}{ASKED}"], capture_output=True, text=True, check=True
        ).stdout
        used, asked = self.proxy.cpu() - before, self.service.calls - asked
        if "Non-2xx" in output or "Socket errors" in output:
            raise SystemExit(f"{self.proxy.name} failed under load:\n{output}")
        # What was remembered may end once within a round.
        if asked > 1:
            raise SystemExit(f"{self.proxy.name} asked the callback {asked} times in one round")
        requests = int(re.search(r"(\d+) requests in", output)[1])
        self.costs.append(used / requests * 1e6)
        self.rates.append(requests / seconds)
        self.calls += asked

    def forget(self):
        self.costs, self.rates, self.calls = [], [], 0

    def over(self, other):
        """The ratio to another one, best to best and as the median of each round's own."""
        pairs = [mine / theirs for mine, theirs in zip(self.costs, other.costs)]
        return {
            "best": round(min(self.costs) / min(other.costs), 3),
            "median": round(statistics.median(pairs), 3),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of one round; less than 50, for which answers live")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--gateway", default=GATEWAY)
    parser.add_argument("--at-most", type=float, metavar="RATIO",
                        help="fail when static keys cost more than this times nginx, best to best")
    parser.add_argument("--callback-at-most", type=float, metavar="RATIO",
                        help="fail when a remembered answer costs more than this times static keys, by the median")
    options = parser.parse_args()

    with Stage() as stage:
        proxies = [stage.plain(), stage.keyed(options.keys, options.gateway)]
        proxies += [stage.called_back(by, options.gateway) for by in ("request", "credential")]
        measured = [Measured(proxy, stage.service) for proxy in proxies]
        for one in measured:
            one.round(1, options.connections)
            one.forget()
        for number in range(options.rounds):
            for one in measured if number % 2 == 0 else reversed(measured):
                one.round(options.seconds, options.connections)

    print(f"{'':26}{'CPU µs/request':>14}{'requests/s':>12}{'calls':>7}  all rounds")
    for one in measured:
        rounds = " ".join(f"{cost:.1f}" for cost in one.costs)
        print(f"{one.proxy.name:26}{min(one.costs):>14.2f}{max(one.rates):>12.0f}{one.calls:>7}  {rounds}")
    plain, keyed, *called_back = measured
    compared = [(keyed, plain), *((one, keyed) for one in called_back)]
    ratios = {f"{one.proxy.name} / {other.proxy.name}": one.over(other) for one, other in compared}
    print()
    for name, ratio in ratios.items():
        print(f"{name}: {ratio['best']:.3f} (best to best), {ratio['median']:.3f} (median of pairs)")
    print(json.dumps(ratios))

    if options.at_most and keyed.over(plain)["best"] > options.at_most:
        raise SystemExit(f"static keys are over the limit of {options.at_most}")
    if options.callback_at_most and any(one.over(keyed)["median"] > options.callback_at_most for one in called_back):
        raise SystemExit(f"a remembered answer is over the limit of {options.callback_at_most}")


if __name__ == "__main__":
    main()
