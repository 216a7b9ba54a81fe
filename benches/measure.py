"""How something is measured: rounds of several lanes in turn, and counts of system calls and instructions.

A lane is a proxy and what is sent through it. Lanes of one figure take their rounds in alternating order, so that a
machine that slows down slows all of them.
"""

import re
import secrets
import shutil
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import load
from stage import Missing, find


@dataclass
class Lane:
    peer: str
    way: str
    proxy: object
    deck: Path
    options: dict = field(default_factory=dict)
    connections: int = 64
    # Of which others is this a multiple; the same requests through plain nginx, where nothing else is said.
    against: object = None
    rounds: list = field(default_factory=list)

    def send(self, **options):
        return load.run_load(self.proxy.port, self.deck, **{"connections": self.connections, **self.options, **options})

    def cost(self, stage, **options):
        """One round: microseconds of CPU for each request."""
        calls, lookups, before = stage.count("calls"), stage.count("lookups"), self.proxy.cpu()
        told = self.send(first=somewhere(), **options)
        used = self.proxy.cpu() - before
        return {
            "cpu_us": used / told["requests"] * 1e6, "rate": told["requests"] / told["seconds"],
            "requests": told["requests"], "received": told["received"],
            "calls": stage.count("calls") - calls, "lookups": stage.count("lookups") - lookups,
        }

    def values(self, what="cpu_us"):
        return [one[what] for one in self.rounds]

    def best(self, what="cpu_us"):
        return min(self.values(what))

    def over(self, other, what="cpu_us"):
        """This as a multiple of another lane, in each round and best to best."""
        pairs = [mine / theirs for mine, theirs in zip(self.values(what), other.values(what))]
        return {"median": statistics.median(pairs), "half": half(pairs), "best": self.best(what) / other.best(what)}

    def told(self):
        return {"peer": self.peer, "way": self.way, "rounds": self.rounds}


def half(values):
    """What half of some values lie between."""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return first, third


def somewhere():
    """A place in any deck. Rounds are short: if each began with the first request, most would never be sent."""
    return secrets.randbelow(2**32)


def interleave(lanes, rounds, one_round, warm_up=True):
    """Has each lane go so many rounds, there and back. The warm-up is not kept."""
    if warm_up:
        for lane in lanes:
            one_round(lane)
    for number in range(rounds):
        for lane in lanes if number % 2 == 0 else reversed(lanes):
            lane.rounds.append(one_round(lane))


def syscalls(lane, stage, requests):
    """System calls for each request, counted by strace while so many are sent."""
    strace = find("strace", "apt install strace")
    out = stage.work / "strace.out"
    pids = lane.proxy.pids()
    attached = [argument for pid in pids for argument in ("-p", str(pid))]
    tracer = subprocess.Popen([strace, "-c", "-f", "-qq", "-o", str(out), *attached], stderr=subprocess.DEVNULL)
    try:
        tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
        for _ in range(500):
            if all("TracerPid:\t0" not in (task / "status").read_text() for task in tasks):
                break
            time.sleep(0.02)
        else:
            raise SystemExit("strace does not attach")
        told = lane.send(requests=requests)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=30)
    counts = {line[-1]: int(line[3]) for line in map(str.split, out.read_text().splitlines())
              if len(line) >= 5 and line[3].isdigit()}
    total = counts.pop("total")
    most = dict(sorted(counts.items(), key=lambda item: -item[1])[:8])
    return {"each": total / told["requests"], "most": {name: n / told["requests"] for name, n in most.items()}}


CALLGRIND = ("valgrind", "--quiet", "--tool=callgrind")


def instructions(start, requests):
    """User instructions for each request: SHA-256's, and all others.

    `start()` gives a stage, and what starts the proxy under a program and gives its lane. It is done twice, with few
    and with many requests: the difference is what a request takes. valgrind's processor lacks the instructions for SHA-256,
    so that a block of 64 bytes takes thousands of ordinary ones; hence they stand apart.
    """
    if not (shutil.which("valgrind") and shutil.which("callgrind_annotate")):
        raise Missing("valgrind is missing: apt install valgrind")
    few = 1_000
    counts = []
    for number in (few, few + requests):
        with start() as (stage, run):
            out = stage.work / "callgrind.out"
            lane = run((*CALLGRIND, f"--callgrind-out-file={out}"))
            lane.send(requests=number)
            stage.stop(lane.proxy)
            listed = subprocess.run(["callgrind_annotate", "--threshold=100", str(out)], capture_output=True, text=True,
                                    check=True).stdout
        lines = re.findall(r"^ *([\d,]+) \([ .\d]+%\)  (.*)", listed, re.MULTILINE)
        everything, hashing = (
            sum(int(count.replace(",", "")) for count, what in lines if re.search(part, what, re.IGNORECASE))
            for part in ("PROGRAM TOTALS", "sha2::|sha256")
        )
        counts.append((everything - hashing, hashing))
    (few_rest, few_hashing), (many_rest, many_hashing) = counts
    return {"each": (many_rest - few_rest) / requests, "sha256": (many_hashing - few_hashing) / requests}
