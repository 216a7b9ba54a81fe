"""A terminal: what is typed is echoed, it can be resized, and killed."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import options, raises, run

from e2b import CommandExitException, Sandbox
from e2b.sandbox.commands.command_handle import PtySize


def main():
    box = Sandbox.create(timeout=120, **options())
    try:
        terminal = box.pty.create(PtySize(rows=24, cols=80), timeout=60)
        assert terminal.pid > 0
        box.pty.resize(terminal.pid, PtySize(rows=40, cols=120))
        box.pty.send_stdin(terminal.pid, b"echo typed-here\n")
        shown = b""
        for _, _, output in terminal:
            shown += output or b""
            if b"typed-here" in shown:
                break
        assert b"typed-here" in shown, f"the terminal closed after {shown!r}"
        assert box.pty.kill(terminal.pid) is True
        # Killed is not yet gone: its end says so.
        raises(CommandExitException, terminal.wait)
        assert box.pty.kill(terminal.pid) is False
    finally:
        box.kill()


run(main)
