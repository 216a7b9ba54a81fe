"""Commands: streamed output, exit codes, background processes, standard input, environment, directory, user."""

import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import NEW, Clock, options, raises, run

from e2b import CommandExitException, NotFoundException, Sandbox

SLEEP = 0.8


def streams(box):
    """Two lines with a sleep between them must not arrive together."""
    clock = Clock()
    result = box.commands.run(
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


def background(box):
    """A process that outlives the call which started it."""
    handle = box.commands.run("sleep 60", background=True)
    assert handle.pid in [process.pid for process in box.commands.list()]
    joined = box.commands.connect(handle.pid)
    assert joined.pid == handle.pid
    assert box.commands.kill(handle.pid) is True
    killed = raises(CommandExitException, handle.wait)
    assert killed.exit_code != 0
    assert handle.pid not in [process.pid for process in box.commands.list()]
    assert box.commands.kill(handle.pid) is False


def stdin(box):
    """What is typed comes back from `cat`."""
    handle = box.commands.run("cat", background=True, stdin=True)
    box.commands.send_stdin(handle.pid, "typed é\n")
    box.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == "typed é\n"


def stream_input(box):
    """The second chunk is sent only when the first has come back, so a request body held back anywhere never ends."""
    handle = box.commands.run("cat", background=True, stdin=True)
    came_back = threading.Event()
    output = []

    def listen():
        for out, _, _ in handle:
            output.append(out)
            came_back.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()

    def chunks():
        yield "one\n"
        assert came_back.wait(15), "the first chunk of the stream never arrived"
        yield b"two\n"

    box.commands.stream_input(handle.pid, chunks())
    box.commands.close_stdin(handle.pid)
    listener.join(15)
    assert "".join(output) == "one\ntwo\n", output


def main():
    box = Sandbox.create(timeout=120, **options())
    try:
        streams(box)

        failed = raises(CommandExitException, lambda: box.commands.run("echo bad >&2; exit 7"))
        assert (failed.exit_code, failed.stderr) == (7, "bad\n"), failed

        background(box)
        stdin(box)
        if NEW:
            stream_input(box)

        assert box.commands.run('echo "$COLOUR"', envs={"COLOUR": "dark red"}).stdout == "dark red\n"
        assert box.commands.run("pwd", cwd="/tmp").stdout == "/tmp\n"
        # user= travels as Basic authorization, which must reach envd untouched.
        assert box.commands.run("echo ok", user="root").stdout == "ok\n"
        raises(NotFoundException, lambda: box.commands.connect(999_999))
    finally:
        box.kill()


run(main)
