"""What a request costs: CPU time, system calls and instructions; and what must not make it dearer.

Each figure is a function of the run's options; it gives rows and, for the raw results, whatever they were made of.
"""

import contextlib
import json
import secrets
import statistics

import load
import peers
from load import HOST, Keys, request, write_deck
from measure import Lane, half, instructions, interleave, syscalls
from rows import Row
from stage import Stage

API = {"Host": HOST}
CREATE = {
    "templateID": "base", "timeout": 300, "secure": True,
    "metadata": {"purpose": "bench", "owner": "somebody"}, "envVars": {"LANG": "C.UTF-8", "STAGE": "bench"},
}
# One of the callback's: no static key.
STRANGER = "e2b_" + "0" * 40


def lanes(options, stage, peer, ways, keys, under=(), single=False):
    """The lanes of a peer in those ways that it knows. Those that check keys are seen to refuse another."""
    for way in ways:
        sent = keys
        if way in ("cached", "uncached", "refused"):
            sent = Keys(stage, 100 if way == "cached" else options.keys)
        proxy_way = "keyed" if way in ("data", "list", "create", "refused") else way
        try:
            proxy = peers.start(stage, peer, proxy_way, keys=keys, under=under, single=single)
        except peers.Absent:
            continue
        if proxy_way == "keyed":
            status, _ = stage.ask(proxy.port, "GET", "/templates", API | {"X-API-Key": STRANGER})
            if status != 401:
                raise SystemExit(f"{peer}, {way}: a wrong key is answered {status}")
        if way in ("data", "list", "create"):
            yield api_lane(stage, peer, way, proxy, keys.keys[0])
        else:
            yield Lane(peer, way, proxy, sent.deck(), {"expect": 401} if way == "refused" else {})


def api_lane(stage, peer, way, proxy, key):
    """What the gateway does more for than pass on, with a key of the tenant that the upstream's sandboxes belong to."""
    headers, deck, expect = API | {"X-API-Key": key}, stage.work / f"{way}.deck", 200
    body = json.dumps(CREATE).encode()
    if way == "list":
        requests = [request("GET", "/v2/sandboxes", headers)]
    elif way == "create":
        requests, expect = [request("POST", "/sandboxes", headers | {"Content-Type": "application/json"}, body)], 201
    else:
        sandbox = create(stage, proxy, key)
        requests = [request("GET", "/metrics", data_plane(sandbox["sandboxID"])
                            | {"X-Access-Token": sandbox["envdAccessToken"]})]
    return Lane(peer, way, proxy, write_deck(deck, requests), {"expect": expect})


def create(stage, proxy, key):
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    status, answer = stage.ask(proxy.port, "POST", "/sandboxes", headers, json.dumps(CREATE))
    if status != 201:
        raise SystemExit(f"a create is answered {status}: {answer!r}")
    return json.loads(answer)


def data_plane(sandbox, port=49983):
    return {"Host": "127.0.0.1", "E2b-Sandbox-Id": sandbox, "E2b-Sandbox-Port": str(port)}


WAYS = {
    "plain": ("no check", None, None),
    "keyed": ("API key", 1.3, 1.0),
    "cached": ("callback, remembered", 1.35, 1.05),
    "uncached": ("callback, asked each time", 2.1, 1.7),
    "data": ("data plane, sandbox token", None, None),
    "list": ("list of sandboxes, filtered", None, None),
    "create": ("create", None, None),
    "refused": ("unknown API key, refused", None, None),
}


def cpu(options):
    """CPU time for each request, as a multiple of the same request through plain nginx."""
    with Stage() as stage:
        keys = Keys(stage, options.keys)
        plain = Lane("nginx", "plain", peers.start(stage, "nginx", "plain"), keys.deck())
        measured = [plain]
        for peer in options.peers:
            ways = [way for way in options.ways if (peer, way) != ("nginx", "plain")]
            if peer != "gateway":
                ways = [way for way in ways if way not in ("data", "list", "create")]
            for lane in lanes(options, stage, peer, ways, keys):
                lane.against = plain
                if lane.way in ("data", "list", "create"):
                    lane.against = Lane("nginx", lane.way, plain.proxy, lane.deck, lane.options)
                    measured.append(lane.against)
                measured.append(lane)
        interleave(measured, options.rounds, lambda lane: lane.cost(stage, seconds=options.seconds))
        check_calls(measured)
    rows = []
    for way, (label, must, goal) in WAYS.items():
        row = Row("cpu", f"CPU, {label}", "× nginx", must, goal)
        for lane in (lane for lane in measured if lane.way == way):
            row.put_ratio(lane.peer, lane.over(lane.against or lane))
        if way in ("data", "list", "create"):
            row.note = "against the same request through nginx, which looks at nothing"
        if row.values:
            rows.append(row)
    for way in ("plain", "keyed"):
        row = Row("cpu", f"CPU, {WAYS[way][0]}, in itself", "µs", digits=1)
        for lane in (lane for lane in measured if lane.way == way):
            row.put(lane.peer, statistics.median(lane.values()), half(lane.values()), lane.best())
        rows.append(row)
    return rows, [lane.told() for lane in measured]


