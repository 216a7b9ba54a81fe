"""How much goes through: large bodies, WebSocket messages, two cores; and how late requests are at a fixed rate."""

import contextlib
import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import peers
from cost import create, data_plane, lanes
from load import HOST, Keys, request, write_deck
from measure import Lane, half, interleave, somewhere
from rows import Row
from stage import BLOB, CORES, Stage

GIB = 1024 ** 3
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def into_sandbox(stage, peer, way, upstream):
    """A proxy, and the headers with which it passes a request on; the gateway's go into a sandbox."""
    keys = Keys(stage, 1)
    proxy = peers.start(stage, peer, way if peer != "gateway" or way == "websocket" else "keyed", keys, upstream)
    if peer != "gateway":
        return proxy, {"Host": HOST}
    # On the listener for one sandbox port there is no control plane; the upstream knows every id.
    port, sandbox = (8080, "i" + "0" * 20) if way == "websocket" else (49983, None)
    sandbox = sandbox or create(stage, proxy, keys.keys[0])["sandboxID"]
    return proxy, data_plane(sandbox, port) | {"X-API-Key": keys.keys[0]}


def transfers(options):
    """CPU time for each GiB of large bodies, two at a time."""
    rows, raw = [], []
    for name, method, must, goal in (("down", "GET", 0.9, 0.8), ("up", "POST", 1.15, 1.0)):
        with Stage() as stage:
            measured = []
            for peer in options.peers:
                upstream = stage.origin_port if name == "down" else stage.service_port
                proxy, headers = into_sandbox(stage, peer, "stream", upstream)
                length = {"Content-Length": BLOB, "Content-Type": "application/octet-stream"} if name == "up" else {}
                deck = write_deck(stage.work / f"{name}-{peer}.deck",
                                  [request(method, "/files?path=/blob", headers | length)])
                options_of = {"filler": BLOB} if name == "up" else {}
                measured.append(Lane(peer, name, proxy, deck, options_of, connections=2))
            ahead = None
            if name == "down" and "nginx" in options.peers:
                ahead = Lane("nginx", "buffered", peers.start(stage, "nginx", "buffered"), deck, connections=2)
            both = [*measured, ahead] if ahead else measured
            # Rounds of a gibibyte: half as many.
            interleave(both, max(1, options.rounds // 2), lambda lane: lane.cost(stage, requests=10))
        row = Row("transfers", f"100 MiB {name}, CPU", "× nginx", must, goal)
        if ahead:
            seconds = ahead.best() * 1e-6 * GIB / BLOB
            row.note = f"nginx passes on as it comes; where it may read ahead 1 MiB, {seconds:.2f} s a GiB in its best round"
        absolute = Row("transfers", f"100 MiB {name}, CPU in itself", "s a GiB")
        put_ratios(row, absolute, measured, 1e-6 * GIB / BLOB)
        rows += [row, absolute]
        raw += [lane.told() for lane in both]
    return rows, raw


def put_ratios(row, absolute, measured, scale):
    plain = next((lane for lane in measured if lane.peer == "nginx"), None)
    for lane in measured:
        if plain:
            row.put_ratio(lane.peer, lane.over(plain))
        absolute.put(lane.peer, statistics.median(lane.values()) * scale, best=lane.best() * scale)


def websocket(options):
    """CPU time for each message of 64 bytes that is echoed."""
    with Stage() as stage:
        measured = []
        for peer in options.peers:
            proxy, headers = into_sandbox(stage, peer, "websocket", stage.service_port)
            deck = write_deck(stage.work / f"websocket-{peer}.deck", [request("GET", "/echo", headers | UPGRADE)])
            measured.append(Lane(peer, "websocket", proxy, deck, {"message": 64, "expect": 101}))
        interleave(measured, options.rounds, lambda lane: lane.cost(stage, seconds=options.seconds))
    row = Row("websocket", "WebSocket echo of 64 bytes, CPU", "× nginx", 1.1, 1.0)
    absolute = Row("websocket", "WebSocket echo, CPU in itself", "µs", digits=1)
    put_ratios(row, absolute, measured, 1)
    return [row, absolute], [lane.told() for lane in measured]


@contextlib.contextmanager
def ahead_of_others(wanted):
    """What is started meanwhile has the cores whenever it wants them: such rates leave enough of them to others."""
    if wanted:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def latency(options):
    """How late answers are at a fixed rate, counted from when each request was due."""
    with ahead_of_others(options.realtime), Stage() as stage:
        keys = Keys(stage, options.keys)
        direct = Lane("none", "direct", SimpleNamespace(port=stage.origin_port), keys.deck())
        measured = [direct]
        for peer in options.peers:
            measured += lanes(options, stage, peer, ("plain" if peer == "nginx" else "keyed",), keys)
        interleave(measured, options.rounds, lambda lane: lane.send(
            first=somewhere(), seconds=2 * options.seconds, rate=options.rate))
    middle = Row("latency", f"Added at {options.rate:,} requests/s, p50", "µs", 110, 75, digits=0)
    late = Row("latency", f"At {options.rate:,} requests/s, p99", "× nginx", 1.5, 1.1)
    absolute = Row("latency", f"At {options.rate:,} requests/s, p99 in itself", "µs", digits=0)
    middle.note = "the best round, less the best without a proxy; nginx checks nothing"
    late.note = "the best round of each, since whatever else runs shows in the worst"
    plain = next((lane for lane in measured if lane.peer == "nginx"), None)
    for lane in measured[1:]:
        added = [mine - without for mine, without in zip(lane.values("p50"), direct.values("p50"))]
        middle.put(lane.peer, lane.best("p50") - direct.best("p50"), half(added))
        absolute.put(lane.peer, lane.best("p99"), half(lane.values("p99")))
        if plain:
            ratio = lane.over(plain, "p99")
            late.put(lane.peer, ratio["best"], ratio["half"])
    return [middle, late, absolute], [lane.told() for lane in measured]


class Twice:
    """Half of the connections each to two proxies, or to two workers of one, at the same time."""

    def __init__(self, peer, way, proxies, deck):
        self.peer, self.way, self.rounds = peer, way, []
        self.halves = [Lane(peer, way, proxy, deck, connections=32) for proxy in proxies]

    def cost(self, seconds):
        proxies = {lane.proxy.port: lane.proxy for lane in self.halves}.values()
        before = sum(proxy.cpu() for proxy in proxies)
        with ThreadPoolExecutor() as pool:
            told = list(pool.map(lambda lane: lane.send(first=somewhere(), seconds=seconds), self.halves))
        used = sum(proxy.cpu() for proxy in proxies) - before
        requests = sum(one["requests"] for one in told)
        return {"cpu_us": used / requests * 1e6, "requests": requests, "rate": sum(
            one["requests"] / one["seconds"] for one in told)}


def two_cores(options):
    """What two workers do with two cores, against one.

    The load generator needs one of two cores, so that requests per second would tell of the generator. CPU time tells:
    two processes of one worker each, one to a core, do twice what one does by their nature. What two workers of one
    process cost more than those is what they take from each other.
    """
    row = Row("cores", "Two workers against one", "×", 1.8, 1.95, more=True)
    row.note = ("twice the CPU for each request of two processes with a worker each, over that of one process with two"
                " workers, on the same cores")
    raw = []
    for peer in options.peers:
        with Stage() as stage:
            keys = Keys(stage, options.keys)
            apart = [peers.start(stage, peer, "keyed", keys=keys, cores=[core]) for core in CORES[:2]]
            together = peers.start(stage, peer, "keyed", keys=keys, cores=CORES[:2])
            one, two = (Twice(peer, "two processes", apart, keys.deck()),
                        Twice(peer, "two workers", [together, together], keys.deck()))
            interleave([one, two], options.rounds, lambda lane: lane.cost(options.seconds))
        single, double = ([each["cpu_us"] for each in lane.rounds] for lane in (one, two))
        pairs = [2 * mine / theirs for mine, theirs in zip(single, double)]
        row.put(peer, statistics.median(pairs), half(pairs), 2 * min(single) / min(double))
        raw += [{"peer": peer, "way": lane.way, "rounds": lane.rounds} for lane in (one, two)]
    return [row], raw
