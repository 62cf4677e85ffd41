"""Bits that rot and files cut short are errors, never objects."""

from __future__ import annotations

import os

import pytest
from tests.conformance import expect

from shoso.core.keys import Key
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import Digests, FromTo
from shoso.errors import Kind

KEY = Key("weights.bin")
DATA = bytes(range(256)) * (3 * CHUNK // 256) + b"tail"


def _flip(path, place: int) -> None:
    """Change a bit and none of the times, as a failing disk does."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def _received(store, **kwargs) -> tuple[bytes, Kind | None]:
    """What a reader got before the error, and the error."""
    got = []
    with expect.allowed(Kind.CORRUPT, Kind.CHANGED) as outcome:
        async with await store.read(KEY, **kwargs) as reading:
            async for data in reading.body:
                got.append(bytes(data))
    return b"".join(got), outcome.error and outcome.error.kind


@pytest.mark.parametrize("place", [0, CHUNK, len(DATA) - 1])
async def test_a_flipped_bit_is_corrupt_and_never_whole(local, layered, root, place):
    if local.capabilities.digests is Digests.NONE:
        pytest.skip("this file system keeps no attributes")
    await layered.write(KEY, BytesSource(DATA))
    _flip(root / KEY, place)
    got, kind = await _received(layered)
    assert kind is Kind.CORRUPT
    assert len(got) < len(DATA)


@pytest.mark.parametrize("data", [b"x", b"small"])
async def test_a_small_file_with_a_flipped_bit_hands_out_nothing(local, layered, root, data):
    if local.capabilities.digests is Digests.NONE:
        pytest.skip("this file system keeps no attributes")
    await layered.write(KEY, BytesSource(data))
    _flip(root / KEY, 0)
    assert await _received(layered) == (b"", Kind.CORRUPT)


async def test_an_error_of_damage_names_the_artifact(local, layered, root):
    if local.capabilities.digests is Digests.NONE:
        pytest.skip("this file system keeps no attributes")
    await layered.write(KEY, BytesSource(b"small"))
    _flip(root / KEY, 0)
    with expect.failure(Kind.CORRUPT) as caught:
        async with await layered.read(KEY) as reading:
            [_ async for _ in reading.body]
    assert KEY in caught.value.message
    assert caught.value.key == KEY


@pytest.mark.parametrize("left", [0, 1, CHUNK, CHUNK + 1, len(DATA) - 1])
@pytest.mark.parametrize("dress", ["bare", "standard"])
async def test_a_file_cut_short_while_it_is_read_is_an_error(local, layered, root, left, dress):
    store = {"bare": local, "standard": layered}[dress]
    await store.write(KEY, BytesSource(DATA))
    async with await store.read(KEY) as reading:
        got = [bytes(await anext(reading.body))]
        with (root / KEY).open("r+b") as file:
            file.truncate(left)
        with expect.failure(Kind.CHANGED, Kind.CORRUPT):
            async for data in reading.body:
                got.append(bytes(data))
    assert len(b"".join(got)) < len(DATA)


async def test_a_file_written_over_in_place_while_it_is_read_is_an_error(local, layered, root):
    """The digest that was kept when it was opened still tells."""
    if local.capabilities.digests is Digests.NONE:
        pytest.skip("this file system keeps no attributes")
    await layered.write(KEY, BytesSource(DATA))
    async with await layered.read(KEY) as reading:
        got = [bytes(await anext(reading.body))]
        with (root / KEY).open("r+b") as file:
            file.write(b"!" * len(DATA))
        with expect.failure(Kind.CORRUPT):
            async for data in reading.body:
                got.append(bytes(data))
    assert len(b"".join(got)) < len(DATA)


@pytest.mark.parametrize("dress", ["bare", "standard"])
async def test_a_file_that_grows_while_it_is_read_is_read_as_long_as_it_was(local, layered, root, dress):
    """Whoever writes a log straight into the folder is no reason to fail."""
    store = {"bare": local, "standard": layered}[dress]
    (root / KEY).write_bytes(DATA)
    async with await store.read(KEY) as reading:
        got = [bytes(await anext(reading.body))]
        with (root / KEY).open("ab") as file:
            file.write(b"more")
        got += [bytes(data) async for data in reading.body]
    assert b"".join(got) == DATA


async def test_a_part_that_rotted_makes_no_object(local, layered, root):
    ref = await layered.uploads.begin(KEY)
    parts = [await layered.uploads.put(ref, number, BytesSource(DATA)) for number in (1, 2)]
    [rotten] = (root / ".shoso/uploads").glob("*/00002-*")
    _flip(rotten, CHUNK)
    with expect.failure(Kind.CORRUPT) as caught:
        await layered.uploads.finish(ref, parts)
    assert caught.value.key == KEY
    with expect.failure(Kind.NOT_FOUND):
        await layered.stat(KEY)
    parts[1] = await layered.uploads.put(ref, 2, BytesSource(DATA))
    await layered.uploads.finish(ref, parts)
    assert (await layered.stat(KEY)).size == 2 * len(DATA)


async def test_a_range_of_a_damaged_file_is_read_as_it_is(layered, root):
    """The digest is of the whole; a range that was asked for can't be compared with it."""
    await layered.write(KEY, BytesSource(DATA))
    _flip(root / KEY, 0)
    assert await _received(layered, wanted=FromTo(CHUNK, CHUNK + 10)) == (DATA[CHUNK : CHUNK + 10], None)
