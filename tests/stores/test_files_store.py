"""What stores over a remote file system share: few calls, nothing left behind, errors of the right kind."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from dataclasses import replace

import pytest
from tests.stores.disk import Disk, whole

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import StoreInfo, read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import CREATE, OVERWRITE
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores.files import store as module
from shoso.stores.files.store import FileStore
from shoso.stores.files.system import Traits

KEY = Key("run/model/weights")
ONCE = Policy(RetryPolicy(attempts=1))
POLICY = Policy(RetryPolicy(first=0.01))


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path)


@pytest.fixture
async def store(disk):
    store = FileStore(StoreInfo("disk", "the disk"), disk)
    yield store
    await store.close()


def _names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _drafts(disk) -> list[str]:
    return _names(disk.root / ".shoso/drafts")


def _breaks(verb: str, error: Exception, times: int = 1):
    """The next calls of that verb fail."""
    left = [error] * times

    def broken(called: str, path: str):
        return left.pop() if called == verb and left else None

    return broken


def _lost(verb: str, path: str) -> Exception | None:
    return ConnectionResetError() if verb in {"seal", "remove"} else None


async def test_a_small_write_into_a_known_folder_takes_four_calls(disk, store):
    await store.write(KEY, BytesSource(b"first"))
    await store.drafts.close()
    disk.calls.clear()
    await store.write(KEY, BytesSource(b"second"))
    assert [verb for verb, _ in disk.calls] == ["create", "append", "seal", "rename"]


async def test_a_stat_takes_one_call_and_a_read_no_stat(disk, store):
    await store.write(KEY, BytesSource(b"."))
    await store.drafts.close()
    disk.calls.clear()
    await store.stat(KEY)
    assert await read_bytes(store, KEY) == b"."
    assert [verb for verb, _ in disk.calls] == ["status", "open", "read"]


async def test_many_deleted_at_once_try_their_folder_once(disk, store):
    keys = [Key(f"run/{number}") for number in range(50)]
    for key in keys:
        await store.write(key, BytesSource(b"."))
    disk.calls.clear()
    await store.delete(keys)
    assert [path for verb, path in disk.calls if verb == "rmdir"] == ["run"]
    assert len(disk.calls) == 51


@pytest.mark.parametrize("verb", ["create", "append", "seal", "rename"])
@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "reset"), TimeoutError()], ids=repr)
async def test_a_write_whose_connection_was_lost_leaves_nothing_and_may_be_tried_again(
    disk, store, verb, error
):
    await store.write(KEY, BytesSource(b"old"))
    disk.broken = _breaks(verb, error)
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(b"new" * CHUNK))
    assert caught.value.retry is Retry.SOON
    assert caught.value.kind in {Kind.UNAVAILABLE, Kind.TIMEOUT}
    assert (caught.value.op, caught.value.key, caught.value.store) == ("write", KEY, "the disk")
    assert _drafts(disk) == []
    assert await read_bytes(store, KEY) == b"old"


class Unheard(Disk):
    """Its replies to a rename are lost."""

    async def rename(self, source: str, target: str, replace: bool) -> None:
        await super().rename(source, target, replace)
        if not target.startswith(".shoso"):
            raise ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.mark.parametrize("mode", [CREATE, OVERWRITE])
async def test_a_write_whose_last_reply_was_lost_is_known_to_have_been_done(tmp_path, mode):
    bare = FileStore(StoreInfo("disk", "the disk"), disk := Unheard(tmp_path))
    meta = await standard(bare, POLICY).write(KEY, BytesSource(b"kept"), mode)
    assert meta == replace(await bare.stat(KEY), digest=digest(b"kept"))
    assert await read_bytes(bare, KEY) == b"kept"
    assert [verb for verb, _ in disk.calls].count("seal") == 1
    await bare.close()
    assert _drafts(disk) == []


async def test_a_draft_that_could_not_be_removed_is_removed_with_the_next(disk, store):
    disk.broken = _lost
    with pytest.raises(StoreError):
        await store.write(KEY, BytesSource(b"lost"))
    assert len(_drafts(disk)) == 1
    disk.broken = whole
    await store.write(KEY, BytesSource(b"kept"))
    await store.close()
    assert _drafts(disk) == []


async def test_a_draft_that_could_not_be_removed_is_removed_by_closing(disk, store):
    disk.broken = _lost
    with pytest.raises(StoreError):
        await store.write(KEY, BytesSource(b"lost"))
    disk.broken = whole
    await store.close()
    assert _drafts(disk) == []


async def test_what_a_killed_process_left_is_swept_by_age(disk, store):
    drafts = disk.root / ".shoso/drafts"
    drafts.mkdir(parents=True)
    for name, age in (("young", 60), ("old", 2 * 86400)):
        (drafts / name).write_bytes(b".")
        os.utime(drafts / name, (time.time() - age,) * 2)
    await store.write(KEY, BytesSource(b"."))
    await store.close()
    assert _drafts(disk) == ["young"]


async def test_a_draft_whose_time_the_server_does_not_tell_is_not_swept(disk, store):
    drafts = disk.root / ".shoso/drafts"
    drafts.mkdir(parents=True)
    (drafts / "somebody's").write_bytes(b".")
    os.utime(drafts / "somebody's", (0, 0))
    await store.write(KEY, BytesSource(b"."))
    await store.close()
    assert _drafts(disk) == ["somebody's"]


async def test_a_draft_that_another_process_sweeps_first_is_no_hindrance(disk, store):
    drafts = disk.root / ".shoso/drafts"
    drafts.mkdir(parents=True)
    for name in "abc":
        (drafts / name).write_bytes(b".")
        os.utime(drafts / name, (time.time() - 2 * 86400,) * 2)
    disk.broken = _breaks("remove", FileNotFoundError(errno.ENOENT, "swept"))
    await store.write(KEY, BytesSource(b"."))
    await store.close()
    assert len(_drafts(disk)) == 1


async def test_a_process_that_lives_long_sweeps_again(disk, store, monkeypatch):
    monkeypatch.setattr(module, "SWEEP_EVERY", 0.0)
    await store.write(KEY, BytesSource(b"."))
    (left := disk.root / ".shoso/drafts/left").write_bytes(b".")
    os.utime(left, (time.time() - 2 * 86400,) * 2)
    await store.write(KEY, BytesSource(b"."))
    await store.close()
    assert _drafts(disk) == []


async def test_uploads_finished_long_ago_are_forgotten_and_those_under_way_are_not(disk, store):
    finished, open_ = await store.uploads.begin(KEY), await store.uploads.begin(KEY)
    await store.uploads.finish(finished, [await store.uploads.put(finished, 1, BytesSource(b"."))])
    for ref in (finished, open_):
        os.utime(disk.root / f".shoso/uploads/{ref.id}", (time.time() - 2 * 86400,) * 2)
    other = FileStore(store.info, disk)
    await other.write(Key("any"), BytesSource(b"."))
    await other.close()
    assert _names(disk.root / ".shoso/uploads") == [open_.id]


async def test_a_store_that_only_reads_changes_nothing(disk, store):
    (disk.root / "a").write_bytes(b"there")
    assert await read_bytes(store, Key("a")) == b"there"
    assert [entry.key async for entry in store.list(Key(""), deep=True)] == ["a"]
    assert _names(disk.root) == ["a"]


async def test_parts_are_joined_by_the_server_where_it_can(tmp_path):
    disk = Disk(tmp_path, Traits(exclusive=True, joins=True))
    store = FileStore(StoreInfo("disk", "the disk"), disk)
    ref = await store.uploads.begin(KEY)
    parts = [await store.uploads.put(ref, number, BytesSource(b"%d" % number)) for number in (1, 2, 3)]
    disk.calls.clear()
    meta = await store.uploads.finish(ref, parts)
    assert (meta.size, await read_bytes(store, KEY)) == (3, b"123")
    assert [verb for verb, _ in disk.calls if verb in {"open", "append", "join"}] == ["join", "open"]
    await store.close()


async def test_a_join_that_fails_leaves_nothing(tmp_path):
    disk = Disk(tmp_path, Traits(exclusive=True, joins=True))
    store = FileStore(StoreInfo("disk", "the disk"), disk)
    ref = await store.uploads.begin(KEY)
    part = await store.uploads.put(ref, 1, BytesSource(b"."))
    disk.broken = _breaks("rename", ConnectionResetError())
    with pytest.raises(StoreError):
        await store.uploads.finish(ref, [part])
    assert _drafts(disk) == []
    await store.uploads.finish(ref, [part])
    assert await read_bytes(store, KEY) == b"."
    await store.close()


@pytest.mark.parametrize("verb", ["create", "append", "rename"])
async def test_a_begin_that_failed_leaves_no_upload(disk, store, verb):
    await store.write(KEY, BytesSource(b"."))
    disk.broken = _breaks(verb, ConnectionResetError())
    with pytest.raises(StoreError):
        await store.uploads.begin(KEY)
    await store.close()
    assert _names(disk.root / ".shoso/uploads") == []
    assert _drafts(disk) == []


async def test_an_abort_that_broke_off_is_ended_by_the_next(disk, store):
    ref = await store.uploads.begin(KEY)
    await store.uploads.put(ref, 1, BytesSource(b"."))
    disk.broken = _parts_stay
    with pytest.raises(StoreError) as caught:
        await store.uploads.abort(ref)
    assert caught.value.retry is Retry.SOON
    disk.broken = whole
    await store.uploads.abort(ref)
    assert _names(disk.root / ".shoso/uploads") == []
    with pytest.raises(FileNotFoundError):
        await store.uploads.abort(ref)


def _parts_stay(verb: str, path: str) -> Exception | None:
    return ConnectionResetError() if verb == "remove" and not path.endswith("about") else None


async def test_a_part_that_comes_in_during_an_abort_goes_too(disk, store):
    ref = await store.uploads.begin(KEY)
    folder = disk.root / ".shoso/uploads" / ref.id
    late = [folder / "late"]

    def arrives(verb: str, path: str) -> None:
        if verb == "rmdir" and late:
            late.pop().write_bytes(b".")

    disk.broken = arrives
    await store.uploads.abort(ref)
    assert _names(disk.root / ".shoso/uploads") == []


@pytest.mark.parametrize("verb", ["status", "entries", "open", "read", "create", "append", "seal", "rename"])
async def test_the_end_of_an_upload_waits_for_no_silent_server(tmp_path, verb):
    disk = Disk(tmp_path)
    bare = FileStore(StoreInfo("disk", "the disk", silence=0.2), disk)
    store = standard(bare, ONCE)
    ref = await store.uploads.begin(KEY)
    part = await store.uploads.put(ref, 1, BytesSource(b"part"))
    disk.silent = verb
    async with asyncio.timeout(5):
        with pytest.raises(StoreError) as caught:
            await store.uploads.finish(ref, [part])
    assert caught.value.kind is Kind.TIMEOUT
    disk.silent = None
    await store.uploads.finish(ref, [part])
    assert await read_bytes(store, KEY) == b"part"
    await bare.close()


async def test_no_more_goes_on_at_once_than_the_server_takes(tmp_path):
    disk = Disk(tmp_path, Traits(exclusive=True, connections=4))
    store = FileStore(StoreInfo("disk", "the disk"), disk)
    keys = [Key(f"{top}/{inner}/object") for top in "abcdef" for inner in range(6)]
    for key in keys:
        await store.write(key, BytesSource(b"."))
    disk.most = 0
    async for _ in store.list(Key(""), deep=True):
        pass
    await store.delete(keys)
    assert disk.most == 4
    assert _names(disk.root) == [".shoso"]
    await store.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, Kind.NO_SPACE),
        (errno.EDQUOT, Kind.NO_SPACE),
        (errno.EACCES, Kind.FORBIDDEN),
        (errno.EROFS, Kind.FORBIDDEN),
        (errno.ELOOP, Kind.INVALID_KEY),
        (errno.EIO, Kind.UNEXPECTED),
    ],
)
async def test_what_the_file_system_says_decides_the_kind(disk, store, number, kind):
    disk.broken = _breaks("append", OSError(number, os.strerror(number)))
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(b"."))
    assert (caught.value.kind, caught.value.retry) == (kind, Retry.NEVER)
    assert KEY in caught.value.message


@pytest.mark.parametrize("kind", [Kind.CONFIG, Kind.FORBIDDEN])
async def test_an_error_of_the_drivers_own_is_completed_and_not_its_own_cause(disk, store, kind):
    disk.broken = _breaks("status", store_error(kind, "The host isn't known."))
    with pytest.raises(StoreError) as caught:
        await store.stat(KEY)
    assert (caught.value.op, caught.value.key, caught.value.store) == ("stat", KEY, "the disk")
    assert caught.value.__cause__ is None


async def test_a_refused_create_tries_to_remove_no_folder(disk, store):
    await store.write(KEY, BytesSource(b"."))
    disk.calls.clear()
    with pytest.raises(FileExistsError):
        await store.write(KEY, BytesSource(b"."), CREATE)
    assert "rmdir" not in [verb for verb, _ in disk.calls]
