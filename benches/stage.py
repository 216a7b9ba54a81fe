"""What the benches start: the proxies under test, the upstream behind them, and an auth callback service.

One proxy worker has core 0; everything else, this program with its callback service included, keeps to core 1. Loopback
only, in a directory that goes away with the stage.
"""

import http.server
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GATEWAY = ROOT / "target/release/coppice-gateway"
TICKS = os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = 0, 1
ASKED = "/templates"

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
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on 127.0.0.1:{port}")


class Verify(http.server.BaseHTTPRequestHandler):
    """Knows everybody, for a minute."""

    def do_POST(self):
        self.server.calls += 1
        self.send_response(200)
        self.send_header("X-Auth-Tenant", "team-50")
        self.send_header("X-Auth-User", "0123456789abcdef")
        self.send_header("X-Auth-Scopes", "read")
        self.send_header("Cache-Control", "max-age=60")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Proxy:
    """A process on the proxy core, and its children."""

    def __init__(self, name, command, port, header=None, environment=None):
        self.name, self.port, self.header = name, port, header
        self.process = subprocess.Popen(
            ["taskset", "-c", str(PROXY_CORE), *command], env=environment, stderr=subprocess.DEVNULL
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

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class Stage:
    """Everything that runs. Leaving it stops all of it."""

    def __enter__(self):
        os.sched_setaffinity(0, {LOAD_CORE})
        self.directory = tempfile.TemporaryDirectory(prefix="gateway-bench-")
        self.work, self.proxies = Path(self.directory.name), []
        self.service = http.server.HTTPServer(("127.0.0.1", 0), Verify)
        self.service.calls = 0
        threading.Thread(target=self.service.serve_forever, daemon=True).start()
        self.origin_port = free_port()
        body = ORIGIN.format(port=self.origin_port, payload="x" * 1024)
        self.origin = subprocess.Popen(self._nginx("origin", body), stderr=subprocess.DEVNULL)
        wait_for(self.origin_port)
        return self

    def __exit__(self, *_):
        for proxy in self.proxies:
            proxy.stop()
        self.origin.send_signal(signal.SIGTERM)
        self.origin.wait(timeout=10)
        self.service.shutdown()
        self.directory.cleanup()

    def _nginx(self, name, body):
        config = self.work / f"{name}.conf"
        config.write_text(NGINX.format(work=self.work, name=name, body=body))
        return [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config), "-p", str(self.work)]

    def _gateway(self, name, arguments, key, program, under):
        port = free_port()
        command = [*under, str(program), "--listen", f"127.0.0.1:{port}", "--workers", "1",
                   "--upstream", f"http://127.0.0.1:{self.origin_port}", *arguments]
        proxy = Proxy(name, command, port, f"X-API-Key: {key}", {"COPPICE_LOG": "warn"})
        self.proxies.append(proxy)
        return proxy

    def plain(self):
        """nginx, which checks nothing."""
        port = free_port()
        proxy = Proxy("nginx", self._nginx("plain", PLAIN.format(origin=self.origin_port, port=port)), port)
        self.proxies.append(proxy)
        return proxy

    def keyed(self, count, program=GATEWAY, under=(), name="keys", scope="read", arguments=()):
        """The gateway with so many static keys."""
        keys = [f"e2b_{secrets.token_hex(20)}" for _ in range(count)]
        file = self.work / f"{name}.txt"
        file.write_text("".join(f"team-{i % 100}:{key}:{scope}\n" for i, key in enumerate(keys)))
        file.chmod(0o600)
        arguments = ["--api-keys-file", str(file), *arguments]
        return self._gateway(name, arguments, keys[count // 2], program, under)

    def called_back(self, cache_by, program=GATEWAY, under=()):
        """The gateway with an auth callback that knows everybody."""
        url = f"http://127.0.0.1:{self.service.server_port}/verify"
        arguments = ["--auth-callback-url", url, "--auth-callback-cache-by", cache_by]
        key = f"e2b_{secrets.token_hex(20)}"
        return self._gateway(f"callback, by {cache_by}", arguments, key, program, under)
