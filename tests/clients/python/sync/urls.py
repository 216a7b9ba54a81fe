"""Signed file addresses, made by the SDK and fetched by a client that has nothing else. Needs the domain mode: an
address made under E2B_SANDBOX_URL names no sandbox."""

import pathlib
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from harness import fetch, multipart, need, options, run

from e2b import Sandbox

PATH = "/home/user/a b+c é.txt"
OTHER = "/home/user/other.txt"


def changed(url: str, **replace) -> str:
    """The same address with some of its query exchanged."""
    parts = urllib.parse.urlsplit(url)
    query = {**dict(urllib.parse.parse_qsl(parts.query)), **replace}
    return parts._replace(query=urllib.parse.urlencode(query)).geturl()


def main():
    need("E2B_DOMAIN")
    box = Sandbox.create(timeout=120, **options())
    neighbour = Sandbox.create(timeout=120, **options())
    try:
        for each in (box, neighbour):
            each.files.write(PATH, f"of {each.sandbox_id}")
            each.files.write(OTHER, "other")
        mine = f"of {box.sandbox_id}".encode()

        for url in (
            box.download_url(PATH),
            box.download_url(PATH, user="root"),
            box.download_url(PATH, use_signature_expiration=60),
        ):
            assert box._envd_access_token not in url, "the address shows the token"
            status, body = fetch(url)
            assert (status, body) == (200, mine), (status, body)

        for count, url in enumerate(
            (box.upload_url(OTHER), box.upload_url(OTHER, use_signature_expiration=60)), start=1
        ):
            text = f"uploaded {count}"
            body, kind = multipart(text.encode(), "other.txt")
            status, answer = fetch(url, "POST", body, kind)
            assert status == 200, (status, answer)
            assert box.files.read(OTHER) == text

        good = box.download_url(PATH, use_signature_expiration=60)
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(good).query))
        signature, until = query["signature"], int(query["signature_expiration"])
        flipped = signature[:-1] + ("A" if signature[-1] != "A" else "B")
        for why, url in {
            "another signature": changed(good, signature=flipped),
            "no signature to speak of": changed(good, signature=""),
            "another path": changed(good, path=OTHER),
            "a later end": changed(good, signature_expiration=str(until + 3600)),
            "past its end": box.download_url(PATH, use_signature_expiration=-60),
            "made for uploads": box.upload_url(PATH),
        }.items():
            status, body = fetch(url)
            assert status == 401, f"{why}: {status} {body!r}"
            assert mine not in body, why
        body, kind = multipart(b"overwritten", "a.txt")
        status, answer = fetch(good, "POST", body, kind)
        assert status == 401, f"a download address was good for an upload: {status} {answer!r}"

        crossed = good.replace(box.sandbox_id, neighbour.sandbox_id)
        status, body = fetch(crossed)
        assert status in (401, 404), f"another sandbox's file was served: {status} {body!r}"
        assert neighbour.sandbox_id.encode() not in body or b"of " not in body, body
        assert box.files.read(PATH) == mine.decode(), "the file was changed"
    finally:
        box.kill()
        neighbour.kill()


run(main)
