"""Two calls on one object, one of them stopped at its most delicate point."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.conformance import expect
from tests.stores.held import Held

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, Digests, IfMatch
from shoso.errors import Kind
from shoso.stores.local import LocalOptions, LocalStore

KEY = Key("folder/object")


async def _waits(call: asyncio.Future) -> bool:
    """Whether it isn't done after a moment that is long for a thread."""
    done, _ = await asyncio.wait([call], timeout=0.2)
    return not done


@pytest.mark.parametrize("where", ["in this process", "in another"])
async def test_of_two_that_name_one_version_one_replaces_it(local, root, monkeypatch, where):
    """The second looks only when the first has written: else it would find the version that it names."""
    other = local if where == "in this process" else LocalStore(LocalOptions(root))
    old = await local.write(KEY, BytesSource(b"old"))
    held = Held(monkeypatch, "replace")
    first = asyncio.ensure_future(local.write(KEY, BytesSource(b"first"), IfMatch(old.etag)))
    await held.reached.wait()
    second = asyncio.ensure_future(other.write(KEY, BytesSource(b"second"), IfMatch(old.etag)))
    assert await _waits(second)
    held.go.set()
    await first
    with expect.failure(Kind.CHANGED):
        await second
    assert await read_bytes(local, KEY) == b"first"
    await other.close()


async def test_an_overwrite_waits_for_the_commit_that_depends_on_what_it_replaces(local, monkeypatch):
    old = await local.write(KEY, BytesSource(b"old"))
    held = Held(monkeypatch, "replace")
    depends = asyncio.ensure_future(local.write(KEY, BytesSource(b"depends"), IfMatch(old.etag)))
    await held.reached.wait()
    over = asyncio.ensure_future(local.write(KEY, BytesSource(b"over")))
    assert await _waits(over)
    held.go.set()
    await asyncio.gather(depends, over)
    assert await read_bytes(local, KEY) == b"over"


async def test_a_delete_waits_for_the_commit_that_depends_on_what_it_deletes(local, monkeypatch):
    """Else the object would stand again after it was acknowledged as gone, by a write that named it."""
    old = await local.write(KEY, BytesSource(b"old"))
    held = Held(monkeypatch, "replace")
    writing = asyncio.ensure_future(local.write(KEY, BytesSource(b"new"), IfMatch(old.etag)))
    await held.reached.wait()
    deleting = asyncio.ensure_future(local.delete([KEY]))
    assert await _waits(deleting)
    held.go.set()
    await asyncio.gather(writing, deleting)
    with expect.failure(Kind.NOT_FOUND):
        await local.stat(KEY)


async def test_writes_that_depend_on_nothing_dont_wait_for_each_other(local, monkeypatch):
    held = Held(monkeypatch, "replace")
    slow = asyncio.ensure_future(local.write(Key("slow"), BytesSource(b".")))
    await held.reached.wait()
    await local.write(Key("quick"), BytesSource(b"."))
    await local.delete([Key("quick")])
    held.go.set()
    await slow


async def test_of_two_that_create_the_kernel_picks_one(local, monkeypatch):
    held = Held(monkeypatch, "link")
    first = asyncio.ensure_future(local.write(KEY, BytesSource(b"first"), CREATE))
    await held.reached.wait()
    await local.write(KEY, BytesSource(b"second"), CREATE)
    held.go.set()
    with expect.failure(Kind.EXISTS):
        await first
    assert await read_bytes(local, KEY) == b"second"


async def test_a_folder_removed_before_the_object_gets_its_name_is_made_again(local, monkeypatch):
    await local.write(Key("folder/other"), BytesSource(b"."))
    held = Held(monkeypatch, "replace")
    writing = asyncio.ensure_future(local.write(KEY, BytesSource(b"object")))
    await held.reached.wait()
    await local.delete([Key("folder/other")])
    held.go.set()
    await writing
    assert await read_bytes(local, KEY) == b"object"


async def test_a_move_overtaken_by_another_is_made(local, root, monkeypatch):
    await local.write(KEY, BytesSource(b"object"))
    held = Held(monkeypatch, "replace")
    moving = asyncio.ensure_future(local.move([(KEY, Key("moved/object"))]))
    await held.reached.wait()
    (root / KEY).rename(root / "moved/object")
    held.go.set()
    await moving
    assert await read_bytes(local, Key("moved/object")) == b"object"


async def test_a_finish_overtaken_by_another_finds_the_object(local, monkeypatch):
    ref = await local.uploads.begin(KEY)
    parts = [await local.uploads.put(ref, number, BytesSource(b"part")) for number in (1, 2, 3)]
    held = Held(monkeypatch, "pread")
    slow = asyncio.ensure_future(local.uploads.finish(ref, parts))
    await held.reached.wait()
    quick = await local.uploads.finish(ref, parts)
    held.go.set()
    found = await slow
    assert found.digest == (quick.digest if local.capabilities.digests is Digests.ALL else None)
    assert replace(found, digest=quick.digest) == quick
    assert await read_bytes(local, KEY) == b"part" * 3


async def test_a_put_overtaken_by_an_abort_leaves_no_upload(local, root, monkeypatch):
    ref = await local.uploads.begin(KEY)
    held = Held(monkeypatch, "replace")
    putting = asyncio.ensure_future(local.uploads.put(ref, 1, BytesSource(b"late")))
    await held.reached.wait()
    await local.uploads.abort(ref)
    held.go.set()
    with expect.allowed(Kind.NOT_FOUND):
        await putting
    with expect.failure(Kind.NOT_FOUND):
        await local.uploads.parts(ref)
    assert [found async for found in local.uploads.pending(Key(""))] == []
