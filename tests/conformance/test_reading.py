"""What went in comes out; a read is of one version of the object, or fails with CHANGED."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance import expect
from tests.conformance.sources import Endless, stream

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, INLINE, BytesSource
from shoso.core.types import ALL, From, FromTo, Last
from shoso.errors import Kind, NotFound

KEY = Key("models/weights.bin")
SIZES = [0, 1, INLINE, INLINE + 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]
LARGE = bytes(range(251)) * (3 * CHUNK // 251)
EDGE = len(LARGE)


@pytest.mark.parametrize("size", SIZES)
async def test_what_went_in_comes_out(opened, size):
    data = LARGE[:size] if size <= EDGE else LARGE + b"." * (size - EDGE)
    await opened.store.write(KEY, BytesSource(data))
    await expect.whole(opened, KEY, data)


@pytest.mark.parametrize("size", SIZES)
async def test_what_went_in_comes_out_when_its_size_was_not_announced(opened, size):
    source = Endless(size, step=100_000, announced=False)
    data = b"".join([bytes(part) async for part in source.open()])
    await opened.store.write(KEY, source)
    await expect.whole(opened, KEY, data)


async def test_what_went_in_comes_out_whatever_the_buffers_are(opened):
    buffers = [b"", b"a", bytearray(b"bc"), b"", memoryview(b"xdefx")[1:4], b"g" * (2 * CHUNK), b"", b"h"]
    await opened.store.write(KEY, stream(buffers))
    await expect.whole(opened, KEY, b"".join(bytes(part) for part in buffers))


async def test_what_others_put_is_read(opened):
    if opened.put is None:
        pytest.skip("there is no way around this store")
    opened.put(KEY, LARGE)
    await expect.whole(opened, KEY, LARGE)


async def test_a_reading_tells_what_it_reads(store):
    written = await store.write(KEY, BytesSource(b"0123456789"))
    async with await store.read(KEY) as reading:
        assert (reading.start, reading.stop, reading.size) == (0, 10, 10)
        assert (reading.meta.key, reading.meta.size, reading.meta.etag) == (KEY, 10, written.etag)


RANGES = [
    (ALL, 0, EDGE),
    (FromTo(0, 1), 0, 1),
    (FromTo(1, EDGE), 1, EDGE),
    (FromTo(EDGE - 1, EDGE), EDGE - 1, EDGE),
    (FromTo(0, EDGE + 1000), 0, EDGE),
    (FromTo(EDGE - 1, EDGE + 1000), EDGE - 1, EDGE),
    (FromTo(CHUNK - 1, CHUNK + 1), CHUNK - 1, CHUNK + 1),
    (FromTo(5, 2 * CHUNK + 5), 5, 2 * CHUNK + 5),
    (From(1), 1, EDGE),
    (From(CHUNK), CHUNK, EDGE),
    (From(EDGE - 1), EDGE - 1, EDGE),
    (Last(1), EDGE - 1, EDGE),
    (Last(CHUNK + 1), EDGE - CHUNK - 1, EDGE),
    (Last(EDGE), 0, EDGE),
    (Last(EDGE + 1), 0, EDGE),
]


@pytest.mark.usefixtures("ranges")
async def test_a_range_is_read_to_the_byte(store):
    await store.write(KEY, BytesSource(LARGE))
    for wanted, start, stop in RANGES:
        async with await store.read(KEY, wanted) as reading:
            assert (reading.start, reading.stop, reading.meta.size) == (start, stop, EDGE), wanted
            assert b"".join([bytes(data) async for data in reading.body]) == LARGE[start:stop], wanted


@pytest.mark.usefixtures("ranges")
async def test_a_range_that_names_no_byte_is_refused(store):
    await store.write(KEY, BytesSource(b"0123456789"))
    for wanted in (From(10), From(11), FromTo(10, 12), FromTo(5, 5), FromTo(6, 5), Last(0)):
        with expect.failure(Kind.RANGE):
            await store.read(KEY, wanted)


@pytest.mark.usefixtures("ranges")
async def test_a_range_of_an_empty_object_names_no_byte(store):
    await store.write(KEY, BytesSource(b""))
    assert await read_bytes(store, KEY, ALL) == b""
    for wanted in (From(1), FromTo(0, 0), FromTo(0, 1), Last(1), Last(0)):
        with expect.failure(Kind.RANGE):
            await store.read(KEY, wanted)


async def test_what_is_missing_is_not_found(store):
    await store.write(Key("folder/there"), BytesSource(b"."))
    for missing in ("missing", "folder/missing", "missing/missing", "folder", "folder/there/below"):
        with expect.failure(Kind.NOT_FOUND) as caught:
            await store.stat(Key(missing))
        assert isinstance(caught.value, FileNotFoundError)
        with expect.failure(Kind.NOT_FOUND):
            await store.read(Key(missing))


async def test_an_error_says_what_failed_and_where(store):
    with pytest.raises(NotFound) as caught:
        await store.read(KEY)
    assert (caught.value.op, caught.value.key) == ("read", KEY)
    assert KEY in caught.value.message
    assert caught.value.store == store.info.name
    assert caught.value.__cause__ is not caught.value


@pytest.mark.usefixtures("etags")
async def test_if_match_reads_only_that_version(store):
    old = await store.write(KEY, BytesSource(b"old"))
    async with await store.read(KEY, if_match=old.etag) as reading:
        assert [bytes(data) async for data in reading.body] == [b"old"]
    await store.write(KEY, BytesSource(b"new"))
    with expect.failure(Kind.CHANGED):
        await store.read(KEY, if_match=old.etag)
    with expect.failure(Kind.CHANGED):
        await store.read(KEY, FromTo(0, 1), if_match="never an etag")


async def test_if_match_of_what_is_missing_is_not_found(store):
    with expect.failure(Kind.NOT_FOUND):
        await store.read(KEY, if_match="any")


@pytest.mark.parametrize("size", [10, 3 * CHUNK])
async def test_a_read_begun_before_an_overwrite_is_of_one_version_or_fails(store, size):
    await store.write(KEY, BytesSource(b"a" * size))
    async with await store.read(KEY) as reading:
        await store.write(KEY, BytesSource(b"b" * size))
        assert await _drained(reading) in {b"a" * size, b"b" * size, None}


async def test_a_read_begun_before_a_delete_is_whole_or_fails(store):
    await store.write(KEY, BytesSource(LARGE))
    async with await store.read(KEY) as reading:
        await store.delete([KEY])
        assert await _drained(reading) in {LARGE, None}


async def test_readers_during_overwrites_see_one_version_each(store):
    versions = [bytes([letter]) * (2 * CHUNK + letter) for letter in b"abcdef"]
    await store.write(KEY, BytesSource(versions[0]))
    done = asyncio.Event()

    async def overwrite():
        for version in versions * 2:
            await store.write(KEY, BytesSource(version))
        done.set()

    async def look():
        seen = 0
        while not done.is_set() or not seen:
            async with await store.read(KEY) as reading:
                data = await _drained(reading)
            assert data is None or data in versions
            seen += data is not None

    async with asyncio.TaskGroup() as group:
        for work in (overwrite(), look(), look(), look()):
            group.create_task(work)


async def test_a_body_left_half_read_frees_what_it_held(store):
    await store.write(KEY, BytesSource(LARGE))
    for _ in range(5):
        async with await store.read(KEY) as reading:
            assert len(await anext(reading.body)) > 0
    async with asyncio.timeout(30):  # a permit that wasn't given back would block here for ever
        for _ in range(store.capabilities.connections + 1):
            async with await store.read(KEY, FromTo(0, 1) if store.capabilities.ranges else ALL):
                pass
    assert await read_bytes(store, KEY) == LARGE


async def test_a_reading_may_be_closed_again(store):
    await store.write(KEY, BytesSource(LARGE))
    reading = await store.read(KEY)
    await anext(reading.body)
    await reading.close()
    await reading.close()


async def test_many_read_at_once(store):
    await store.write(KEY, BytesSource(LARGE))
    assert set(await asyncio.gather(*(read_bytes(store, KEY) for _ in range(20)))) == {LARGE}


async def _drained(reading) -> bytes | None:
    """The body; None where the store said that it changed."""
    with expect.allowed(Kind.CHANGED, Kind.NOT_FOUND):
        return b"".join([bytes(data) async for data in reading.body])
    return None
