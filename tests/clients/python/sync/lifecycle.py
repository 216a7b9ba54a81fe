"""A sandbox's life: create, look, list page by page, connect, extend, pause, resume, kill."""

import pathlib
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import options, raises, run

from e2b import Sandbox, SandboxNotFoundException, SandboxQuery, SandboxState


def walk(query, limit):
    """Every page of a listing."""
    pages = []
    paginator = Sandbox.list(query=query, limit=limit, **options())
    while paginator.has_next:
        pages.append(paginator.next_items())
        assert len(pages) < 20, "the listing has no end"
    return pages


def main():
    suite = uuid.uuid4().hex
    sent = {"suite": suite, "purpose": "a b&c=d/é"}
    box = Sandbox.create(timeout=120, metadata=sent, envs={"GREETING": "hello"}, **options())

    info = box.get_info()
    assert info.sandbox_id == box.sandbox_id
    assert info.metadata == sent, f"the metadata came back as {info.metadata}"
    assert info.state == SandboxState.RUNNING
    assert box.is_running() is True
    assert box.commands.run('echo "$GREETING"').stdout == "hello\n", "create's envs did not reach the command"

    made = {box.sandbox_id}
    for _ in range(4):
        made.add(Sandbox.create(timeout=120, metadata={"suite": suite}, **options()).sandbox_id)
    pages = walk(SandboxQuery(metadata={"suite": suite}), limit=2)
    listed = [entry.sandbox_id for page in pages for entry in page]
    assert all(len(page) <= 2 for page in pages), f"pages hold {[len(page) for page in pages]}"
    assert sorted(listed) == sorted(made), f"{len(made)} were made, listed are {listed}"
    mine = [entry for page in pages for entry in page if entry.sandbox_id == box.sandbox_id]
    assert mine[0].metadata == sent, f"the listing shows metadata {mine[0].metadata}"
    assert walk(SandboxQuery(metadata={"suite": "nobody's"}), limit=2) == [[]]

    again = Sandbox.connect(box.sandbox_id, timeout=300, **options())
    assert again.commands.run("echo connected").stdout == "connected\n"

    before = box.get_info().end_at
    box.set_timeout(1200)
    gained = (box.get_info().end_at - before).total_seconds()
    assert gained > 500, f"set_timeout moved the end by {gained} s"

    assert box.pause() is True
    assert box.get_info().state == SandboxState.PAUSED
    paused = walk(SandboxQuery(metadata={"suite": suite}, state=[SandboxState.PAUSED]), limit=10)
    assert [entry.sandbox_id for page in paused for entry in page] == [box.sandbox_id]
    assert box.beta_pause() is False, "a paused sandbox was paused again"
    # The object keeps the token that create gave it: connect's answer is not looked at by the instance method.
    box.connect(timeout=120)
    assert box.get_info().state == SandboxState.RUNNING
    assert box.commands.run("echo resumed").stdout == "resumed\n"

    assert isinstance(box.get_metrics(), list)

    assert box.kill() is True
    assert box.kill() is False
    assert box.is_running() is False
    raises(SandboxNotFoundException, box.get_info)
    raises(SandboxNotFoundException, lambda: Sandbox.connect(box.sandbox_id, **options()))
    made.remove(box.sandbox_id)
    assert [Sandbox.kill(name, **options()) for name in sorted(made)] == [True] * 4
    assert walk(SandboxQuery(metadata={"suite": suite}), limit=2) == [[]]


run(main)
