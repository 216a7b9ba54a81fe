"""A terminal: what is typed is echoed, it can be resized, and killed."""

import asyncio
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import options, raises_async, run

from e2b import AsyncSandbox, CommandExitException
from e2b.sandbox.commands.command_handle import PtySize


async def main():
    box = await AsyncSandbox.create(timeout=120, **options())
    try:
        shown = bytearray()
        echoed = asyncio.Event()

        def show(output):
            shown.extend(output)
            if b"typed-here" in shown:
                echoed.set()

        terminal = await box.pty.create(PtySize(rows=24, cols=80), on_data=show, timeout=60)
        assert terminal.pid > 0
        await box.pty.resize(terminal.pid, PtySize(rows=40, cols=120))
        await box.pty.send_stdin(terminal.pid, b"echo typed-here\n")
        try:
            await asyncio.wait_for(echoed.wait(), 15)
        except TimeoutError as late:
            raise AssertionError(f"what was typed did not come back, only {bytes(shown)!r}") from late
        assert await box.pty.kill(terminal.pid) is True
        # Killed is not yet gone: its end says so.
        await raises_async(CommandExitException, terminal.wait())
        assert await box.pty.kill(terminal.pid) is False
    finally:
        await box.kill()


run(main)
