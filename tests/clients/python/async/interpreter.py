"""The code interpreter: streamed output, results, errors, contexts."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import Clock, options, raises_async, run

from e2b_code_interpreter import AsyncSandbox, NotFoundException

SLEEP = 0.8


async def main():
    box = await AsyncSandbox.create(timeout=120, **options())
    try:
        clock = Clock()
        code = f"import time\nprint('first')\ntime.sleep({SLEEP})\nprint('second')\n1 + 2"
        done = await box.run_code(code, on_stdout=lambda message: clock.note(message.line))
        assert "".join(done.logs.stdout) == "first\nsecond\n", done.logs
        assert done.text == "3", done
        assert done.error is None
        gap = clock.gap("first", "second")
        assert gap >= SLEEP / 2, f"the lines came {gap:.3f} s apart: the output was held back"

        broken = await box.run_code("1 / 0")
        assert broken.error is not None and broken.error.name == "ZeroDivisionError", broken

        context = await box.create_code_context(cwd="/tmp", language="python")
        assert context.id in [each.id for each in await box.list_code_contexts()]
        assert (await box.run_code("x = 41", context=context)).error is None
        assert (await box.run_code("x + 1", context=context)).text == "42"
        await box.restart_code_context(context)
        forgotten = await box.run_code("x", context=context)
        assert forgotten.error is not None and forgotten.error.name == "NameError", forgotten
        await box.remove_code_context(context)
        assert context.id not in [each.id for each in await box.list_code_contexts()]
        await raises_async(NotFoundException, box.restart_code_context(context))

        # The same object is still a whole sandbox.
        assert (await box.commands.run("echo hi")).stdout == "hi\n"
    finally:
        await box.kill()


run(main)
