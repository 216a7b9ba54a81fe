"""What is sent: decks of requests, and the program that deals them out. It knows no proxies."""

import hashlib
import json
import secrets
import subprocess
from functools import cached_property

from stage import LOAD_CORES, PEER

HOST = "sandboxes.example"


def request(method, path, headers, body=b""):
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if method == "POST" and "Content-Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def write_deck(path, requests):
    with open(path, "wb") as file:
        for one in requests:
            file.write(b"%d\n" % len(one))
            file.write(one)
    return path


def run_load(port, deck, **options):
    """Sends requests and returns what came of it. Any answer that is not as expected ends the bench."""
    command = ["taskset", "-c", ",".join(map(str, LOAD_CORES)), str(PEER), "load", "--to", f"127.0.0.1:{port}",
               "--deck", str(deck)]
    for name, value in options.items():
        if value is not None:
            command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"port {port}, {deck}: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Keys:
    """So many random keys, and how the gateway and its peers like to be told of them."""

    def __init__(self, stage, count, tenants=100):
        self.stage, self.count, self.tenants = stage, count, tenants
        self.name = f"keys-{secrets.token_hex(4)}"
        self.keys = [f"e2b_{secrets.token_hex(20)}" for _ in range(count)]

    def _write(self, suffix, lines):
        file = self.stage.work / f"{self.name}.{suffix}"
        file.write_text("".join(f"{line}\n" for line in lines))
        file.chmod(0o600)
        return file

    @cached_property
    def hashed(self):
        return [hashlib.sha256(key.encode()).hexdigest() for key in self.keys]

    @cached_property
    def gateway(self):
        """Lines of tenant, digest and scope."""
        lines = (f"team-{i % self.tenants}:sha256:{digest}:exec" for i, digest in enumerate(self.hashed))
        return self._write("gateway", lines)

    @cached_property
    def digests(self):
        return self._write("digests", self.hashed)

    @cached_property
    def upper(self):
        """As haproxy's `hex` writes them."""
        return self._write("upper", (digest.upper() for digest in self.hashed))

    @cached_property
    def mapped(self):
        """nginx's map; it hashes nothing, so the keys are there as they are."""
        return self._write("map", (f"{key} 1;" for key in self.keys))

    def deck(self, most=50_000):
        """Reads with keys drawn at random, of all of them if there are that few."""
        chosen = self.keys if self.count <= most else secrets.SystemRandom().sample(self.keys, most)
        return write_deck(self.stage.work / f"{self.name}.deck",
                          (request("GET", "/templates", {"Host": HOST, "X-API-Key": key}) for key in chosen))
