"""Parts at their places in one file: each on the disk when it's acknowledged, the whole written once."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
from contextlib import suppress
from pathlib import Path

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused
from tests.stores.dying import Died, dying
from tests.stores.held import Held

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import UploadRef
from shoso.errors import Kind, NotFound
from shoso.stores.local import FINISHED_FOR, LocalOptions, LocalStore
from shoso.stores.local.mounts import Mount

KEY = Key("run/model/weights.bin")
SIZE = 100_000
PIECES = [bytes([number]) * SIZE for number in range(1, 5)] + [b"last"]
WHOLE = b"".join(PIECES)


async def _begun(store) -> UploadRef:
    return await store.uploads.begin(KEY, len(WHOLE), part_size=SIZE)


async def _put_all(store, ref, numbers=range(1, 6)):
    return [await store.uploads.put(ref, number, BytesSource(PIECES[number - 1])) for number in numbers]


def _files(root: Path) -> dict[str, Path]:
    """The files of all uploads, by what they are."""
    return {path.name: path for path in root.glob(".shoso/uploads/*/*")}


def _whole(root: Path) -> Path:
    return _files(root)["whole"]


async def test_the_file_that_takes_the_parts_becomes_the_object(local, root):
    ref = await _begun(local)
    assert _whole(root).stat().st_blocks * 512 >= len(WHOLE)
    there = _whole(root).stat().st_ino
    numbered = list(enumerate(PIECES, 1))
    parts = await asyncio.gather(*(local.uploads.put(ref, n, BytesSource(p)) for n, p in numbered[::-1]))
    assert sum(path.stat().st_size for path in _files(root).values()) < len(WHOLE) + 200
    meta = await local.uploads.finish(ref, parts[::-1], digest(WHOLE))
    assert (root / KEY).stat().st_ino == there
    assert await local.stat(KEY) == meta
    assert meta.digest == digest(WHOLE)
    assert await read_bytes(local, KEY) == WHOLE
    assert set(_files(root)) == {"about", "finished"}


async def test_without_a_claim_each_part_is_compared(local, root):
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    there = _whole(root).stat().st_ino
    assert (await local.uploads.finish(ref, parts)).digest == digest(WHOLE)
    assert (root / KEY).stat().st_ino == there


async def test_an_object_smaller_than_announced_is_cut(local, root):
    ref = await local.uploads.begin(KEY, 10 * SIZE, part_size=SIZE)
    await local.uploads.finish(ref, await _put_all(local, ref), digest(WHOLE))
    assert (root / KEY).read_bytes() == WHOLE


async def test_a_finish_that_fails_cuts_nothing(local, root):
    """A folder is in the way; then more parts are named than before."""
    await local.write(Key(f"{KEY}/below"), BytesSource(b"."))
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    with expect.failure(Kind.EXISTS):
        await local.uploads.finish(ref, parts[:2])
    with expect.failure(Kind.EXISTS):
        await local.uploads.finish(ref, parts)
    assert await local.uploads.parts(ref) == parts
    await local.delete([Key(f"{KEY}/below")])
    await local.uploads.finish(ref, parts, digest(WHOLE))
    assert (root / KEY).read_bytes() == WHOLE


async def test_what_cant_fit_is_refused_as_it_begins(small_disk):
    store = LocalStore(LocalOptions(small_disk))
    with expect.failure(Kind.NO_SPACE) as caught:
        await store.uploads.begin(KEY, 9 * CHUNK, part_size=CHUNK)
    assert "disk is full" in caught.value.message
    assert _files(small_disk) == {}
    assert [ref async for ref in store.uploads.pending(ROOT)] == []
    await store.close()


async def test_a_part_larger_than_announced_overwrites_no_other(local):
    ref = await _begun(local)
    parts = await _put_all(local, ref, [1, 3])
    for data in (b"x" * (SIZE + 1), b"x" * 3 * CHUNK):
        with expect.failure(Kind.INVALID) as caught:
            await local.uploads.put(ref, 2, BytesSource(data))
        assert str(SIZE) in caught.value.message
    assert await local.uploads.parts(ref) == parts
    parts[1:1] = await _put_all(local, ref, [2])
    await local.uploads.finish(ref, parts, digest(b"".join(PIECES[:3])))


@pytest.mark.parametrize("claimed", [True, False], ids=["whole claimed", "nothing claimed"])
async def test_a_part_that_rotted_makes_no_object_and_may_be_put_again(local, root, claimed):
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    with _whole(root).open("r+b") as file:
        file.seek(2 * SIZE)
        file.write(b"rotten")
    with expect.failure(Kind.CORRUPT) as caught:
        await local.uploads.finish(ref, parts, digest(WHOLE) if claimed else None)
    assert caught.value.key == KEY
    with pytest.raises(NotFound):
        await local.stat(KEY)
    assert await _put_all(local, ref) == parts
    await local.uploads.finish(ref, parts, digest(WHOLE) if claimed else None)
    assert await read_bytes(local, KEY) == WHOLE


async def test_a_part_put_again_with_other_bytes_counts(local):
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    other = await local.uploads.put(ref, 2, BytesSource(b"y" * SIZE))
    assert (await local.uploads.parts(ref))[1] == other
    with expect.failure(Kind.INVALID):
        await local.uploads.finish(ref, parts)
    parts[1] = other
    meta = await local.uploads.finish(ref, parts)
    assert meta.digest == digest(WHOLE.replace(PIECES[1], b"y" * SIZE))


async def test_a_part_put_again_that_fails_leaves_the_one_that_was_there(local):
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    with expect.failure(Kind.CORRUPT):
        await local.uploads.put(ref, 2, BytesSource(b"y" * SIZE, digest(b"other")))
    await local.uploads.finish(ref, parts, digest(WHOLE))


async def test_the_same_part_again_takes_no_more_room(local, root):
    """A reply was lost: the file with the parts still becomes the object."""
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    there = _whole(root).stat().st_ino
    assert await _put_all(local, ref, [2, 4]) == [parts[1], parts[3]]
    assert len(_files(root)) == len(PIECES) + 2
    await local.uploads.finish(ref, parts, digest(WHOLE))
    assert (root / KEY).stat().st_ino == there


@pytest.mark.parametrize("where", ["in this process", "in another"])
async def test_two_at_one_place_dont_mix(local, root, where):
    other = local if where == "in this process" else LocalStore(LocalOptions(root))
    size = 4 * CHUNK
    ref = await local.uploads.begin(KEY, part_size=size)
    slow = Paused(b"s" * size, 3 * CHUNK)
    first = asyncio.ensure_future(local.uploads.put(ref, 1, slow))
    await slow.waiting.wait()
    quick = await other.uploads.put(ref, 1, BytesSource(b"q" * size))
    assert await local.uploads.parts(ref) == [quick]
    slow.go.set()
    late = await first
    assert await other.uploads.parts(ref) == [late]
    await other.uploads.finish(ref, [late])
    assert await read_bytes(local, KEY) == b"s" * size
    await other.close()


async def test_a_part_that_is_late_doesnt_reach_into_the_finished_object(local, root):
    size = 3 * CHUNK
    ref = await local.uploads.begin(KEY, part_size=size)
    part = await local.uploads.put(ref, 1, BytesSource(b"1" * size))
    late = Paused(b"2" * size, 2 * CHUNK)
    putting = asyncio.ensure_future(local.uploads.put(ref, 2, late))
    await late.waiting.wait()
    await local.uploads.finish(ref, [part], digest(b"1" * size))
    late.go.set()
    with expect.allowed(Kind.NOT_FOUND):
        await putting
    assert await read_bytes(local, KEY) == b"1" * size
    assert [ref async for ref in local.uploads.pending(ROOT)] == []


@pytest.mark.parametrize("step", ["before it is locked", "when it is locked"])
async def test_a_put_that_opened_the_file_before_it_became_the_object_stays_out_of_it(
    local, root, monkeypatch, step
):
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    names = {"before it is locked": ("fcntl", fcntl), "when it is locked": ("listdir", os)}
    held = Held(monkeypatch, *names[step])
    putting = asyncio.ensure_future(local.uploads.put(ref, 7, BytesSource(b"x" * SIZE)))
    await held.reached.wait()
    await local.uploads.finish(ref, parts, digest(WHOLE))
    held.go.set()
    with expect.allowed(Kind.NOT_FOUND):
        await putting
    assert (root / KEY).read_bytes() == WHOLE


async def test_two_that_finish_at_once_take_turns(local, root, monkeypatch):
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    there = _whole(root).stat().st_ino
    held = Held(monkeypatch, "ftruncate")
    first = asyncio.ensure_future(local.uploads.finish(ref, parts, digest(WHOLE)))
    await held.reached.wait()
    second = asyncio.ensure_future(local.uploads.finish(ref, parts, digest(WHOLE)))
    done, _ = await asyncio.wait([second], timeout=0.2)
    assert not done
    held.go.set()
    assert await first == await second
    assert (root / KEY).stat().st_ino == there


async def test_without_such_locks_each_part_has_a_file_of_its_own(local, root, monkeypatch):
    monkeypatch.delattr("fcntl.F_OFD_SETLK")
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    assert all(path.stat().st_size for name, path in _files(root).items() if name[0] == "0")
    await local.uploads.finish(ref, parts, digest(WHOLE))
    assert await read_bytes(local, KEY) == WHOLE


async def test_on_a_file_server_each_part_has_a_file_of_its_own(local, root):
    local.tree.mount = Mount("nfs4", frozenset())
    ref = await _begun(local)
    parts = await _put_all(local, ref)
    assert "whole" not in _files(root)
    with expect.failure(Kind.CORRUPT):
        await local.uploads.finish(ref, parts, digest(b"other"))
    await local.uploads.finish(ref, parts, digest(WHOLE))
    assert await read_bytes(local, KEY) == WHOLE


async def test_a_finished_upload_leaves_nothing_for_ever(local, root):
    ref = await _begun(local)
    await local.uploads.finish(ref, await _put_all(local, ref))
    waiting = await _begun(local)
    for path in root.glob(".shoso/uploads/*/*"):
        os.utime(path, (0, path.stat().st_mtime - FINISHED_FOR - 1))
    await LocalStore(LocalOptions(root)).close()
    assert {path.parent.name for path in root.glob(".shoso/uploads/*/*")} == {waiting.id}


# -- killed between any two steps -------------------------------------------------------------------------


TWO = b"".join(PIECES[:2])


async def _upload(store) -> None:
    ref = await store.uploads.begin(KEY, len(TWO), part_size=SIZE)
    parts = await _put_all(store, ref, [1, 2])
    await store.uploads.finish(ref, parts, digest(TWO))


async def _go_on(root) -> None:
    """What the next process does: finish what is under way with what is missing, or begin anew."""
    store = LocalStore(LocalOptions(root))
    refs = [ref async for ref in store.uploads.pending(ROOT)]
    refs = refs or [await store.uploads.begin(KEY, len(TWO), part_size=SIZE)]
    for ref in refs:
        there = {part.number: part for part in await store.uploads.parts(ref)}
        for part in there.values():
            assert part.digest == digest(PIECES[part.number - 1])
        for number in {1, 2} - set(there):
            [there[number]] = await _put_all(store, ref, [number])
        await store.uploads.finish(ref, [there[1], there[2]], digest(TWO))
    assert await read_bytes(store, KEY) == TWO
    assert [ref async for ref in store.uploads.pending(ROOT)] == []
    await store.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_server_killed_at_any_step_loses_nothing_and_leaves_nothing(tmp_path, monkeypatch, after):
    for at in itertools.count(1):
        root = tmp_path / str(at)
        store = LocalStore(LocalOptions(root))
        with dying(monkeypatch, at, after) as process, suppress(Died):
            await _upload(store)
        await store.close()
        if not process.dead:
            break
        await _go_on(root)
    assert at > 40


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_finish_killed_at_any_step_may_be_repeated(tmp_path, monkeypatch, after):
    for at in itertools.count(1):
        root = tmp_path / str(at)
        store = LocalStore(LocalOptions(root))
        ref = await _begun(store)
        parts = await _put_all(store, ref)
        with dying(monkeypatch, at, after) as process, suppress(Died):
            await store.uploads.finish(ref, parts, digest(WHOLE))
        await store.close()
        other = LocalStore(LocalOptions(root))
        assert (await other.uploads.finish(ref, parts, digest(WHOLE))).digest == digest(WHOLE)
        assert await read_bytes(other, KEY) == WHOLE
        with pytest.raises(NotFound):
            await other.uploads.parts(ref)
        await other.close()
        if not process.dead:
            break
    assert at > 20


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_abort_killed_at_any_step_may_be_repeated(tmp_path, monkeypatch, after):
    for at in itertools.count(1):
        root = tmp_path / str(at)
        store = LocalStore(LocalOptions(root))
        ref = await _begun(store)
        await _put_all(store, ref)
        with dying(monkeypatch, at, after) as process, suppress(Died):
            await store.uploads.abort(ref)
        await store.close()
        other = LocalStore(LocalOptions(root))
        with expect.allowed(Kind.NOT_FOUND):
            await other.uploads.abort(ref)
        with pytest.raises(NotFound):
            await other.uploads.finish(ref, [])
        await other.close()
        for path in _files(root).values():
            os.utime(path, (0, 0))
        for path in root.glob(".shoso/uploads/*"):
            os.utime(path, (0, 0))
        await LocalStore(LocalOptions(root)).close()
        assert _files(root) == {}
        if not process.dead:
            break
    assert at > 8
