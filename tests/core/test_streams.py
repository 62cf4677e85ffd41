"""Bytes on the move: nothing lost, nothing copied, nothing whole that isn't right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance import expect

from shoso.core.digest import SIZE, Digester, digest
from shoso.core.keys import Key
from shoso.core.streams import CHUNK, MANY, BytesSource, StreamSource, complete, confirm, regroup, verified
from shoso.core.types import ObjectMeta, Reading
from shoso.errors import Kind, StoreError

KEY = Key("run/artifact")
BUFFERS = st.lists(st.binary(max_size=20), max_size=12)


async def _flow(buffers):
    for data in buffers:
        yield data


async def _collected(stream) -> list[bytes]:
    return [bytes(data) async for data in stream]


def _reading(buffers, size: int, claimed: str | None) -> Reading:
    return Reading(ObjectMeta(KEY, size, 0.0, digest=claimed), 0, size, _flow(buffers))


async def _until_corrupt(body) -> bytes:
    """What came before the error, which there must be, and name the artifact."""
    got = []
    with expect.failure(Kind.CORRUPT) as caught:
        async for data in body:
            got.append(bytes(data))
    assert KEY in caught.value.message
    return b"".join(got)


@given(BUFFERS, st.integers(1, 40))
async def test_regroup_keeps_every_byte_in_groups_that_are_large_enough(buffers, size):
    groups = [group async for group in regroup(_flow(buffers), size)]
    assert b"".join(data for group in groups for data in group) == b"".join(buffers)
    lengths = [sum(map(len, group)) for group in groups]
    assert all(length >= size for length in lengths[:-1])
    assert all(length > 0 for length in lengths)
    assert all(sum(map(len, group[:-1])) < size for group in groups)


async def test_regroup_copies_nothing():
    large = bytes(CHUNK)
    [[kept]] = [group async for group in regroup(_flow([large]))]
    assert kept is large


async def test_regroup_bounds_the_number_of_buffers_too():
    """A sender of single bytes must not make a list of a million objects."""
    groups = [group async for group in regroup(_flow(b"ab" for _ in range(50_000)))]
    assert sum(len(data) for group in groups for data in group) == 100_000
    assert max(map(len, groups)) <= MANY


@given(BUFFERS)
async def test_verified_hands_out_what_is_right(buffers):
    data = b"".join(buffers)
    body = verified(_reading(buffers, len(data), digest(data)))
    assert b"".join(await _collected(body)) == data


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8), st.data())
async def test_verified_never_hands_out_the_last_of_what_is_wrong(buffers, draw):
    data = b"".join(buffers)
    place = draw.draw(st.integers(0, len(data) - 1))
    broken = bytearray(data)
    broken[place] ^= 1
    pieces, start = [], 0
    for length in map(len, buffers):
        pieces.append(bytes(broken[start : start + length]))
        start += length
    got = await _until_corrupt(verified(_reading(pieces, len(data), digest(data))))
    assert got == b"".join(pieces[:-1])


@pytest.mark.parametrize("claimed", [True, False], ids=["with a digest", "without"])
@pytest.mark.parametrize("size", [0, 1, 3, 7, 9, 100])
async def test_verified_refuses_another_size(size, claimed):
    """Of a body that is too long, nothing past the announced size is handed out."""
    known = digest(b"12345678") if claimed else None
    got = await _until_corrupt(verified(_reading([b"1234", b"5678"], size, known)))
    assert len(got) < max(size, 1) or size > 8


async def test_verified_closes_what_is_wrong_and_doesnt_leave_it_to_be_collected():
    reading = _reading([b"1234", b"5678", b"more"], 8, digest(b"something else"))
    await _until_corrupt(verified(reading))
    assert await anext(reading.body, "closed") == "closed"


async def test_verified_digests_large_buffers_too():
    data = bytes(3 * CHUNK)
    assert b"".join(await _collected(verified(_reading([data], len(data), digest(data))))) == data
    with pytest.raises(StoreError):
        await _collected(verified(_reading([data], len(data), digest(data[1:]))))


@given(st.binary(max_size=50), st.integers(0, 60))
async def test_a_bytes_source_opens_anywhere_and_again(data, start):
    source = BytesSource(data)
    for _ in range(2):
        assert b"".join(await _collected(source.open(start))) == data[start:]
    assert source.size == len(data)


async def test_a_bytes_source_comes_in_chunks():
    data = bytes(2 * CHUNK + 1)
    assert [len(part) async for part in BytesSource(data).open()] == [CHUNK, CHUNK, 1]
    assert [len(part) async for part in BytesSource(data).open(CHUNK - 1)] == [CHUNK, 2]


async def test_a_stream_source_opens_only_at_its_start():
    source = StreamSource(_flow([b"a", b"b"]), 2)
    assert not source.reopenable
    with pytest.raises(StoreError) as caught:
        await _collected(source.open(1))
    assert caught.value.kind is Kind.UNSUPPORTED


async def test_a_stream_source_doesnt_open_twice():
    """The second time there would be nothing left, and an empty object to be written."""
    source = StreamSource(_flow([b"a", b"b"]))
    assert await _collected(source.open()) == [b"a", b"b"]
    with pytest.raises(StoreError) as caught:
        await _collected(source.open())
    assert caught.value.kind is Kind.UNSUPPORTED


def test_complete_compares_only_what_was_announced():
    complete(KEY, StreamSource(_flow([])), 5)
    complete(KEY, BytesSource(b"12345"), 5)
    for size in (0, 4, 6):
        with expect.failure(Kind.INCOMPLETE) as caught:
            complete(KEY, BytesSource(b"12345"), size)
        assert KEY in caught.value.message


def test_confirm_compares_only_what_was_claimed():
    confirm(KEY, BytesSource(b"a"), digest(b"a"))
    confirm(KEY, BytesSource(b"a", digest(b"a")), digest(b"a"))
    with pytest.raises(StoreError) as caught:
        confirm(KEY, BytesSource(b"a", digest(b"b")), digest(b"a"))
    assert caught.value.kind is Kind.CORRUPT
    assert digest(b"b") in caught.value.message


@given(BUFFERS)
def test_a_digest_in_steps_is_the_digest_of_all(buffers):
    digester = Digester()
    for data in buffers:
        digester.update(data)
    whole = b"".join(buffers)
    assert digester.hex() == digest(whole)
    assert digester.size == len(whole)
    assert len(bytes.fromhex(digester.hex())) == SIZE


def test_the_digest_is_blake3():
    """The first vector of the reference implementation's test_vectors.json."""
    assert digest(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
