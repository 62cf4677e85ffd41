"""A writer that is killed leaves nothing visible, and what it left aside is swept, once it's old."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.stores.local import STALE_AFTER, LocalOptions, LocalStore

KEY = Key("run/model/weights.bin")
PROJECT = Path(__file__).parents[2]

WRITER = """
import asyncio, sys
from pathlib import Path
from shoso.core.keys import Key
from shoso.core.streams import CHUNK, BytesSource, StreamSource
from shoso.stores.local import LocalOptions, LocalStore

async def half():
    for _ in range(8):
        yield b"." * CHUNK
    print("half", flush=True)
    await asyncio.Event().wait()

async def main(verb, root):
    store = LocalStore(LocalOptions(Path(root)))
    if verb == "write":
        await store.write(Key("run/model/weights.bin"), StreamSource(half()))
    ref = await store.uploads.begin(Key("run/model/weights.bin"))
    print(ref.id, flush=True)
    await store.uploads.put(ref, 1, BytesSource(b"first"))
    await store.uploads.put(ref, 2, StreamSource(half()))

asyncio.run(main(*sys.argv[1:]))
"""


def _killed(verb: str, root: Path) -> list[str]:
    """What a writer said before it was killed in the middle of a body."""
    command = [sys.executable, "-c", WRITER, verb, str(root)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as writer:
        said = [writer.stdout.readline().strip()]
        while said[-1] != "half":
            said.append(writer.stdout.readline().strip())
        writer.send_signal(signal.SIGKILL)
    return said[:-1]


def _drafts(root: Path) -> list[Path]:
    return list((root / ".shoso/drafts").iterdir())


def _age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


async def _reopened(root: Path) -> LocalStore:
    return LocalStore(LocalOptions(root))


@pytest.mark.parametrize("there", [False, True], ids=["new", "over an old one"])
async def test_a_killed_write_is_not_seen(local, root, there):
    if there:
        await local.write(KEY, BytesSource(b"old"))
    _killed("write", root)
    if there:
        assert await read_bytes(local, KEY) == b"old"
        assert [entry.key for entry in await expect.everything(local)] == [KEY]
    else:
        assert await expect.shown(local) == []
    await local.write(KEY, BytesSource(b"new"))
    assert await read_bytes(local, KEY) == b"new"


async def test_what_a_killed_writer_left_is_swept_once_it_is_old(local, root):
    _killed("write", root)
    [draft] = _drafts(root)
    _age(draft, STALE_AFTER - 60)
    await (await _reopened(root)).close()
    assert _drafts(root) == [draft]
    _age(draft, STALE_AFTER + 60)
    await (await _reopened(root)).close()
    assert _drafts(root) == []


async def test_a_living_writers_draft_is_never_swept(local, root):
    source = Paused(b"." * 6 * CHUNK, pause=4 * CHUNK)
    writing = asyncio.ensure_future(local.write(KEY, source))
    await source.waiting.wait()
    [draft] = _drafts(root)
    _age(draft, STALE_AFTER * 100)
    await (await _reopened(root)).close()
    assert _drafts(root) == [draft]
    source.go.set()
    await writing
    assert (await local.stat(KEY)).size == 6 * CHUNK
    assert _drafts(root) == []


async def test_a_killed_upload_goes_on_where_it_stopped(local, root):
    [name] = _killed("upload", root)
    [ref] = [ref async for ref in local.uploads.pending(ROOT)]
    assert (ref.id, ref.key) == (name, KEY)
    parts = await local.uploads.parts(ref)
    assert [(part.number, part.size) for part in parts] == [(1, 5)]
    parts.append(await local.uploads.put(ref, 2, BytesSource(b" second")))
    await local.uploads.finish(ref, parts)
    assert await read_bytes(local, KEY) == b"first second"


async def test_an_upload_killed_while_finishing_can_be_finished(local, root, monkeypatch):
    """The object stands, its parts are half gone: a repeated finish says that it's done."""
    ref = await local.uploads.begin(KEY)
    parts = [await local.uploads.put(ref, number, BytesSource(b"part")) for number in (1, 2, 3)]

    class Killed(BaseException):
        pass

    def killed(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(local.tree, "remove", killed)
        with pytest.raises(Killed):
            await local.uploads.finish(ref, parts)
    other = await _reopened(root)
    assert (await other.uploads.finish(ref, parts)).size == 12
    await other.close()


async def test_a_finished_upload_leaves_nothing_for_ever(local, root):
    ref = await local.uploads.begin(KEY)
    part = await local.uploads.put(ref, 1, BytesSource(b"part"))
    await local.uploads.put(ref, 2, BytesSource(b"never named"))
    await local.uploads.finish(ref, [part])
    left = list((root / ".shoso/uploads").glob("*/*"))
    assert sum(path.stat().st_size for path in left) < 1000
    for path in left:
        _age(path, STALE_AFTER * 1000)
    await (await _reopened(root)).close()
    assert list((root / ".shoso").glob("uploads/*")) == []
    assert await read_bytes(local, KEY) == b"part"


async def test_an_upload_under_way_is_never_swept(local, root):
    ref = await local.uploads.begin(KEY)
    part = await local.uploads.put(ref, 1, BytesSource(b"part"))
    for path in (root / ".shoso/uploads").glob("*/*"):
        _age(path, STALE_AFTER * 1000)
    await (await _reopened(root)).close()
    assert await local.uploads.parts(ref) == [part]
