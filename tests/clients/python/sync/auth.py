"""Who may do what: a read key, a key that nobody issued, and a sandbox's token used on another sandbox."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import forged, need, options, raises, run, with_token

from e2b import AuthenticationException, Sandbox, SandboxException

LACKS_EXEC = "API key lacks required scope: exec"


def main():
    read = options(api_key=need("READ_KEY"))
    wrong = options(api_key=need("WRONG_KEY"))
    box = Sandbox.create(timeout=120, **options())
    neighbour = Sandbox.create(timeout=120, **options())
    try:
        # A read key sees, and can change nothing.
        assert box.sandbox_id in [entry.sandbox_id for entry in Sandbox.list(limit=100, **read).next_items()]
        info = Sandbox.get_info(box.sandbox_id, **read)
        assert info.sandbox_id == box.sandbox_id
        token = getattr(info, "_envd_access_token", None) or getattr(info, "envd_access_token", None)
        assert not token, "a read key was told the sandbox's token"
        for what, call in {
            "create": lambda: Sandbox.create(**read),
            "connect": lambda: Sandbox.connect(box.sandbox_id, **read),
            "kill": lambda: Sandbox.kill(box.sandbox_id, **read),
            "pause": lambda: Sandbox.pause(box.sandbox_id, **read),
            "set_timeout": lambda: Sandbox.set_timeout(box.sandbox_id, 60, **read),
        }.items():
            error = raises(SandboxException, call, LACKS_EXEC)
            assert "403" in str(error), f"{what}: {error}"

        # A key that nobody issued is told so, whatever it asks for.
        raises(AuthenticationException, lambda: Sandbox.list(**wrong).next_items())
        raises(AuthenticationException, lambda: Sandbox.create(**wrong))
        raises(AuthenticationException, lambda: Sandbox.kill(box.sandbox_id, **wrong))

        # One sandbox's token does not open another, and does not even say that it exists.
        box.files.write("/home/user/secret.txt", "secret")
        intruder = with_token(Sandbox, box, neighbour._envd_access_token)
        for call in (
            lambda: intruder.commands.run("echo got in"),
            lambda: intruder.commands.list(),
            lambda: intruder.files.read("/home/user/secret.txt"),
            lambda: intruder.files.write("/home/user/secret.txt", "overwritten"),
            lambda: intruder.files.list("/home/user"),
        ):
            raises(SandboxException, call)
        # The refusal comes while the body is still being sent, and must not be lost to a connection that is cut off.
        upload = "overwritten" * 100_000
        for _ in range(5):
            raises(SandboxException, lambda: intruder.files.write("/home/user/secret.txt", upload))
        assert box.files.read("/home/user/secret.txt") == "secret"

        # A token that nobody made: the streamed command raises the same class as any other call, with the reason.
        stranger = with_token(Sandbox, box, forged(box._envd_access_token))
        streamed = raises(AuthenticationException, lambda: stranger.commands.run("echo got in"))
        unary = raises(AuthenticationException, lambda: stranger.commands.list())
        raises(AuthenticationException, lambda: stranger.files.read("/home/user/secret.txt"))
        assert "sandbox token" in str(streamed), f"the gateway's reason is lost: {streamed}"
        assert "sandbox token" in str(unary), f"the gateway's reason is lost: {unary}"
    finally:
        box.kill()
        neighbour.kill()


run(main)
