"""64 MiB up and down by the SDK, compared by SHA-256."""

import hashlib
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import options, run

from e2b import AsyncSandbox

MIB = 1 << 20
SIZE = 64 * MIB


async def main():
    box = await AsyncSandbox.create(timeout=300, **options())
    try:
        data = random.Random(64).randbytes(MIB) * (SIZE // MIB)
        expected = hashlib.sha256(data).hexdigest()
        await box.files.write("/home/user/large", data, request_timeout=60)
        assert (await box.files.get_info("/home/user/large")).size == SIZE
        digest, size = hashlib.sha256(), 0
        async for piece in await box.files.read("/home/user/large", format="stream", request_timeout=60):
            digest.update(piece)
            size += len(piece)
        assert (size, digest.hexdigest()) == (SIZE, expected), f"{size} bytes came back"
    finally:
        await box.kill()


run(main)
