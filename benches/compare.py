#!/usr/bin/env python3
"""Compares what a request costs through the gateway and through plain nginx, in interleaved rounds.

One proxy worker on core 0; load (wrk) and upstream (nginx answering 1 KiB) on core 1; 64 keep-alive connections; loopback only. The figure
is CPU time (user + system) of the proxy's processes over the requests it served, which survives a noisy machine better than
requests per second. Needs Debian's nginx-light and wrk, and a release build of the gateway. See benches/README.md.
"""

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = "0", "1"

NGINX = """
daemon off;
worker_processes 1;
pid {work}/{name}.pid;
error_log {work}/{name}.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {work}/{name}.body;
  proxy_temp_path {work}/{name}.proxy;
  fastcgi_temp_path {work}/{name}.fastcgi;
  uwsgi_temp_path {work}/{name}.uwsgi;
  scgi_temp_path {work}/{name}.scgi;
  {body}
}}
"""

ORIGIN = 'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{payload}"; }} }}'
PLAIN = """
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on 127.0.0.1:{port}")


class Proxy:
    """A process on the proxy core, and its children."""

    def __init__(self, name, command, port, environment=None, header=None):
        self.name, self.port, self.header, self.costs, self.rates = name, port, header, [], []
        self.process = subprocess.Popen(
            ["taskset", "-c", PROXY_CORE, *command], env=environment, stderr=subprocess.DEVNULL
        )
        wait_for(port)

    def cpu(self):
        """Seconds of user and system time so far."""
        pids = [self.process.pid]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids += [int(pid) for pid in children.read_text().split()]
        total = 0
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def round(self, seconds, connections, path):
        command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        if self.header:
            command += ["-H", self.header]
        before = self.cpu()
        output = subprocess.run(
            [*command, f"http://127.0.0.1:{self.port}{path}"], capture_output=True, text=True, check=True
        ).stdout
        used = self.cpu() - before
        if "Non-2xx" in output or "Socket errors" in output:
            raise SystemExit(f"{self.name} failed under load:\n{output}")
        requests = int(re.search(r"(\d+) requests in", output)[1])
        self.costs.append(used / requests * 1e6)
        self.rates.append(requests / seconds)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=40)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--gateway", default=str(ROOT / "target/release/coppice-gateway"))
    parser.add_argument("--at-most", type=float, help="fail when the gateway costs more than this times nginx")
    options = parser.parse_args()
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    processes = []
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as work:
        def start_nginx(name, body, core):
            config = Path(work, f"{name}.conf")
            config.write_text(NGINX.format(work=work, name=name, body=body))
            return [nginx, "-c", str(config), "-p", work], core

        origin_port = free_port()
        command, _ = start_nginx("origin", ORIGIN.format(port=origin_port, payload="x" * 1024), LOAD_CORE)
        origin = subprocess.Popen(["taskset", "-c", LOAD_CORE, *command], stderr=subprocess.DEVNULL)
        wait_for(origin_port)
        try:
            port = free_port()
            command, _ = start_nginx("plain", PLAIN.format(origin=origin_port, port=port), PROXY_CORE)
            plain = Proxy("nginx, plain", command, port)
            processes.append(plain)

            keys = [f"e2b_{secrets.token_hex(20)}" for _ in range(options.keys)]
            keys_file = Path(work, "keys")
            keys_file.write_text("".join(f"team-{i % 100}:{key}:read\n" for i, key in enumerate(keys)))
            keys_file.chmod(0o600)
            port = free_port()
            keyed = Proxy(
                f"gateway, {options.keys} keys",
                [options.gateway, "--listen", f"127.0.0.1:{port}", "--workers", "1",
                 "--upstream", f"http://127.0.0.1:{origin_port}", "--api-keys-file", str(keys_file)],
                port,
                environment={"COPPICE_LOG": "warn"},
                header=f"X-API-Key: {keys[len(keys) // 2]}",
            )
            processes.append(keyed)

            for proxy in processes:
                proxy.round(1, options.connections, "/templates")
                proxy.costs.clear()
                proxy.rates.clear()
            for number in range(options.rounds):
                for proxy in processes if number % 2 == 0 else reversed(processes):
                    proxy.round(options.seconds, options.connections, "/templates")
        finally:
            for proxy in processes:
                proxy.stop()
            origin.send_signal(signal.SIGTERM)
            origin.wait(timeout=10)

    print(f"{'':24}{'CPU µs/request':>16}{'(all rounds)':>36}{'requests/s':>14}")
    for proxy in processes:
        rounds = " ".join(f"{cost:.1f}" for cost in proxy.costs)
        print(f"{proxy.name:24}{min(proxy.costs):>16.2f}{rounds:>36}{max(proxy.rates):>14.0f}")
    pairs = sorted(b / a for a, b in zip(plain.costs, keyed.costs))
    best, median = min(keyed.costs) / min(plain.costs), statistics.median(pairs)
    print(f"\ngateway / nginx: {best:.2f} (best to best), {median:.2f} (median of pairs)")
    print(json.dumps({"best": round(best, 3), "median": round(median, 3)}))
    if options.at_most and best > options.at_most:
        raise SystemExit(f"over the limit of {options.at_most}")


if __name__ == "__main__":
    main()
