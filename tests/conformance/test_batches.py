"""Many small objects in one call: each stands or fails by itself, at once or, where no store takes them so,
one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.conformance import expect

from shoso.core.batches import AT_ONCE, SMALL, read_many, write_many
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import Store, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import Digests, ObjectMeta, SmallObject
from shoso.errors import Kind, NotFound, StoreError

MANY = {f"run/{place % 7}/object-{place:03}": b"%d" % place * (place * 25) for place in range(AT_ONCE + 8)}
"""More than are under way at once."""


def small(key: str, data: bytes, claimed: str | None = None) -> SmallObject:
    return SmallObject(ObjectMeta(Key(key), len(data), 0.0, digest=claimed), data)


async def written(store: Store, objects: Mapping[str, bytes]) -> list[ObjectMeta]:
    """All of them kept."""
    outcomes = await write_many(store, [small(key, data) for key, data in objects.items()])
    assert [type(outcome) for outcome in outcomes] == [ObjectMeta] * len(objects), outcomes
    return outcomes


def kind(outcome: object) -> Kind:
    """Of an error with a sentence to it."""
    assert isinstance(outcome, StoreError), outcome
    assert outcome.message.endswith("."), outcome.message
    return outcome.kind


async def test_what_is_written_together_is_there_whole(opened):
    metas = await written(opened.store, MANY)
    assert [(meta.key, meta.size) for meta in metas] == [(key, len(data)) for key, data in MANY.items()]
    for key in [*MANY][::13]:
        await expect.whole(opened, key, MANY[key])
    assert [entry.key for entry in await expect.everything(opened.store)] == sorted(MANY)


async def test_what_is_written_together_is_known_as_if_written_alone(store):
    [meta] = await written(store, {"together": b"data"})
    alone = await store.write(Key("alone"), BytesSource(b"data"))
    there = await store.stat(meta.key)
    assert (there.key, there.size, there.etag) == (meta.key, meta.size, meta.etag)
    assert (meta.etag is None) == (alone.etag is None)
    assert meta.modified == pytest.approx(alone.modified, abs=60)
    told = {meta.digest, there.digest}
    assert told == {digest(b"data")} or store.capabilities.digests is not Digests.ALL
    assert told <= {digest(b"data"), None}


async def test_what_is_read_together_is_what_was_written(opened):
    await written(opened.store, MANY)
    wanted = [Key(key) for key in [*MANY][::-1]]
    found = await read_many(opened.store, wanted)
    assert {each.meta.key: bytes(each.data) for each in found} == MANY
    assert [each.meta.key for each in found] == wanted
    for each in found[::13]:
        async with await opened.store.read(each.meta.key) as alone:
            assert replace(each.meta, content_type=None) == replace(alone.meta, content_type=None)


async def test_what_was_written_alone_is_read_together(opened):
    await opened.store.write(Key("a"), BytesSource(b"alone"))
    await opened.store.write(Key("b"), BytesSource(b""))
    found = await read_many(opened.store, [Key("b"), Key("a"), Key("b")])
    assert [bytes(each.data) for each in found] == [b"", b"alone", b""]


async def test_what_isnt_there_fails_in_its_place(opened):
    await written(opened.store, {"a": b"a", "folder/b": b"b"})
    wanted = ["missing", "a", "folder", "a/below", "folder/b", "folder/missing"]
    found = await read_many(opened.store, [Key(key) for key in wanted])
    assert [bytes(found[1].data), bytes(found[4].data)] == [b"a", b"b"]
    for place in (0, 2, 3, 5):
        assert kind(found[place]) is Kind.NOT_FOUND
        assert isinstance(found[place], NotFound)
        assert wanted[place] in found[place].message


async def test_an_object_that_isnt_what_its_sender_claims_fails_alone(opened):
    await written(opened.store, {"there": b"old"})
    sent = [
        small("a", b"a", digest(b"a")),
        small("damaged", b"damaged", digest(b"whole")),
        small("there", b"new", digest(b"other")),
        small("b", b"b", digest(b"b")),
    ]
    outcomes = await write_many(opened.store, sent)
    assert [kind(outcomes[1]), kind(outcomes[2])] == [Kind.CORRUPT] * 2
    assert "damaged" in outcomes[1].message
    await expect.whole(opened, "a", b"a")
    await expect.whole(opened, "b", b"b")
    await expect.whole(opened, "there", b"old")
    await expect.absent(opened, "damaged")


async def test_what_is_there_is_replaced(opened):
    await written(opened.store, dict.fromkeys(MANY, b"old"))
    before = await read_many(opened.store, [Key(key) for key in MANY])
    await written(opened.store, MANY)
    found = await read_many(opened.store, [Key(key) for key in MANY])
    assert {each.meta.key: bytes(each.data) for each in found} == MANY
    for old, new in zip(before, found, strict=True):
        assert new.meta.etag is None or new.meta.etag != old.meta.etag


async def test_a_name_that_the_store_wont_have_fails_alone(opened):
    refused = sorted(opened.refused)
    sent = [small("a", b"a"), *(small(name, b"x") for name in refused), small("b", b"b")]
    outcomes = await write_many(opened.store, sent)
    assert [kind(outcome) for outcome in outcomes[1:-1]] == [Kind.INVALID_KEY] * len(refused)
    assert [entry.key for entry in await expect.everything(opened.store)] == ["a", "b"]
    found = await read_many(opened.store, [Key("a"), *map(Key, refused), Key("b")])
    assert {kind(each) for each in found[1:-1]} <= {Kind.INVALID_KEY, Kind.NOT_FOUND}
    assert [bytes(found[0].data), bytes(found[-1].data)] == [b"a", b"b"]


async def test_an_object_below_another_is_kept_or_fails_alone(opened):
    await written(opened.store, {"a": b"a"})
    below, other = await write_many(opened.store, [small("a/below", b"below"), small("b", b"b")])
    await expect.whole(opened, "a", b"a")
    await expect.whole(opened, "b", b"b")
    if isinstance(below, StoreError):
        assert kind(below) is Kind.EXISTS
        await expect.absent(opened, "a/below")
    else:
        await expect.whole(opened, "a/below", b"below")
    assert isinstance(other, ObjectMeta)


async def test_one_name_twice_is_one_of_both(opened):
    await write_many(opened.store, [small("a", b"first" * 50), small("a", b"second" * 50)])
    assert await read_bytes(opened.store, Key("a")) in {b"first" * 50, b"second" * 50}
    assert len(await expect.everything(opened.store)) == 1


async def test_nothing_is_fine(store):
    assert await write_many(store, []) == []
    assert await read_many(store, []) == []


async def test_a_large_object_is_written_among_others_and_read_by_itself(opened):
    data = b"12345678" * (SMALL // 8) + b"."
    await written(opened.store, {"large": data, "small": b"small"})
    await expect.whole(opened, "large", data)
    large, other = await read_many(opened.store, [Key("large"), Key("small")])
    assert kind(large) is Kind.TOO_LARGE
    assert bytes(other.data) == b"small"


async def test_batches_at_once_dont_disturb_each_other(opened):
    batches = [{f"{place}/{number}": b"%d" % place for number in range(10)} for place in range(5)]
    await asyncio.gather(*(written(opened.store, batch) for batch in batches))
    await asyncio.gather(*(written(opened.store, batch) for batch in batches))
    for batch in batches:
        found = await read_many(opened.store, [Key(key) for key in batch])
        assert {each.meta.key: bytes(each.data) for each in found} == batch


async def test_of_two_batches_over_the_same_objects_each_object_is_of_one(opened):
    keys = [f"run/{place}" for place in range(30)]
    await asyncio.gather(*(written(opened.store, dict.fromkeys(keys, data * 1000)) for data in (b"a", b"b")))
    found = await read_many(opened.store, [Key(key) for key in keys])
    assert {bytes(each.data) for each in found} <= {b"a" * 1000, b"b" * 1000}


async def test_what_is_acknowledged_outlives_the_store(opened):
    await written(opened.store, MANY)
    async with opened.again() as other:
        await opened.store.close()
        found = await read_many(other, [Key(key) for key in MANY])
        assert {each.meta.key: bytes(each.data) for each in found} == MANY
