"""check: nonsense is refused before the store sees it; what is whole is verified before its last byte."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from tests.conformance import expect
from tests.conformance.sources import stream
from tests.layers.stubs import KEY, Limited, Recorder, filled

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import ALL, CREATE, From, FromTo, IfMatch, Last, Part, UploadRef, UploadStyle
from shoso.errors import Kind
from shoso.layers.check import Check

ASTRAY = ["..", "../a", "a/../../b", "/etc/passwd", "a//b", ".", "a\x00b", "%2e%2e", "a" * 1025]
REF = UploadRef(KEY, "upload-1")
PART = Part(1, 10, "tag")


def _key_verbs(store, key):
    """Every verb that names one object."""
    ref = UploadRef(key, "upload-1")
    return {
        "stat": lambda: store.stat(key),
        "read": lambda: store.read(key),
        "write": lambda: store.write(key, BytesSource(b".")),
        "delete": lambda: store.delete([Key("fine"), key]),
        "move": lambda: store.move([(Key("fine"), Key("too")), (Key("from"), key)]),
        "begin": lambda: store.uploads.begin(key),
        "put": lambda: store.uploads.put(ref, 1, BytesSource(b".")),
        "parts": lambda: store.uploads.parts(ref),
        "finish": lambda: store.uploads.finish(ref, [PART]),
        "abort": lambda: store.uploads.abort(ref),
    }


async def _refused(inner, call, *kinds):
    with expect.failure(*kinds) as caught:
        await call()
    assert inner.calls == []
    return caught.value


VERBS = list(_key_verbs(Limited(), ROOT))


@pytest.mark.parametrize("verb", VERBS)
async def test_the_root_is_no_object(verb):
    inner = Recorder()
    await _refused(inner, _key_verbs(Check(inner), ROOT)[verb], Kind.INVALID_KEY)


@pytest.mark.parametrize("name", ASTRAY, ids=lambda name: ascii(name)[:20])
@pytest.mark.parametrize("verb", VERBS)
async def test_a_key_that_was_never_parsed_is_refused(verb, name):
    inner = Recorder()
    await _refused(inner, _key_verbs(Check(inner), Key(name))[verb], Kind.INVALID_KEY)


@pytest.mark.parametrize("name", ASTRAY, ids=lambda name: ascii(name)[:20])
async def test_a_prefix_that_was_never_parsed_is_refused(name):
    inner = Recorder()
    store = Check(inner)
    for listing in (store.list, store.uploads.pending):
        with expect.failure(Kind.INVALID_KEY):
            [_ async for _ in listing(Key(name))]
    assert inner.calls == []


@pytest.mark.parametrize("size", [-1, 0, Limited().capabilities.part_max + 1])
async def test_a_part_size_that_no_part_can_have_is_refused(size):
    inner = Recorder()
    store = Check(inner)
    error = await _refused(inner, lambda: store.uploads.begin(KEY, part_size=size), Kind.INVALID)
    assert str(size) in error.message


async def test_the_root_may_be_listed():
    store = Check(await filled(Limited(), a=b"."))
    assert [entry.key async for entry in store.list(ROOT)] == ["a"]
    assert [ref async for ref in store.uploads.pending(ROOT)] == []


@pytest.mark.parametrize("wanted", [From(1), FromTo(0, 1), Last(1)], ids=str)
async def test_ranges_are_refused_where_the_store_has_none(wanted):
    inner = Recorder(ranges=False)
    error = await _refused(inner, lambda: Check(inner).read(KEY, wanted), Kind.UNSUPPORTED)
    assert inner.info.name in error.message
    await inner.write(KEY, BytesSource(b"whole"))
    assert await read_bytes(Check(inner), KEY, ALL) == b"whole"


@pytest.mark.parametrize(
    ("lacking", "refused", "honoured"),
    [("create", CREATE, IfMatch("v1")), ("if_match", IfMatch("v1"), CREATE)],
    ids=str,
)
async def test_a_condition_is_refused_where_the_store_does_not_honour_it(lacking, refused, honoured):
    inner = Recorder(**{lacking: False})
    await _refused(inner, lambda: Check(inner).write(KEY, BytesSource(b"."), refused), Kind.UNSUPPORTED)
    if honoured is not CREATE:
        await Check(inner).write(KEY, BytesSource(b"."))
    await Check(inner).write(KEY, BytesSource(b"."), honoured)


@pytest.mark.parametrize("verb", ["begin", "put", "parts", "finish", "abort"])
async def test_uploads_are_refused_where_the_store_takes_none(verb):
    inner = Recorder(uploads=UploadStyle.NONE)
    await _refused(inner, _key_verbs(Check(inner), KEY)[verb], Kind.UNSUPPORTED)


@pytest.mark.parametrize("number", [0, -1, 11, 10**9])
async def test_part_numbers_out_of_range_are_refused(number):
    inner = Recorder(parts_max=10)
    uploads = Check(inner).uploads
    error = await _refused(inner, lambda: uploads.put(REF, number, BytesSource(b".")), Kind.INVALID)
    assert "10" in error.message


async def test_a_part_that_is_too_large_is_refused():
    inner = Recorder(part_max=10)
    await _refused(inner, lambda: Check(inner).uploads.put(REF, 1, BytesSource(b"." * 11)), Kind.INVALID)


async def test_a_part_that_turns_out_too_large_is_refused():
    """Its size wasn't announced, so that it is known only when it has come."""
    inner = Limited(part_max=10)
    uploads = Check(inner).uploads
    ref = await uploads.begin(KEY)
    with expect.failure(Kind.INVALID):
        await uploads.put(ref, 1, stream([b"." * 6, b"." * 5]))
    assert await uploads.parts(ref) == []
    await uploads.put(ref, 1, stream([b"." * 5, b"." * 5]))


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [Part(2, 10, "b"), Part(1, 10, "a")],
        [Part(1, 10, "a"), Part(1, 10, "a")],
        [Part(1, 9, "a"), Part(2, 10, "b")],
        [Part(1, 10, "a"), Part(2, 9, "b"), Part(3, 10, "c")],
    ],
    ids=["none", "out of order", "twice", "first too small", "middle too small"],
)
async def test_parts_that_make_no_object_are_refused(parts):
    inner = Recorder(part_min=10)
    await _refused(inner, lambda: Check(inner).uploads.finish(REF, parts), Kind.INVALID)