def check_calls(measured):
    """The callback was asked as often as the lane's name says."""
    for lane in measured:
        asked = [one["calls"] / one["requests"] for one in lane.rounds]
        if lane.way == "uncached" and min(asked) < 0.98 or lane.way == "cached" and max(asked) > 0.02:
            raise SystemExit(f"{lane.peer}, {lane.way}: {asked} calls for each request")


def syscall_counts(options):
    """System calls for each request, with 64 connections busy."""
    row, raw = Row("syscalls", "System calls, API key", "a request", 4.5, 4.1), []
    plain = Row("syscalls", "System calls, no check", "a request")
    for peer in options.peers:
        with Stage() as stage:
            for lane in lanes(options, stage, peer, ("plain", "keyed"), Keys(stage, options.keys)):
                lane.send(requests=2_000)
                counted = syscalls(lane, stage, 20_000)
                (row if lane.way == "keyed" else plain).put(peer, counted["each"])
                raw.append({"peer": peer, "way": lane.way} | counted)
    return [row, plain], raw


def instruction_counts(options):
    """User instructions for each request, with 64 connections busy, but for SHA-256's."""
    rows, raw = [], []
    for way, must, goal in (("plain", None, None), ("keyed", 50_000, 30_000), ("cached", None, None),
                            ("data", None, None)):
        if way not in options.ways:
            continue
        row = Row("instructions", f"User instructions, {WAYS[way][0]}", "a request", must, goal, digits=0,
                  note="less SHA-256's, for which processors have instructions and valgrind has not")
        for peer in options.peers if way in ("plain", "keyed") else ("gateway",):
            @contextlib.contextmanager
            def started():
                with Stage() as stage:
                    keys = Keys(stage, options.keys)
                    yield stage, lambda under: next(lanes(options, stage, peer, (way,), keys, under, single=True))
            try:
                counted = instructions(started, options.instructions)
            except StopIteration:
                row.put(peer, "not counted")
                continue
            row.put(peer, counted["each"])
            raw.append({"peer": peer, "way": way} | counted)
        if row.values:
            rows.append(row)
    return rows, raw


def growth(options):
    """What keys, tenants and sandboxes add to the cost of a request: the most over the least."""
    rows, raw = [], []
    for peer in (peer for peer in options.peers if peer not in ("envoy",)):
        with Stage() as stage:
            few, many = (keyed_lane(stage, peer, Keys(stage, count)) for count in (1, options.most_keys))
            rows_of(rows, raw, options, stage, few, many,
                    Row("growth", f"Growth from 1 to {options.most_keys:,} keys", "×", 1.10, 1.03))
    if "gateway" not in options.peers:
        return rows, raw
    with Stage() as stage:
        few, many = (keyed_lane(stage, "gateway", Keys(stage, options.keys, count)) for count in (1, options.keys))
        rows_of(rows, raw, options, stage, few, many,
                Row("growth", f"Growth from 1 to {options.keys:,} tenants", "×", 1.10, 1.03))
    with Stage() as stage:
        few, many = (sandbox_lane(stage, count) for count in (1, options.sandboxes))
        rows_of(rows, raw, options, stage, few, many,
                Row("growth", f"Growth from 1 to {options.sandboxes:,} sandboxes", "×", 1.10, 1.03))
    return rows, raw


def keyed_lane(stage, peer, keys, under=(), single=False):
    return Lane(peer, f"{keys.count} keys of {keys.tenants} tenants",
                peers.start(stage, peer, "keyed", keys=keys, under=under, single=single), keys.deck())


def sandbox_lane(stage, count, under=(), single=False):
    """Data-plane requests to so many sandboxes in turn, all of which the gateway knows by then."""
    keys = Keys(stage, 1)
    proxy = peers.start(stage, "gateway", "keyed", keys=keys, under=under, single=single)
    key = {"X-API-Key": keys.keys[0]}
    deck = write_deck(stage.work / f"sandboxes-{count}.deck",
                      (request("GET", "/metrics", data_plane(f"i{secrets.token_hex(10)}") | key) for _ in range(count)))
    lane = Lane("gateway", f"{count} sandboxes", proxy, deck)
    lane.send(requests=count, connections=min(count, lane.connections))
    return lane


def rows_of(rows, raw, options, stage, few, many, row):
    """Measures two lanes and puts how they compare in a row, which other peers may have a place in already."""
    interleave([few, many], options.rounds, lambda lane: lane.cost(stage, seconds=options.seconds))
    row = next((one for one in rows if one.label == row.label), row)
    if row not in rows:
        rows.append(row)
    row.put_ratio(few.peer, many.over(few))
    raw += [few.told(), many.told()]
