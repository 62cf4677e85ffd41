"""A disk that is full or read-only: a clear error, the old object intact, nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import time

import pytest
from tests.conformance import expect
from tests.conformance.sources import Endless

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.errors import ConfigError, Kind
from shoso.layers import standard
from shoso.stores.local import LocalOptions, LocalStore

KEY = Key("run/model/weights.bin")
BALLAST = Key("ballast")


@pytest.fixture
async def small(small_disk):
    """A store on a small disk, with an object in it."""
    bare = LocalStore(LocalOptions(small_disk / "root"))
    store = standard(bare)
    await store.write(KEY, BytesSource(b"old"))
    yield store
    await bare.close()


def _left(place) -> list[str]:
    return sorted(path.name for path in (place / "root/.shoso/drafts").iterdir())


def _fill(place) -> None:
    with (place / "root" / BALLAST).open("wb", buffering=0) as file:
        try:
            while file.write(b"." * 65536):
                pass
        except OSError:
            return


def _make_read_only(place) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


async def _old_is_intact(store, small_disk) -> None:
    assert await read_bytes(store, KEY) == b"old"
    assert _left(small_disk) == []
    assert {entry.key for entry in await expect.everything(store)} <= {KEY, BALLAST}
    await store.delete([BALLAST])
    _await_room(small_disk)
    await store.write(KEY, BytesSource(b"new"))
    assert await read_bytes(store, KEY) == b"new"


def _await_room(place) -> None:
    """Wait until what was removed is free again: over NFS, when the server has heard of its close."""
    deadline = time.monotonic() + 5
    while not os.statvfs(place).f_bavail:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_small_object_that_doesnt_fit_is_refused(small, small_disk):
    _fill(small_disk)
    for key in (KEY, Key("new/folders/another")):
        with expect.failure(Kind.NO_SPACE) as caught:
            await small.write(key, BytesSource(b"." * 8192))
        assert "disk is full" in caught.value.message
    assert "new" not in {entry.key for entry in await expect.shown(small)}
    await _old_is_intact(small, small_disk)


async def test_a_stream_that_stops_fitting_in_its_middle_is_refused(small, small_disk):
    with expect.failure(Kind.NO_SPACE):
        await small.write(KEY, Endless(64 * CHUNK, announced=False))
    await _old_is_intact(small, small_disk)


async def test_what_is_announced_too_large_is_refused_at_once(small, small_disk):
    taken = 0

    class Counted(Endless):
        async def open(self, start=0):
            nonlocal taken
            async for data in super().open(start):
                taken += len(data)
                yield data

    with expect.failure(Kind.NO_SPACE):
        await small.write(KEY, Counted(64 * CHUNK))
    assert taken <= 4 * CHUNK
    await _old_is_intact(small, small_disk)


async def test_the_source_is_closed_when_the_disk_is_full(small):
    closed = False

    class Held(Endless):
        async def open(self, start=0):
            nonlocal closed
            try:
                async for data in super().open(start):
                    yield data
            finally:
                closed = True

    with expect.failure(Kind.NO_SPACE):
        await small.write(KEY, Held(64 * CHUNK, announced=False))
    assert closed


async def test_a_part_that_doesnt_fit_is_refused_and_may_be_put_again(small, small_disk):
    ref = await small.uploads.begin(KEY)
    first = await small.uploads.put(ref, 1, BytesSource(b"first"))
    with expect.failure(Kind.NO_SPACE):
        await small.uploads.put(ref, 2, Endless(64 * CHUNK, announced=False))
    assert _left(small_disk) == []
    assert await small.uploads.parts(ref) == [first]
    _await_room(small_disk)
    second = await small.uploads.put(ref, 2, BytesSource(b"second"))
    await small.uploads.finish(ref, [first, second])
    assert await read_bytes(small, KEY) == b"firstsecond"


async def test_a_finish_that_doesnt_fit_may_be_repeated(small, small_disk):
    ref = await small.uploads.begin(KEY)
    part = await small.uploads.put(ref, 1, BytesSource(b"." * 3 * CHUNK))
    _fill(small_disk)
    with expect.failure(Kind.NO_SPACE):
        await small.uploads.finish(ref, [part])
    assert await read_bytes(small, KEY) == b"old"
    await small.delete([BALLAST])
    _await_room(small_disk)
    await small.uploads.finish(ref, [part])
    assert (await small.stat(KEY)).size == 3 * CHUNK


async def test_a_read_only_disk_refuses_writes_in_words_and_serves_reads(small, small_disk):
    _make_read_only(small_disk)
    for call in (
        lambda: small.write(KEY, BytesSource(b"new")),
        lambda: small.delete([KEY]),
        lambda: small.uploads.begin(KEY),
    ):
        with expect.failure(Kind.FORBIDDEN) as caught:
            await call()
        assert isinstance(caught.value, PermissionError)
        assert "read-only" in caught.value.message
    assert await read_bytes(small, KEY) == b"old"
    assert [entry.key for entry in await expect.everything(small)] == [KEY]


async def test_a_read_only_disk_can_be_opened_and_read(small, small_disk):
    _make_read_only(small_disk)
    other = LocalStore(LocalOptions(small_disk / "root"))
    assert await read_bytes(other, KEY) == b"old"
    await other.close()


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_root_that_cant_be_a_folder_is_refused_by_name(tmp_path, folder, descriptors):
    (tmp_path / "file").write_bytes(b"")
    before = descriptors()
    with pytest.raises(ConfigError) as caught:
        LocalStore(LocalOptions(tmp_path / folder))
    assert str(tmp_path / folder) in caught.value.message
    assert descriptors() == before


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("EACCES", Kind.FORBIDDEN),
        ("EPERM", Kind.FORBIDDEN),
        ("EROFS", Kind.FORBIDDEN),
        ("EDQUOT", Kind.NO_SPACE),
        ("ENOSPC", Kind.NO_SPACE),
        ("EFBIG", Kind.TOO_LARGE),
        ("EMFILE", Kind.UNAVAILABLE),
        ("ENAMETOOLONG", Kind.INVALID_KEY),
        ("EILSEQ", Kind.INVALID_KEY),
        ("EIO", Kind.UNEXPECTED),
    ],
)
async def test_every_error_of_the_disk_has_its_kind(local, monkeypatch, number, kind):
    code = getattr(errno, number)

    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(local.tree, "draft", fail)
        with expect.failure(kind) as caught:
            await local.write(KEY, BytesSource(b"."))
    assert KEY in caught.value.message
    assert isinstance(caught.value.__cause__, OSError)
    await local.write(KEY, BytesSource(b"."))


@pytest.mark.parametrize("name", ["n" * 256, "é" * 128, "folder/" + "n" * 256, "n" * 256 + "/file"])
async def test_a_name_too_long_for_the_file_system_is_refused_in_words(local, name):
    with expect.failure(Kind.INVALID_KEY) as caught:
        await local.write(Key(name), BytesSource(b"."))
    assert "too long" in caught.value.message
    with expect.failure(Kind.INVALID_KEY, Kind.NOT_FOUND):
        await local.read(Key(name))
    assert await expect.shown(local) == []
