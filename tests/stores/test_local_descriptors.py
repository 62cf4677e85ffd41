"""No path through the store, however it ends, leaves a file open or a thread at work on another's file."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from pathlib import Path

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused, SourceBroke, breaking, stream
from tests.stores.held import Held

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import CREATE, From, FromTo, IfMatch, UploadRef
from shoso.errors import Kind, StoreError
from shoso.stores.disk.drafts import Draft
from shoso.stores.local import LocalOptions, LocalStore
from shoso.stores.local.files import Aside, seal

KEY = Key("folder/object")
LARGE = b"." * (3 * CHUNK + 1)


async def _read_half(store) -> None:
    async with await store.read(KEY) as reading:
        await anext(reading.body)


async def _write_cancelled(store) -> None:
    source = Paused(LARGE, 3 * CHUNK)
    writing = asyncio.ensure_future(store.write(KEY, source))
    await source.waiting.wait()
    writing.cancel()
    await writing


async def _list_half(store) -> None:
    async for _ in store.list(Key(""), deep=True):
        break


async def _finish_wrong(store) -> None:
    ref = await store.uploads.begin(KEY)
    await store.uploads.put(ref, 1, BytesSource(LARGE))
    try:
        await store.uploads.put(ref, 2, breaking(LARGE))
    finally:
        await store.uploads.abort(ref)


async def _finish_blocked(store) -> None:
    ref = await store.uploads.begin(Key("folder"))
    part = await store.uploads.put(ref, 1, BytesSource(LARGE))
    try:
        await store.uploads.finish(ref, [part])
    finally:
        await store.uploads.abort(ref)


PATHS = {
    "stat": lambda store: store.stat(KEY),
    "stat of nothing": lambda store: store.stat(Key("folder/missing")),
    "stat of a folder": lambda store: store.stat(Key("folder")),
    "stat below a file": lambda store: store.stat(Key("folder/object/below")),
    "read": lambda store: read_bytes(store, KEY),
    "read half": _read_half,
    "read of nothing": lambda store: store.read(Key("missing")),
    "read of another version": lambda store: store.read(KEY, if_match="another"),
    "read out of range": lambda store: store.read(KEY, From(10**9)),
    "read through a link": lambda store: store.read(Key("link")),
    "read below a link": lambda store: store.read(Key("link/below")),
    "write": lambda store: store.write(Key("folder/new"), BytesSource(LARGE)),
    "write of a broken source": lambda store: store.write(KEY, breaking(LARGE)),
    "write of a wrong size": lambda store: store.write(KEY, stream([LARGE], size=1)),
    "write of a wrong digest": lambda store: store.write(KEY, BytesSource(LARGE, digest(b""))),
    "write cancelled": _write_cancelled,
    "write of what exists": lambda store: store.write(KEY, BytesSource(LARGE), CREATE),
    "write of another version": lambda store: store.write(KEY, BytesSource(LARGE), IfMatch("another")),
    "write over a folder": lambda store: store.write(Key("folder"), BytesSource(LARGE)),
    "write below a file": lambda store: store.write(Key("folder/object/below"), BytesSource(LARGE)),
    "write below a link": lambda store: store.write(Key("link/below"), BytesSource(LARGE)),
    "write of a long name": lambda store: store.write(Key("new/" + "n" * 300), BytesSource(LARGE)),
    "write of a reserved name": lambda store: store.write(Key(".shoso/x"), BytesSource(LARGE)),
    "list": expect.everything,
    "list half": _list_half,
    "list of nothing": lambda store: expect.everything(store, "missing/missing"),
    "list of a file": lambda store: expect.everything(store, KEY),
    "list of a link": lambda store: expect.everything(store, "link"),
    "delete": lambda store: store.delete([Key("folder/new"), Key("missing"), Key("folder"), Key("link/x")]),
    "upload of nothing": lambda store: store.uploads.parts(UploadRef(KEY, "0" * 32)),
    "upload broken": _finish_wrong,
    "upload over a folder": _finish_blocked,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dress", ["bare", "standard"])
async def test_no_path_leaves_a_file_open(local, layered, root, outside_link, descriptors, path, dress):
    store = {"bare": local, "standard": layered}[dress]
    await store.write(KEY, BytesSource(LARGE))
    before = descriptors()
    for _ in range(3):
        with contextlib.suppress(StoreError, SourceBroke, asyncio.CancelledError):
            await PATHS[path](store)
    gc.collect(1)
    deadline = time.monotonic() + 10  # a thread that reads ahead closes its file when it is done
    while descriptors() != before and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert descriptors() == before
    assert list((root / ".shoso/drafts").iterdir()) == []


@pytest.fixture
def outside_link(local, root, tmp_path):
    """A link out of the root."""
    (root / "link").symlink_to(tmp_path)


async def test_a_store_closed_has_nothing_open(root, descriptors):
    before = descriptors()
    for _ in range(3):
        store = LocalStore(LocalOptions(root))
        await store.write(KEY, BytesSource(LARGE))
        await store.close()
    assert descriptors() == before


async def test_a_store_closed_while_a_body_is_half_read_fails_it_in_words(root, descriptors):
    before = descriptors()
    store = LocalStore(LocalOptions(root))
    await store.write(KEY, BytesSource(LARGE))
    async with await store.read(KEY) as reading:
        await anext(reading.body)
        await store.close()
        with contextlib.suppress(StoreError):  # what was read ahead may still come
            async for _ in reading.body:
                pass
    assert descriptors() == before


async def test_a_store_closed_refuses_every_verb_in_words(root):
    store = LocalStore(LocalOptions(root))
    await store.write(KEY, BytesSource(b"."))
    await store.close()
    for call in (
        lambda: store.stat(KEY),
        lambda: store.read(KEY),
        lambda: store.write(KEY, BytesSource(b".")),
        lambda: expect.everything(store),
        lambda: store.delete([KEY]),
        lambda: store.uploads.begin(KEY),
    ):
        with pytest.raises(StoreError) as caught:
            await call()
        assert "closed" in caught.value.message


@pytest.mark.parametrize("verb", ["write", "put"])
async def test_a_cancelled_write_closes_its_file_only_when_its_thread_is_done(local, monkeypatch, verb):
    """Were it closed before, the thread would go on writing into whatever file gets its number next."""
    ref = await local.uploads.begin(KEY)
    calls = {
        "write": lambda: local.write(KEY, BytesSource(LARGE)),
        "put": lambda: local.uploads.put(ref, 1, BytesSource(LARGE)),
    }
    held = Held(monkeypatch, "pwrite")
    writing = asyncio.ensure_future(calls[verb]())
    await held.reached.wait()
    others = _open_files(local)
    assert others
    writing.cancel()
    await asyncio.wait([writing], timeout=0.2)
    assert others <= _open_files(local)
    held.go.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    with expect.failure(Kind.NOT_FOUND):
        await local.stat(KEY)
    assert _open_files(local) < others


async def test_a_draft_that_was_abandoned_takes_no_more_work(local, root):
    """A thread that was queued when its call was cancelled may start behind the one that cleans up."""
    draft = Draft(KEY, BytesSource(b"late"), Aside(local.tree))
    draft.append([b"in time"])
    draft.discard()
    for work in (lambda: draft.append([b"late"]), draft.seal, lambda: seal(draft)):
        with pytest.raises(OSError, match="canceled"):
            work()
    assert list((root / ".shoso/drafts").iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
async def test_a_write_cancelled_while_it_commits_is_whole_or_not_at_all(local, root, monkeypatch, step):
    held = Held(monkeypatch, step)
    writing = asyncio.ensure_future(local.write(Key("object"), BytesSource(LARGE)))
    await held.reached.wait()
    writing.cancel()
    await asyncio.sleep(0)
    held.go.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    with expect.allowed(Kind.NOT_FOUND):
        assert await read_bytes(local, Key("object")) == LARGE
    assert list((root / ".shoso/drafts").iterdir()) == []


async def test_a_write_given_up_on_a_disk_that_hangs_never_appears(local, root, monkeypatch):
    monkeypatch.setattr("shoso.stores.disk.calls.PATIENCE", 0.05)
    for _ in range(5):
        held = Held(monkeypatch, "fsync")
        writing = asyncio.ensure_future(local.write(KEY, BytesSource(b"late")))
        await held.reached.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await local.write(KEY, BytesSource(b"since"))
        held.go.set()
        await asyncio.to_thread(_until_empty, root / ".shoso/drafts")
        assert await read_bytes(local, KEY) == b"since"


def _until_empty(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while list(folder.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_read_cancelled_while_it_opens_closes_what_it_opened(local, monkeypatch, descriptors):
    await local.write(KEY, BytesSource(LARGE))
    before = descriptors()
    held = Held(monkeypatch, "pread")
    reading = asyncio.ensure_future(local.read(KEY))
    await held.reached.wait()
    reading.cancel()
    await asyncio.sleep(0)
    held.go.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await _settled(descriptors, before)


async def test_a_body_left_while_a_thread_reads_it_is_closed_when_the_thread_is_done(
    local, monkeypatch, descriptors
):
    await local.write(KEY, BytesSource(LARGE))
    before = descriptors()
    reading = await local.read(KEY)
    held = Held(monkeypatch, "pread")
    body = asyncio.ensure_future(_drain(reading))
    await held.reached.wait()
    body.cancel()
    with pytest.raises(asyncio.CancelledError):
        await body
    closing = asyncio.ensure_future(reading.close())
    await asyncio.sleep(0)
    assert descriptors() == before + 1
    held.go.set()
    await closing
    await _settled(descriptors, before)


async def test_a_failed_read_ahead_that_nobody_waits_for_is_silent(local, monkeypatch, caplog):
    await local.write(KEY, BytesSource(LARGE))
    reading = await local.read(KEY, FromTo(0, 3 * CHUNK))

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    await anext(reading.body)
    await reading.close()
    del reading
    gc.collect(1)
    await asyncio.sleep(0)
    assert caplog.records == []


async def _settled(descriptors, before: int) -> None:
    """A thread that was let go closes its file in its own time."""
    async with asyncio.timeout(10):
        while descriptors() != before:  # noqa: ASYNC110  # no event comes from another's thread
            await asyncio.sleep(0.001)


async def _drain(reading) -> None:
    async for _ in reading.body:
        pass


def _open_files(local) -> set[str]:
    """Which drafts this process has open."""
    open_files = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            path = str(link.readlink())
            if "/drafts/" in path:
                open_files.add(path.removesuffix(" (deleted)"))
    return open_files
