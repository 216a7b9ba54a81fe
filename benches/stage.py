"""What the benches start: the upstream, an auth callback service, and processes of which CPU and memory are read.

One proxy has core 0; everything else, this program included, keeps to the others. Loopback only, in a directory that
goes away with the stage. Which proxies there are and how they are set is `peers.py`'s business.
"""

import http.client
import json
import os
import pwd
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GATEWAY = Path(os.environ.get("GATEWAY", ROOT / "target/release/coppice-gateway"))
PEER = ROOT / "target/peer/release/bench-peer"
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORES, LOAD_CORES = CORES[:1], CORES[1:] or CORES
BLOB = 100 * 1024 * 1024
TENANT = "team-0"

NGINX = """
daemon off;
{user}
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {work}/{name}.pid;
error_log {work}/{name}.log;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_max_body_size 0;
  client_body_temp_path {work}/{name}.body;
  proxy_temp_path {work}/{name}.proxy;
  fastcgi_temp_path {work}/{name}.fastcgi;
  uwsgi_temp_path {work}/{name}.uwsgi;
  scgi_temp_path {work}/{name}.scgi;
  default_type application/json;
  {body}
}}
"""

# Any path is 1 KiB, save for those of the sandbox API that the gateway reads itself. Ids are made up, or as asked for.
ORIGIN = """
  log_format line '.';
  sendfile on;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 "{payload}"; }}
    location = /sandboxes {{ return 201 '{created}'; }}
    location = /v2/sandboxes {{ alias {work}/list.json; }}
    location = /files {{ alias {work}/blob; }}
    location = /echo {{ proxy_pass http://127.0.0.1:{service}; proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
    location ~ ^/sandboxes/(?<sandbox>[^/]+)$ {{ access_log {work}/lookups line; return 200 '{detail}'; }}
  }}
  server {{
    listen 127.0.0.1:{callback} backlog=4096;
    access_log {work}/calls line;
    add_header X-Auth-Tenant {tenant};
    add_header X-Auth-User ci;
    add_header X-Auth-Scopes exec;
    location /remembered {{ add_header Cache-Control max-age=60; add_header X-Auth-Tenant {tenant};
                            add_header X-Auth-User ci; add_header X-Auth-Scopes exec; return 200; }}
    location / {{ return 200; }}
  }}
"""


class Missing(Exception):
    """A program is not there. The message says what to do about it."""


def find(program, advice):
    """The path of a program, wherever an administrator's would be."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
    if not found:
        raise Missing(f"{program} is missing: {advice}")
    return found


def free_port():
    """One below those that the system gives out, so that no connection has it as its own end meanwhile."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(min(10_000, first_given - 1_000), first_given)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_for(port, process=None):
    for _ in range(4000):
        if process and process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on 127.0.0.1:{port}")


def entry(template="base", tenant=TENANT, identity="$sandbox"):
    """A sandbox as the sandbox API shows it."""
    return {
        "templateID": template, "sandboxID": identity, "clientID": "bench", "startedAt": "2026-01-01T00:00:00Z",
        "endAt": "2036-01-01T00:00:00Z", "cpuCount": 2, "memoryMB": 512, "diskSizeMB": 1024, "state": "running",
        "envdVersion": "0.2.0", "metadata": {"coppice_tenant_id": tenant, "purpose": "bench"},
    }


class Proxy:
    """A process on the proxy's cores, with its children and threads."""

    def __init__(self, name, command, port, environment=None, cores=PROXY_CORES, log=None):
        self.name, self.port = name, port
        pinned = ["taskset", "-c", ",".join(map(str, cores))]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*pinned, *command], env=environment, stdin=subprocess.DEVNULL, stdout=log or subprocess.DEVNULL,
            stderr=log or subprocess.DEVNULL,
        )

    def wait(self):
        wait_for(self.port, self.process)
        return self

    def option(self, name):
        """What was given with an option of its command."""
        arguments = self.process.args
        return arguments[arguments.index(name) + 1]

    def pids(self):
        found, unseen = [], [self.process.pid]
        while unseen:
            pid = unseen.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                unseen += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu(self):
        """Seconds of user and system time so far."""
        # The number of a process' clock, as of clock_getcpuclockid(3). What /proc/PID/stat tells is in hundredths.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def memory(self):
        """KiB that would be free without it: what several processes share counts once."""
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.pids()]
        return sum(int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith("Pss:"))

    def metric(self, name, labels=".*"):
        """A number that the gateway's operators' listener tells; the sum where several have such labels."""
        connection = http.client.HTTPConnection(self.option("--ops-listen"), timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.findall(rf"^coppice_gateway_{name}(?:{{{labels}}})? (\d+)", text, re.MULTILINE)
        if not found:
            raise SystemExit(f"there is no metric {name}")
        return sum(map(int, found))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Stage:
    """Everything that runs. Leaving it stops all of it."""

    def __enter__(self):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        os.sched_setaffinity(0, LOAD_CORES)
        self.directory = tempfile.TemporaryDirectory(prefix="gateway-bench-")
        self.work, self.running = Path(self.directory.name), []
        self.origin_port, self.callback_port, self.service_port = free_port(), free_port(), free_port()
        listed = [entry(tenant=tenant, identity=f"i{tenant[-1]}{number:019d}")
                  for number in range(10) for tenant in (TENANT, "team-1")]
        (self.work / "list.json").write_text(json.dumps(listed))
        with open(self.work / "blob", "wb") as blob:
            blob.truncate(BLOB)
        body = ORIGIN.format(
            port=self.origin_port, callback=self.callback_port, service=self.service_port, work=self.work, tenant=TENANT, payload="x" * 1024,
            created=json.dumps({"templateID": "base", "sandboxID": "i$request_id", "clientID": "bench",
                                "envdVersion": "0.2.0", "envdAccessToken": "upstream-token"}),
            detail=json.dumps(entry() | {"envdAccessToken": "upstream-token"}),
        )
        # Not on the proxy's core.
        self.start("origin", self.nginx("origin", body), self.origin_port, cores=LOAD_CORES)
        self.start("service", [str(PEER), "service", "--listen", f"127.0.0.1:{self.service_port}"],
                   self.service_port, cores=LOAD_CORES)
        return self

    def __exit__(self, *_):
        for proxy in self.running:
            proxy.process.poll() is None and proxy.process.send_signal(signal.SIGTERM)
        for proxy in self.running:
            proxy.stop()
        self.directory.cleanup()

    def start(self, name, command, port, **others):
        """Starts a program and waits until it listens. What it says is kept in a file."""
        with open(self.work / f"{name}.{port}.out", "wb") as log:
            proxy = Proxy(name, command, port, log=log, **others)
        self.running.append(proxy)
        try:
            return proxy.wait()
        except SystemExit as why:
            raise SystemExit(f"{why}:\n{Path(log.name).read_text()}") from None

    def stop(self, proxy):
        self.running.remove(proxy)
        proxy.stop()

    def nginx(self, name, body, workers=1):
        """Its command, with a configuration of that name."""
        program = find("nginx", "apt install nginx-light")
        user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""
        config = self.work / f"{name}.conf"
        config.write_text(NGINX.format(work=self.work, name=name, body=body, user=user, workers=workers))
        return [program, "-c", str(config), "-p", str(self.work)]

    def count(self, what):
        """How many `calls` the auth service got, or `lookups` the sandbox API."""
        file = self.work / what
        return file.stat().st_size // 2 if file.exists() else 0

    def ask(self, port, method, path, headers, body=None):
        """One request; its status and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content
