"""What a proxy weighs: at its start, with a million keys, and with connections that wait."""

import contextlib
import subprocess
import time

import peers
from cost import keyed_lane
from load import Keys
from rows import Row
from stage import LOAD_CORES, PEER, Stage

MIB = 1024


def resident(options):
    """Memory right after the start, before any request; the gateway as everywhere, with its keys."""
    row, raw = Row("resident", "Resident at start", "MiB", 12, 8, digits=1), []
    row.note = f"the gateway with {options.keys:,} keys, the others without"
    for peer in options.peers:
        with Stage() as stage:
            keys = Keys(stage, options.keys)
            proxy = peers.start(stage, peer, "keyed" if peer == "gateway" else "plain", keys=keys)
            time.sleep(1)
            row.put(peer, proxy.memory() / MIB)
            raw.append({"peer": peer, "KiB": proxy.memory()})
    return [row], raw


def many_keys(options):
    """What so many keys weigh, and how long it takes to start with them."""
    count = f"{options.most_keys:,} keys"
    memory = Row("many-keys", f"Memory of {count}", "MiB", 120, 64, digits=0)
    start = Row("many-keys", f"Start with {count}", "s", 0.6, 0.3)
    raw = []
    for peer in (peer for peer in options.peers if peer != "envoy"):
        with Stage() as stage:
            most, single = Keys(stage, options.most_keys), Keys(stage, 1)
            # Written before the clock runs.
            for keys in (most, single):
                for written in ("gateway", "digests", "upper", "mapped"):
                    getattr(keys, written)
            weights, times, used = {}, [], []
            for keys in (single, most, most, most):
                proxy = peers.start(stage, peer, "keyed", keys=keys)
                while stage.ask(proxy.port, "GET", "/templates", {"X-API-Key": keys.keys[-1]})[0] != 200:
                    time.sleep(0.002)
                times.append(time.monotonic() - proxy.began)
                used.append(proxy.cpu())
                weights.setdefault(keys.count, []).append(proxy.memory() / MIB)
                stage.stop(proxy)
            memory.put(peer, min(weights[most.count]) - weights[1][0])
            start.put(peer, min(times[1:]), (min(times[1:]), max(times[1:])))
            raw.append({"peer": peer, "MiB": weights, "seconds": times, "CPU seconds": used})
    return [memory, start], raw


@contextlib.contextmanager
def held(lane, connections):
    """Connections that have each had an answer, and wait."""
    holder = subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, LOAD_CORES)), str(PEER), "hold", "--to", f"127.0.0.1:{lane.proxy.port}",
         "--deck", str(lane.deck), "--connections", str(connections)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if holder.stdout.readline() != b"held\n":
            raise SystemExit(f"{lane.peer}: {connections} connections can't be held")
        yield
    finally:
        holder.stdin.close()
        holder.wait(timeout=60)


def idle(options):
    """Memory of a connection that has had its answer and waits for the next request."""
    row, raw = Row("idle", "Idle connection", "KiB", 10, 4, digits=1), []
    row.note = f"over {options.idle:,} of them, each after one request and six quiet seconds"
    for peer in options.peers:
        with Stage() as stage:
            lane = keyed_lane(stage, peer, Keys(stage, options.keys))
            # What the first requests take is not theirs.
            lane.send(requests=1_000, connections=1)
            before = lane.proxy.memory()
            with held(lane, options.idle):
                time.sleep(6)
                after = lane.proxy.memory()
            row.put(peer, (after - before) / options.idle)
            raw.append({"peer": peer, "KiB before": before, "KiB after": after})
    return [row], raw
