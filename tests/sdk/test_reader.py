"""An artifact as a file: what is read is right, costs few requests, and is of one version."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import io
import os
import random
import zipfile

import numpy as np
import pytest

from shoso.client import blocking, reader
from shoso.client.finding import Found
from shoso.client.reader import BLOCK, JUMP, open_artifact
from shoso.core.keys import parse
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import Capabilities
from shoso.errors import NotFound, StoreError
from shoso.layers import standard
from shoso.stores.memory import MemoryStore

MIB = 1024 * 1024
KEY = parse("run/weights.bin")


class Counted(MemoryStore):
    """A store that notes the ranges it's asked for, and goes silent after so many."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = []
        self.silent_after = 1_000_000

    async def read(self, key, wanted=None, if_match=None):
        reading = await super().read(key, wanted, if_match)
        self.asked.append((reading.start, reading.stop))
        if len(self.asked) > self.silent_after:
            await asyncio.Event().wait()
        return reading


@pytest.fixture
def store():
    return Counted()


def put(store, data: bytes) -> None:
    blocking.run(store.write(KEY, BytesSource(data)))


def opened(store):
    async def find() -> Found:
        shown = standard(store)
        return Found(shown, KEY, await shown.stat(KEY))

    return open_artifact(find)


def test_what_is_read_is_what_was_put(store):
    data = random.Random(1).randbytes(3 * MIB + 17)
    put(store, data)
    with opened(store) as file:
        assert file.size == len(data)
        assert file.read() == data
    assert store.asked == [(0, len(data))]


def test_reading_in_order_takes_few_requests_and_each_byte_once(store):
    data = random.Random(2).randbytes(40 * MIB)
    put(store, data)
    with opened(store) as file:
        pieces = [*iter(lambda: file.read(100_000), b"")]
    assert b"".join(pieces) == data
    assert len(store.asked) < 15
    assert [start for start, _ in store.asked[1:]] == [stop for _, stop in store.asked[:-1]]
    assert max(stop - start for start, stop in store.asked) == BLOCK


def test_the_next_block_is_fetched_while_this_one_is_used(store):
    put(store, bytes(4 * MIB))
    with opened(store) as file:
        file.read(JUMP * 2 + 1)
        blocking.run(asyncio.sleep(0))
        assert store.asked[-1][0] > file.tell()


def test_a_jump_fetches_little(store):
    put(store, bytes(64 * MIB))
    with opened(store) as file:
        for position in (50 * MIB, 3 * MIB, 17 * MIB):
            file.seek(position)
            file.read(10)
    assert len(store.asked) == 3
    assert sum(stop - start for start, stop in store.asked) <= 3 * max(JUMP, reader.BUFFER)


def test_a_seek_within_what_is_there_fetches_nothing(store):
    put(store, random.Random(3).randbytes(MIB))
    with opened(store) as file:
        first = file.read(1000)
        file.seek(0)
        assert file.read(1000) == first
        file.seek(500)
        assert file.read(500) == first[500:]
    assert len(store.asked) == 1


@pytest.mark.parametrize("seed", range(5))
def test_reads_and_seeks_of_all_kinds_agree_with_a_local_file(store, seed):
    rng = random.Random(seed)
    data = rng.randbytes(rng.choice([0, 1, JUMP, 5 * MIB + 3]))
    put(store, data)
    local = io.BytesIO(data)
    with opened(store) as file:
        for _ in range(100):
            offset, whence = rng.randint(-len(data), len(data) * 2), rng.choice([0, 1, 2])
            if offset + (0, local.tell(), len(data))[whence] >= 0 and rng.random() < 0.5:
                assert file.seek(offset, whence) == local.seek(offset, whence)
            size = rng.choice([0, 1, 100, 70_000, 300_000, -1])
            assert file.read(size) == local.read(size)
            assert file.tell() == local.tell()


def test_a_seek_before_the_start_is_refused(store):
    put(store, b"abc")
    with opened(store) as file, pytest.raises(ValueError, match="negative seek"):
        file.raw.seek(-1)


def test_a_changed_artifact_is_an_error_not_a_mix(store):
    put(store, b"a" * 10 * MIB)
    with opened(store) as file:
        assert file.read(10) == b"a" * 10
        put(store, b"b" * 10 * MIB)
        file.seek(5 * MIB)
        with pytest.raises(StoreError) as caught:
            file.read(10)
    assert caught.value.kind.value == "changed"


def test_a_change_shows_also_without_etags(store):
    class Plain(Counted):
        async def stat(self, key):
            return without_etag(await super().stat(key))

        async def read(self, key, wanted=None, if_match=None):
            assert if_match is None
            reading = await super().read(key, wanted)
            reading.meta = without_etag(reading.meta)
            return reading

    plain = Plain()
    put(plain, b"a" * 10 * MIB)
    with opened(plain) as file:
        put(plain, b"b" * 10 * MIB)
        with pytest.raises(StoreError, match="has changed since it was opened"):
            file.read(10)


def without_etag(meta):
    return dataclasses.replace(meta, etag=None)


def test_what_isnt_there_isnt_opened(store):
    with pytest.raises(NotFound), opened(store):
        pass


def test_a_store_without_ranges_is_read_into_a_file(store):
    put(store, b"abc" * MIB)
    store.capabilities = Capabilities(ranges=False)
    with opened(store) as file:
        assert file.size == 3 * MIB
        file.seek(-3, io.SEEK_END)
        assert file.read() == b"abc"
        file.seek(0)
        assert file.read() == b"abc" * MIB
    assert len(store.asked) == 1


def test_numpy_and_zipfile_take_it(store):
    array = np.arange(MIB, dtype=np.int32)
    kept = io.BytesIO()
    np.savez(kept, first=array, second=array * 2)
    put(store, kept.getvalue())
    with opened(store) as file:
        assert (np.load(file)["second"] == array * 2).all()
    with opened(store) as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None


def test_closing_waits_for_nothing(store):
    """Not even for a block that is being fetched from a storage that has gone silent."""
    put(store, bytes(8 * MIB))
    store.silent_after = 2
    with opened(store) as file:
        assert file.raw.read(JUMP) == file.raw.read(JUMP)
    assert len(store.asked) == 3
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()
    with pytest.raises(ValueError, match="closed"):
        file.raw.seek(0)


def test_a_file_that_is_forgotten_is_closed(store):
    put(store, bytes(8 * MIB))
    file = opened(store)
    file.read(3 * JUMP)
    blocks = file.raw._blocks
    assert blocks._ahead is not None
    del file
    gc.collect()
    assert blocks._ahead is None


def test_a_read_ahead_that_fails_is_an_error_of_the_read_that_wants_it(store):
    put(store, b"a" * 8 * MIB)
    with opened(store) as file:
        raw = file.raw
        raw.readinto(bytearray(JUMP))
        put(store, b"b" * 8 * MIB)
        with pytest.raises(StoreError):
            file.read(MIB)


def test_a_child_goes_on_reading_with_a_connection_of_its_own(store):
    put(store, random.Random(4).randbytes(2 * MIB))
    with opened(store) as file:
        first = file.read(10)
        if (child := os.fork()) == 0:
            try:
                file.seek(MIB)
                told = file.read(10) == store_bytes(store)[MIB : MIB + 10]
                os._exit(0 if told else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        file.seek(0)
        assert file.read(10) == first


def store_bytes(store) -> bytes:
    return blocking.run(read_bytes(store, KEY))