async def test_the_last_part_may_be_small():
    inner = Limited(part_min=10)
    uploads = Check(inner).uploads
    ref = await uploads.begin(KEY)
    parts = [await uploads.put(ref, 1, BytesSource(b"." * 10)), await uploads.put(ref, 2, BytesSource(b"."))]
    assert (await uploads.finish(ref, parts)).size == 11


class Rotten(Limited):
    """Every object has the digest of something else."""

    async def read(self, key, wanted=ALL, if_match=None):
        reading = await super().read(key, wanted, if_match)
        meta = type(reading.meta)(key, reading.meta.size, 0.0, "tag", digest(b"something else"))
        reading.meta = meta
        return reading


@pytest.mark.parametrize("wanted", [ALL, FromTo(0, 5), FromTo(0, 100), Last(5), Last(100)], ids=str)
async def test_a_whole_body_is_verified_however_it_was_asked_for(wanted):
    store = Check(await filled(Rotten(), folder__object=b"12345"))
    with expect.failure(Kind.CORRUPT):
        await read_bytes(store, KEY, wanted)


@pytest.mark.parametrize("wanted", [From(1), FromTo(0, 4), Last(4)], ids=str)
async def test_a_range_cant_be_verified(wanted):
    store = Check(await filled(Rotten(), folder__object=b"12345"))
    assert len(await read_bytes(store, KEY, wanted)) == 4


async def test_an_object_without_a_digest_is_held_to_none():
    class Bare(Rotten):
        async def read(self, key, wanted=ALL, if_match=None):
            reading = await super().read(key, wanted, if_match)
            reading.meta = replace(reading.meta, digest=None)
            return reading

    store = Check(await filled(Bare(), folder__object=b"12345"))
    assert await read_bytes(store, KEY) == b"12345"


async def test_closing_a_verified_body_closes_the_stores():
    closed = []

    class Watched(Limited):
        async def read(self, key, wanted=ALL, if_match=None):
            async def close():
                closed.append(key)

            reading = await super().read(key, wanted, if_match)
            reading.close = close
            return reading

    async with await Check(await filled(Watched(), folder__object=b"12345")).read(KEY):
        pass
    assert closed == [KEY]


async def test_moves_of_one_key_to_two_ends_are_refused_and_all_where_the_store_has_none():
    a, b, c = Key("a"), Key("b"), Key("c")
    for moves in ([(a, a)], [(a, b), (b, c)], [(a, c), (b, c)], [(a, b), (a, c)]):
        inner = Recorder()
        await _refused(inner, partial(Check(inner).move, moves), Kind.INVALID)
    inner = Recorder(move=False)
    await _refused(inner, lambda: Check(inner).move([(a, b)]), Kind.UNSUPPORTED)
    await Check(inner).move([])
