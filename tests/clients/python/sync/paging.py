"""A long list, page by page: exactly the sandboxes that EXPECTED names, each once, and nothing of anybody else."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import need, options, run

from e2b import Sandbox, SandboxQuery, SandboxState


def walk(limit, query=None):
    paginator = Sandbox.list(query=query, limit=limit, **options())
    listed = []
    for _ in range(1000):
        if not paginator.has_next:
            return listed
        listed.extend(paginator.next_items())
    raise AssertionError("the listing has no end")


def main():
    expected = need("EXPECTED").split(",")
    for query in (None, SandboxQuery(state=[SandboxState.RUNNING])):
        listed = walk(100, query)
        assert sorted(entry.sandbox_id for entry in listed) == sorted(expected), f"{len(listed)} are listed"
        assert all(entry.metadata == {"of": "team-a"} for entry in listed), f"{listed}"


run(main)
