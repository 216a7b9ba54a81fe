"""Commands: streamed output, exit codes, background processes, standard input, environment, directory, user."""

import asyncio
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import NEW, Clock, options, raises_async, run

from e2b import AsyncSandbox, CommandExitException, NotFoundException

SLEEP = 0.8


async def streams(box):
    """Two lines with a sleep between them must not arrive together."""
    clock = Clock()
    result = await box.commands.run(
        f"echo first; sleep {SLEEP}; echo second; sleep {SLEEP}; echo third >&2",
        on_stdout=clock.note,
        on_stderr=clock.note,
    )
    assert result.exit_code == 0
    assert result.stdout == "first\nsecond\n", repr(result.stdout)
    assert result.stderr == "third\n", repr(result.stderr)
    for one, two in (("first", "second"), ("second", "third")):
        gap = clock.gap(one, two)
        assert gap >= SLEEP / 2, f"{one} and {two} came {gap:.3f} s apart: the output was held back"


async def background(box):
    """A process that outlives the call which started it."""
    handle = await box.commands.run("sleep 60", background=True)
    assert handle.pid in [process.pid for process in await box.commands.list()]
    joined = await box.commands.connect(handle.pid)
    assert joined.pid == handle.pid
    assert await box.commands.kill(handle.pid) is True
    for each in (handle, joined):
        killed = await raises_async(CommandExitException, each.wait())
        assert killed.exit_code != 0
    assert handle.pid not in [process.pid for process in await box.commands.list()]
    assert await box.commands.kill(handle.pid) is False


async def stdin(box):
    """What is typed comes back from `cat`, while it is still running."""
    came_back = asyncio.Event()
    handle = await box.commands.run("cat", background=True, stdin=True, on_stdout=lambda _: came_back.set())
    await box.commands.send_stdin(handle.pid, "typed é\n")
    await asyncio.wait_for(came_back.wait(), 15)
    await box.commands.close_stdin(handle.pid)
    assert (await handle.wait()).stdout == "typed é\n"


async def stream_input(box):
    """The second chunk is sent only when the first has come back, so a request body held back anywhere never ends."""
    came_back = asyncio.Event()
    handle = await box.commands.run("cat", background=True, stdin=True, on_stdout=lambda _: came_back.set())

    typing = box.commands.stream_input(handle.pid)
    await typing.send("one\n")
    await asyncio.wait_for(came_back.wait(), 15)
    await typing.send(b"two\n")
    await typing.close()
    await box.commands.close_stdin(handle.pid)
    assert (await handle.wait()).stdout == "one\ntwo\n"


async def many(box):
    """Thirty commands at once, each with its own answer."""
    results = await asyncio.gather(*(box.commands.run(f"echo number {count}") for count in range(30)))
    assert [result.stdout for result in results] == [f"number {count}\n" for count in range(30)]


async def main():
    box = await AsyncSandbox.create(timeout=120, **options())
    try:
        await streams(box)

        failed = await raises_async(CommandExitException, box.commands.run("echo bad >&2; exit 7"))
        assert (failed.exit_code, failed.stderr) == (7, "bad\n"), failed

        await background(box)
        await stdin(box)
        if NEW:
            await stream_input(box)
        await many(box)

        assert (await box.commands.run('echo "$COLOUR"', envs={"COLOUR": "dark red"})).stdout == "dark red\n"
        assert (await box.commands.run("pwd", cwd="/tmp")).stdout == "/tmp\n"
        # user= travels as Basic authorization, which must reach envd untouched.
        assert (await box.commands.run("echo ok", user="root")).stdout == "ok\n"
        await raises_async(NotFoundException, box.commands.connect(999_999))
    finally:
        await box.kill()


run(main)
