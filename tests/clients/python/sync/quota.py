"""CALLS creates at once where LIMIT sandboxes are allowed: the rest raise the class that STATUS (403 or 429) stands for."""

import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import need, options, run

from e2b import RateLimitException, Sandbox, SandboxException


def create(_):
    try:
        return Sandbox.create(timeout=120, **options())
    except SandboxException as error:
        return error


def main():
    calls, limit, status = (int(need(name)) for name in ("CALLS", "LIMIT", "STATUS"))
    with ThreadPoolExecutor(calls) as pool:
        results = list(pool.map(create, range(calls)))
    boxes = [result for result in results if isinstance(result, Sandbox)]
    errors = [result for result in results if not isinstance(result, Sandbox)]
    assert len(boxes) == limit, f"{len(boxes)} were admitted: {errors}"
    for error in errors:
        assert isinstance(error, RateLimitException) == (status == 429), repr(error)
        assert f"has reached its limit of {limit} active sandboxes" in str(error), repr(error)
        assert status == 429 or "403" in str(error), repr(error)
    for box in boxes:
        assert box.kill()


run(main)
