"""What every Python script here shares: where to connect, how to fail, how to fetch a plain URL.

A script is run by the interpreter of one virtual environment, so the generation of the SDK is the one installed there.
It takes everything from the environment:

  E2B_API_KEY                      a key that may create and operate sandboxes
  READ_KEY, WRONG_KEY              a key with scope read; one that nobody issued (`e2b_` and hex digits: SDKs up to
                                   2.45 refuse any other form before they send it)
  E2B_API_URL, E2B_SANDBOX_URL     plain addresses of the control and the data plane (read by the SDK itself), or else
  E2B_DOMAIN, PROXY_URL,           the domain mode. The SDK insists on https://api.DOMAIN and https://PORT-ID.DOMAIN,
  SSL_CERT_FILE                    and nothing resolves those names, so every request goes through PROXY_URL, a CONNECT
                                   proxy that knows one TLS server. SSL_CERT_FILE is the authority to trust.

Both generations take the proxy as `proxy=` on create, connect and list. It is remembered by the sandbox object, and
the control plane, envd's RPC, file transfers and the code interpreter all build their transports from it. Both
generations load SSL_CERT_FILE (pyqwest reads the system's authorities, and that variable overrides where they are).
"""

import asyncio
import faulthandler
import importlib.metadata
import inspect
import os
import ssl
import sys
import time
import traceback
import urllib.error
import urllib.request

VERSION = importlib.metadata.version("e2b")
NEW = tuple(int(part) for part in VERSION.split(".")[:2]) >= (2, 60)
DOMAIN = os.environ.get("E2B_DOMAIN")
PROXY = os.environ.get("PROXY_URL")

# How long a whole script may take before it is cut off with the stack of every thread.
DEADLINE_SECONDS = 90


def need(name: str) -> str:
    """A variable without which the script makes no sense."""
    value = os.environ.get(name)
    if not value:
        raise SystemExit(f"{name} is not set")
    return value


def options(**more) -> dict:
    """What every call that opens a connection is given."""
    need("E2B_API_KEY")
    if not DOMAIN:
        need("E2B_API_URL")
        need("E2B_SANDBOX_URL")
    base = {"request_timeout": 30}
    if PROXY:
        base["proxy"] = PROXY
    return {**base, **more}


def run(main) -> None:
    """Runs the script's `main`, prints `ok: …` or what went wrong, and sets the exit code."""
    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
    name = os.path.basename(sys.argv[0]).removesuffix(".py")
    flavour = "async" if inspect.iscoroutinefunction(main) else "sync"
    started = time.monotonic()
    try:
        asyncio.run(main()) if flavour == "async" else main()
    except Exception:
        traceback.print_exc()
        print(f"FAILED: {name}, Python {flavour}, e2b {VERSION}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)
    print(f"ok: {name}, Python {flavour}, e2b {VERSION}, {time.monotonic() - started:.1f} s", flush=True)
    # Threads that the SDK left waiting for a stream do not matter any more.
    os._exit(0)


def raises(kind, call, containing: str = ""):
    """Calls, and asserts that it raises `kind` with a message that holds `containing`."""
    try:
        value = call()
    except kind as error:
        assert containing in str(error), f"{error!r} does not say {containing!r}"
        return error
    raise AssertionError(f"expected {kind}, got {value!r}")


async def raises_async(kind, awaitable, containing: str = ""):
    """`raises` for something to be awaited."""
    try:
        value = await awaitable
    except kind as error:
        assert containing in str(error), f"{error!r} does not say {containing!r}"
        return error
    raise AssertionError(f"expected {kind}, got {value!r}")


class Clock:
    """Notes when each piece of output came, to tell a stream from a buffer that was emptied at the end."""

    def __init__(self):
        self.seen = []

    def note(self, text) -> None:
        self.seen.append((time.monotonic(), str(text)))

    def gap(self, first: str, second: str) -> float:
        """Seconds between the first output that holds `first` and the first that holds `second`."""
        return self._when(second) - self._when(first)

    def _when(self, word: str) -> float:
        for moment, text in self.seen:
            if word in text:
                return moment
        raise AssertionError(f"no output holds {word!r}: {[text for _, text in self.seen]}")


def fetch(url: str, method: str = "GET", body: bytes | None = None, content_type: str | None = None):
    """A plain HTTP request that knows nothing of E2B: (status, body). Refusals are returned, not raised."""
    handlers = [urllib.request.ProxyHandler({"http": PROXY, "https": PROXY} if PROXY else {})]
    handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    request = urllib.request.Request(url, data=body, method=method)
    if content_type:
        request.add_header("Content-Type", content_type)
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def multipart(data: bytes, filename: str) -> tuple[bytes, str]:
    """One file as a browser's form would send it: (body, content type)."""
    boundary = "----form-boundary-7d93b0"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def forged(token: str) -> str:
    """A token that was guessed: right in form, off by a few characters."""
    return token[:-4] + ("0000" if not token.endswith("0000") else "1111")


def with_token(cls, victim, token: str):
    """`victim`'s sandbox as someone would open it who holds only `token`: the public constructor."""
    from e2b.connection_config import ConnectionConfig

    assert token and token != victim._envd_access_token, "this is the sandbox's own token"
    headers = {
        "E2b-Sandbox-Id": victim.sandbox_id,
        "E2b-Sandbox-Port": str(ConnectionConfig.envd_port),
        "X-Access-Token": token,
    }
    return cls(
        sandbox_id=victim.sandbox_id,
        sandbox_domain=victim.sandbox_domain,
        envd_version=victim._envd_version,
        envd_access_token=token,
        traffic_access_token=token,
        connection_config=ConnectionConfig(extra_sandbox_headers=headers, **options()),
    )
