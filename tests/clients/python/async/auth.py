"""Who may do what: a read key, a key that nobody issued, and a sandbox's token used on another sandbox."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import forged, need, options, raises_async, run, with_token

from e2b import AsyncSandbox, AuthenticationException, SandboxException

LACKS_EXEC = "API key lacks required scope: exec"


async def main():
    read = options(api_key=need("READ_KEY"))
    wrong = options(api_key=need("WRONG_KEY"))
    box = await AsyncSandbox.create(timeout=120, **options())
    neighbour = await AsyncSandbox.create(timeout=120, **options())
    try:
        # A read key sees, and can change nothing.
        assert box.sandbox_id in [entry.sandbox_id for entry in await AsyncSandbox.list(limit=100, **read).next_items()]
        info = await AsyncSandbox.get_info(box.sandbox_id, **read)
        assert info.sandbox_id == box.sandbox_id
        token = getattr(info, "_envd_access_token", None) or getattr(info, "envd_access_token", None)
        assert not token, "a read key was told the sandbox's token"
        for what, awaitable in {
            "create": AsyncSandbox.create(**read),
            "connect": AsyncSandbox.connect(box.sandbox_id, **read),
            "kill": AsyncSandbox.kill(box.sandbox_id, **read),
            "pause": AsyncSandbox.pause(box.sandbox_id, **read),
            "set_timeout": AsyncSandbox.set_timeout(box.sandbox_id, 60, **read),
        }.items():
            error = await raises_async(SandboxException, awaitable, LACKS_EXEC)
            assert "403" in str(error), f"{what}: {error}"

        # A key that nobody issued is told so, whatever it asks for.
        await raises_async(AuthenticationException, AsyncSandbox.list(**wrong).next_items())
        await raises_async(AuthenticationException, AsyncSandbox.create(**wrong))
        await raises_async(AuthenticationException, AsyncSandbox.kill(box.sandbox_id, **wrong))

        # One sandbox's token does not open another, and does not even say that it exists.
        await box.files.write("/home/user/secret.txt", "secret")
        intruder = with_token(AsyncSandbox, box, neighbour._envd_access_token)
        for awaitable in (
            intruder.commands.run("echo got in"),
            intruder.commands.list(),
            intruder.files.read("/home/user/secret.txt"),
            intruder.files.write("/home/user/secret.txt", "overwritten"),
            intruder.files.list("/home/user"),
        ):
            await raises_async(SandboxException, awaitable)
        # The refusal comes while the body is still being sent, and must not be lost to a connection that is cut off.
        upload = "overwritten" * 100_000
        for _ in range(5):
            await raises_async(SandboxException, intruder.files.write("/home/user/secret.txt", upload))
        assert await box.files.read("/home/user/secret.txt") == "secret"

        # A token that nobody made: the streamed command raises the same class as any other call, with the reason.
        stranger = with_token(AsyncSandbox, box, forged(box._envd_access_token))
        streamed = await raises_async(AuthenticationException, stranger.commands.run("echo got in"))
        unary = await raises_async(AuthenticationException, stranger.commands.list())
        await raises_async(AuthenticationException, stranger.files.read("/home/user/secret.txt"))
        assert "sandbox token" in str(streamed), f"the gateway's reason is lost: {streamed}"
        assert "sandbox token" in str(unary), f"the gateway's reason is lost: {unary}"
    finally:
        await box.kill()
        await neighbour.kill()


run(main)
