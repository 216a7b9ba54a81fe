"""Who goes to and fro in a soak: each is a thread that keeps at one thing until it is told to stop.

What should not have happened is a line in `failures`; what was done, and what was refused as it was meant to be, is
counted by name.
"""

import collections
import itertools
import json
import os
import random
import secrets
import signal
import socket
import struct
import threading
import time

import load
from cost import API, CREATE, STRANGER, create, data_plane
from flow import UPGRADE
from load import request, write_deck
from stage import TENANT


# A sandbox's port that has a listener of its own.
PORT = 8080


def port_inside(proxy):
    """Where that listens."""
    return int(proxy.option("--envd-listen").partition("=")[0].rpartition(":")[2])


def upgrade(key):
    """Asks for a WebSocket to it."""
    return request("GET", "/echo", data_plane("i" + "0" * 20, PORT) | UPGRADE | key)


class Tally:
    def __init__(self):
        self.lock, self.counts, self.failures = threading.Lock(), collections.Counter(), []

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number

    def fail(self, why):
        with self.lock:
            self.failures.append(f"{time.strftime('%H:%M:%S')} {why}")


class Worker(threading.Thread):
    """Does `once` again and again, `apart` seconds from start to start."""

    apart = 0.0

    def __init__(self, stage, proxy, tally):
        super().__init__(daemon=True)
        self.stage, self.proxy, self.tally, self.stopped = stage, proxy, tally, threading.Event()

    def run(self):
        due = time.monotonic()
        while not self.stopped.is_set():
            try:
                self.once()
            # Whatever it is, it is no pass. The bench's own helpers give up with SystemExit.
            except (Exception, SystemExit) as why:
                self.tally.fail(f"{type(self).__name__}: {type(why).__name__}: {why}")
                time.sleep(1)
            due += self.apart
            self.stopped.wait(max(0.0, due - time.monotonic()))

    def ask(self, method, path, headers, expected, body=None):
        status, content = self.stage.ask(self.proxy.port, method, path, headers, body)
        if status not in expected:
            raise RuntimeError(f"{method} {path} is answered {status}: {content[:200]!r}")
        return content


class Mixed:
    """A deck of everyday requests, some of them to be refused, and the status that each has to get."""

    SHARES = {"list": 30, "read in a sandbox": 35, "templates": 15, "timeout": 5,
              "unknown key": 8, "no key": 4, "another's sandbox": 3}

    def __init__(self, stage, proxy, keys):
        own, others = ([key for at, key in enumerate(keys.keys) if at % 2 == tenant] for tenant in (0, 1))
        chance = random.Random(1)
        sandboxes = [(json_of["sandboxID"], json_of["envdAccessToken"])
                     for json_of in (create(stage, proxy, chance.choice(own)) for _ in range(50))]

        def card(kind):
            (sandbox, token), key = chance.choice(sandboxes), {"X-API-Key": chance.choice(own)}
            return {
                "list": lambda: (request("GET", "/v2/sandboxes", API | key), 200),
                "read in a sandbox": lambda: (
                    request("GET", "/metrics", data_plane(sandbox) | {"X-Access-Token": token}), 200),
                "templates": lambda: (request("GET", "/templates", API | key), 200),
                "timeout": lambda: (request("POST", f"/sandboxes/{sandbox}/timeout", API | key
                                            | {"Content-Type": "application/json"}, b'{"timeout":300}'), 200),
                "unknown key": lambda: (request("GET", "/v2/sandboxes", API | {"X-API-Key": STRANGER}), 401),
                "no key": lambda: (request("DELETE", f"/sandboxes/{sandbox}", API), 401),
                "another's sandbox": lambda: (request("GET", f"/sandboxes/{sandbox}", API
                                                      | {"X-API-Key": chance.choice(others)}), 404),
            }[kind]()
        kinds = [kind for kind, share in self.SHARES.items() for _ in range(share * 10)]
        chance.shuffle(kinds)
        cards = [card(kind) for kind in kinds]
        self.statuses = [status for _, status in cards]
        self.deck = write_deck(stage.work / "mixed.deck", [text for text, _ in cards])

    def expected(self, requests):
        """How often which status, of so many requests from the start of the deck."""
        rounds, rest = divmod(requests, len(self.statuses))
        counts = collections.Counter(self.statuses[:rest])
        for status, number in collections.Counter(self.statuses).items():
            counts[status] += number * rounds
        return {str(status): number for status, number in counts.items() if number}

    def send(self, proxy, **options):
        statuses = ",".join(map(str, sorted(set(self.statuses))))
        told = load.run_load(proxy.port, self.deck, connections=64, expect=statuses, **options)
        if told["statuses"] != (expected := self.expected(told["requests"])):
            raise RuntimeError(f"of {told['requests']} requests {told['statuses']} instead of {expected}")
        return told


class Steady(Worker):
    """The mixed deck at a fixed rate, over new connections every few seconds."""

    def __init__(self, stage, proxy, tally, mixed, rate, seconds):
        super().__init__(stage, proxy, tally)
        self.mixed, self.rate, self.seconds, self.p99 = mixed, rate, seconds, []

    def once(self):
        told = self.mixed.send(self.proxy, rate=self.rate, seconds=self.seconds)
        self.p99.append(told["p99"])
        refused = sum(number for status, number in told["statuses"].items() if status != "200")
        self.tally.count("mixed", told["requests"] - refused)
        self.tally.count("mixed, meant to be refused", refused)


