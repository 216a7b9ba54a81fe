"""A sandbox's life: create, look, list page by page, connect, extend, pause, resume, kill."""

import pathlib
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import options, raises_async, run

from e2b import AsyncSandbox, SandboxNotFoundException, SandboxQuery, SandboxState


async def walk(query, limit):
    """Every page of a listing."""
    pages = []
    paginator = AsyncSandbox.list(query=query, limit=limit, **options())
    while paginator.has_next:
        pages.append(await paginator.next_items())
        assert len(pages) < 20, "the listing has no end"
    return pages


async def main():
    suite = uuid.uuid4().hex
    sent = {"suite": suite, "purpose": "a b&c=d/é"}
    box = await AsyncSandbox.create(timeout=120, metadata=sent, envs={"GREETING": "hello"}, **options())

    info = await box.get_info()
    assert info.sandbox_id == box.sandbox_id
    assert info.metadata == sent, f"the metadata came back as {info.metadata}"
    assert info.state == SandboxState.RUNNING
    assert await box.is_running() is True
    assert (await box.commands.run('echo "$GREETING"')).stdout == "hello\n", "create's envs did not reach the command"

    made = {box.sandbox_id}
    for _ in range(4):
        made.add((await AsyncSandbox.create(timeout=120, metadata={"suite": suite}, **options())).sandbox_id)
    pages = await walk(SandboxQuery(metadata={"suite": suite}), limit=2)
    listed = [entry.sandbox_id for page in pages for entry in page]
    assert all(len(page) <= 2 for page in pages), f"pages hold {[len(page) for page in pages]}"
    assert sorted(listed) == sorted(made), f"{len(made)} were made, listed are {listed}"
    mine = [entry for page in pages for entry in page if entry.sandbox_id == box.sandbox_id]
    assert mine[0].metadata == sent, f"the listing shows metadata {mine[0].metadata}"
    assert await walk(SandboxQuery(metadata={"suite": "nobody's"}), limit=2) == [[]]

    again = await AsyncSandbox.connect(box.sandbox_id, timeout=300, **options())
    assert (await again.commands.run("echo connected")).stdout == "connected\n"

    before = (await box.get_info()).end_at
    await box.set_timeout(1200)
    gained = ((await box.get_info()).end_at - before).total_seconds()
    assert gained > 500, f"set_timeout moved the end by {gained} s"

    assert await box.pause() is True
    assert (await box.get_info()).state == SandboxState.PAUSED
    paused = await walk(SandboxQuery(metadata={"suite": suite}, state=[SandboxState.PAUSED]), limit=10)
    assert [entry.sandbox_id for page in paused for entry in page] == [box.sandbox_id]
    assert await box.beta_pause() is False, "a paused sandbox was paused again"
    # The object keeps the token that create gave it: connect's answer is not looked at by the instance method.
    await box.connect(timeout=120)
    assert (await box.get_info()).state == SandboxState.RUNNING
    assert (await box.commands.run("echo resumed")).stdout == "resumed\n"

    assert isinstance(await box.get_metrics(), list)

    assert await box.kill() is True
    assert await box.kill() is False
    assert await box.is_running() is False
    await raises_async(SandboxNotFoundException, box.get_info())
    await raises_async(SandboxNotFoundException, AsyncSandbox.connect(box.sandbox_id, **options()))
    made.remove(box.sandbox_id)
    assert [await AsyncSandbox.kill(name, **options()) for name in sorted(made)] == [True] * 4
    assert await walk(SandboxQuery(metadata={"suite": suite}), limit=2) == [[]]


run(main)
