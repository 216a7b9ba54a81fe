"""Files: write, read, list, rename, remove, directories, watching, several at once, bytes both ways."""

import asyncio
import hashlib
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import options, raises_async, run

from e2b import AsyncSandbox, FileType, NotFoundException
from e2b.sandbox.filesystem.filesystem import WriteEntry

HOME = "/home/user/files"


async def watch(box):
    """The asynchronous SDK holds a stream open, and events come while it is."""
    await box.files.make_dir(f"{HOME}/watched")
    seen = asyncio.Event()
    watcher = await box.files.watch_dir(
        f"{HOME}/watched", on_event=lambda event: seen.set() if event.name == "new.txt" else None
    )
    await box.files.write(f"{HOME}/watched/new.txt", "x")
    try:
        await asyncio.wait_for(seen.wait(), 10)
    except TimeoutError as late:
        raise AssertionError("no event for new.txt in 10 s") from late
    await watcher.stop()


async def blob(box):
    """5 MB there and back, whole and in pieces."""
    data = random.Random(7).randbytes(5_000_000)
    await box.files.write(f"{HOME}/blob", data)
    assert (await box.files.get_info(f"{HOME}/blob")).size == len(data)
    back = await box.files.read(f"{HOME}/blob", format="bytes")
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), f"{len(back)} other bytes came back"
    digest, count = hashlib.sha256(), 0
    async for piece in await box.files.read(f"{HOME}/blob", format="stream"):
        digest.update(piece)
        count += 1
    assert digest.digest() == hashlib.sha256(data).digest()
    assert count > 1, "the stream came in one piece"


async def main():
    box = await AsyncSandbox.create(timeout=120, **options())
    try:
        assert await box.files.make_dir(HOME) is True
        assert await box.files.make_dir(HOME) is False

        name = f"{HOME}/a b+c&d=é.txt"
        written = await box.files.write(name, "text é\n")
        assert written.path == name, written
        assert await box.files.read(name) == "text é\n"
        assert await box.files.exists(name) is True
        assert await box.files.exists(f"{HOME}/absent") is False
        info = await box.files.get_info(name)
        assert (info.name, info.size, info.type) == ("a b+c&d=é.txt", 8, FileType.FILE), info
        assert await box.files.read(name, user="root") == "text é\n"

        several = await box.files.write_files(
            [WriteEntry(path=f"{HOME}/one", data="1"), WriteEntry(path=f"{HOME}/two", data=b"22")]
        )
        assert sorted(entry.path for entry in several) == [f"{HOME}/one", f"{HOME}/two"]
        assert await box.files.read(f"{HOME}/two") == "22"
        entries = {entry.name: entry.type for entry in await box.files.list(HOME)}
        assert entries == {"a b+c&d=é.txt": FileType.FILE, "one": FileType.FILE, "two": FileType.FILE}, entries

        moved = await box.files.rename(f"{HOME}/one", f"{HOME}/three")
        assert moved.path == f"{HOME}/three"
        assert await box.files.exists(f"{HOME}/one") is False
        await box.files.remove(f"{HOME}/three")
        assert await box.files.exists(f"{HOME}/three") is False
        await raises_async(NotFoundException, box.files.read(f"{HOME}/three"))
        await raises_async(NotFoundException, box.files.list(f"{HOME}/absent"))

        await watch(box)
        await blob(box)
    finally:
        await box.kill()


run(main)
