"""Files: write, read, list, rename, remove, directories, watching, several at once, bytes both ways."""

import hashlib
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import options, raises, run

from e2b import FileType, NotFoundException, Sandbox
from e2b.sandbox.filesystem.filesystem import WriteEntry

HOME = "/home/user/files"


def watch(box):
    """The synchronous SDK polls a watcher that lives in the sandbox."""
    box.files.make_dir(f"{HOME}/watched")
    watcher = box.files.watch_dir(f"{HOME}/watched")
    box.files.write(f"{HOME}/watched/new.txt", "x")
    names = []
    give_up = time.monotonic() + 10
    while "new.txt" not in names:
        assert time.monotonic() < give_up, f"no event for new.txt, only {names}"
        names += [event.name for event in watcher.get_new_events()]
    watcher.stop()


def blob(box):
    """5 MB there and back, whole and in pieces."""
    data = random.Random(7).randbytes(5_000_000)
    box.files.write(f"{HOME}/blob", data)
    assert box.files.get_info(f"{HOME}/blob").size == len(data)
    back = box.files.read(f"{HOME}/blob", format="bytes")
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), f"{len(back)} other bytes came back"
    digest, count = hashlib.sha256(), 0
    for piece in box.files.read(f"{HOME}/blob", format="stream"):
        digest.update(piece)
        count += 1
    assert digest.digest() == hashlib.sha256(data).digest()
    assert count > 1, "the stream came in one piece"


def main():
    box = Sandbox.create(timeout=120, **options())
    try:
        assert box.files.make_dir(HOME) is True
        assert box.files.make_dir(HOME) is False

        name = f"{HOME}/a b+c&d=é.txt"
        written = box.files.write(name, "text é\n")
        assert written.path == name, written
        assert box.files.read(name) == "text é\n"
        assert box.files.exists(name) is True
        assert box.files.exists(f"{HOME}/absent") is False
        info = box.files.get_info(name)
        assert (info.name, info.size, info.type) == ("a b+c&d=é.txt", 8, FileType.FILE), info
        assert box.files.read(name, user="root") == "text é\n"

        several = box.files.write_files(
            [WriteEntry(path=f"{HOME}/one", data="1"), WriteEntry(path=f"{HOME}/two", data=b"22")]
        )
        assert sorted(entry.path for entry in several) == [f"{HOME}/one", f"{HOME}/two"]
        assert box.files.read(f"{HOME}/two") == "22"
        entries = {entry.name: entry.type for entry in box.files.list(HOME)}
        assert entries == {"a b+c&d=é.txt": FileType.FILE, "one": FileType.FILE, "two": FileType.FILE}, entries

        moved = box.files.rename(f"{HOME}/one", f"{HOME}/three")
        assert moved.path == f"{HOME}/three"
        assert box.files.exists(f"{HOME}/one") is False
        box.files.remove(f"{HOME}/three")
        assert box.files.exists(f"{HOME}/three") is False
        raises(NotFoundException, lambda: box.files.read(f"{HOME}/three"))
        raises(NotFoundException, lambda: box.files.list(f"{HOME}/absent"))

        watch(box)
        blob(box)
    finally:
        box.kill()


run(main)