class Echo(Worker):
    """WebSockets to a sandbox's port, with messages that come back."""

    def __init__(self, stage, proxy, tally, keys, seconds):
        super().__init__(stage, proxy, tally)
        self.seconds = seconds
        self.deck = write_deck(stage.work / "echo.deck", [upgrade({"X-API-Key": keys.keys[0]})])

    def once(self):
        told = load.run_load(port_inside(self.proxy), self.deck, connections=16, message=64, expect=101, rate=200,
                             seconds=self.seconds)
        self.tally.count("WebSocket messages", told["requests"])


class Lives(Worker):
    """A sandbox is created, read from, given time, and killed.

    The gateway remembers for a while that it was killed, in some 40 bytes.
    """

    apart = 0.2

    def __init__(self, stage, proxy, tally, keys):
        super().__init__(stage, proxy, tally)
        self.key = {"X-API-Key": keys.keys[0]}

    def once(self):
        sandbox = create(self.stage, self.proxy, self.key["X-API-Key"])
        path = f"/sandboxes/{sandbox['sandboxID']}"
        inside = data_plane(sandbox["sandboxID"]) | {"X-Access-Token": sandbox["envdAccessToken"]}
        self.ask("GET", "/metrics", inside, {200})
        self.ask("POST", f"{path}/timeout", API | self.key | {"Content-Type": "application/json"}, {200, 204},
                 json.dumps({"timeout": 60}))
        self.ask("DELETE", path, API | self.key, {200, 204})
        self.tally.count("sandboxes created, used and killed")


class Turnover(Worker):
    """Every few seconds a key comes and one goes, with a SIGHUP: the new one has to be good, the old one refused."""

    apart = 3.0
    PATIENCE = 10.0

    def __init__(self, stage, proxy, tally, keys):
        super().__init__(stage, proxy, tally)
        self.file, self.lasting, self.passing = keys.gateway, keys.gateway.read_text(), []

    def once(self):
        new = f"e2b_{secrets.token_hex(20)}"
        gone = self.passing.pop(0) if len(self.passing) >= 3 else None
        self.passing.append(new)
        written = self.file.with_suffix(".new")
        written.write_text(self.lasting + "".join(f"{TENANT}:{key}:exec\n" for key in self.passing))
        written.chmod(0o600)
        written.rename(self.file)
        self.proxy.process.send_signal(signal.SIGHUP)
        self.tally.count("reloads")
        self.settle(new, 200)
        if gone:
            self.settle(gone, 401)
        for _ in range(20):
            for key in self.passing:
                self.ask("GET", "/templates", API | {"X-API-Key": key}, {200})
            self.tally.count("with keys that were added", len(self.passing))
            if gone:
                self.ask("GET", "/templates", API | {"X-API-Key": gone}, {401})
                self.tally.count("with keys that were removed, refused")

    def settle(self, key, status):
        """A reload takes its time; how long is not at stake here."""
        until = time.monotonic() + self.PATIENCE
        while self.stage.ask(self.proxy.port, "GET", "/templates", API | {"X-API-Key": key})[0] != status:
            if time.monotonic() > until:
                raise RuntimeError(f"{self.PATIENCE:g} s after a reload a key is not answered {status}")
            time.sleep(0.05)


class Aborts(Worker):
    """Clients that reset their connections: within a request, within an answer, within a WebSocket."""

    apart = 0.04

    def __init__(self, stage, proxy, tally, keys):
        super().__init__(stage, proxy, tally)
        key = {"X-API-Key": keys.keys[0]}
        whole = request("GET", "/v2/sandboxes", API | key)
        body = json.dumps(CREATE).encode()
        start = request("POST", "/sandboxes", API | key | {"Content-Type": "application/json"}, body)
        inside = data_plane("i" + "0" * 20) | key
        upload = request("POST", "/files?path=/blob", inside | {"Content-Length": 1 << 20}) + bytes(1 << 16)
        download, websocket = request("GET", "/files?path=/blob", inside), upgrade(key)
        at, within = proxy.port, port_inside(proxy)
        # Where to, what is sent, and how many bytes are read before the reset.
        self.ways = itertools.cycle((
            (at, whole[:40], 0), (at, start[:-len(body) // 2], 0), (at, upload, 0), (at, whole, 0), (at, whole, 100),
            (at, download, 1 << 18), (within, websocket, 100), (within, websocket + b"\x81\xfe\x00", 100),
        ))

    def once(self):
        port, text, wanted = next(self.ways)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(text)
            head = b""
            while wanted > 0:
                received = connection.recv(min(wanted, 1 << 16))
                head = head or received
                if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")) or not received:
                    raise RuntimeError(f"{text[:30]!r}… is answered {head[:200]!r}")
                wanted -= len(received)
        self.tally.count("connections reset by their clients")


class Watch(Worker):
    """Notes once a second what the process holds."""

    apart = 1.0

    def __init__(self, stage, proxy, tally):
        super().__init__(stage, proxy, tally)
        self.began, self.samples = time.monotonic(), []

    def once(self):
        proc = f"/proc/{self.proxy.process.pid}"
        with open(f"{proc}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        self.samples.append({
            "at": time.monotonic() - self.began, "resident": int(status["VmRSS"].split()[0]) / 1024,
            "descriptors": len(os.listdir(f"{proc}/fd")), "threads": int(status["Threads"])})
        self.prune()

    def prune(self):
        """A journal at this rate would fill a disk in a day. The newest that was put aside stays."""
        journal = self.proxy.option("--audit-log")
        aside = sorted(self.stage.work.glob(f"{os.path.basename(journal)}.[0-9]*"), key=os.path.getmtime)
        for file in aside[:-1]:
            file.unlink()
            self.tally.count("journals put aside")
