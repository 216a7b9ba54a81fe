"""Two tenants, each listing page by page: all of its own, nothing twice, nothing of the other."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import need, options, run

from e2b import Sandbox, SandboxQuery


def walk(key, limit, query=None):
    """Every entry of a listing."""
    paginator = Sandbox.list(query=query, limit=limit, **options(api_key=key))
    listed = []
    for _ in range(200):
        if not paginator.has_next:
            return listed
        page = paginator.next_items()
        assert len(page) <= limit
        listed.extend(page)
    raise AssertionError("the listing has no end")


def main():
    count = int(need("COUNT"))
    keys = {"ours": os.environ["E2B_API_KEY"], "theirs": need("OTHER_KEY")}
    for limit in (7, 100):
        for whose, key in keys.items():
            listed = walk(key, limit)
            ids = {entry.sandbox_id for entry in listed}
            assert len(listed) == len(ids) == count, f"{whose}: {len(listed)} are listed, {len(ids)} differ"
            assert all(entry.metadata == {"of": whose} for entry in listed), f"{whose}: {listed}"
    filtered = walk(keys["ours"], 50, SandboxQuery(metadata={"of": "theirs"}))
    assert all(entry.metadata == {"of": "ours"} for entry in filtered), f"filtered: {filtered}"
    assert walk(keys["ours"], 50, SandboxQuery(metadata={"coppice_tenant_id": "team-b"})) == []


run(main)
