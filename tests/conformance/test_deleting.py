"""Deleting what isn't there is fine; deleting touches nothing that wasn't named."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance import expect

from shoso.core import store
from shoso.core.keys import Key
from shoso.core.store import delete_tree
from shoso.core.streams import BytesSource

OBJECTS = ["a/b", "a/c/d", "a/c/e", "a-b", "a.b", "ab/c", "b", "c/a/b"]


@pytest.fixture
async def filled(opened):
    """A store with a few folders."""
    for key in OBJECTS:
        await opened.store.write(Key(key), BytesSource(key.encode()))
    return opened


async def _left(opened) -> list[str]:
    return sorted(entry.key for entry in await expect.everything(opened.store))


async def test_deleting_removes_what_is_named_and_nothing_else(filled):
    await filled.store.delete([Key("a/c/d"), Key("b")])
    await expect.absent(filled, "a/c/d")
    await expect.absent(filled, "b")
    assert await _left(filled) == sorted(set(OBJECTS) - {"a/c/d", "b"})


async def test_deleting_what_is_missing_is_fine(filled):
    await filled.store.delete([Key("missing"), Key("a/missing"), Key("missing/missing"), Key("b/below")])
    await filled.store.delete([])
    assert await _left(filled) == sorted(OBJECTS)


async def test_deleting_twice_is_fine(filled):
    await filled.store.delete([Key("b"), Key("b")])
    await filled.store.delete([Key("b")])
    assert await _left(filled) == sorted(set(OBJECTS) - {"b"})


async def test_deleting_a_folder_by_name_leaves_what_is_in_it(filled):
    await filled.store.delete([Key("a"), Key("a/c"), Key("c")])
    assert await _left(filled) == sorted(OBJECTS)


async def test_what_was_deleted_can_be_written_again(filled):
    await filled.store.delete([Key("a/c/d"), Key("a/c/e")])
    await filled.store.write(Key("a/c"), BytesSource(b"an object where a folder was"))
    await expect.whole(filled, "a/c", b"an object where a folder was")
    await filled.store.delete([Key("a/c")])
    await filled.store.write(Key("a/c/d"), BytesSource(b"again"))
    await expect.whole(filled, "a/c/d", b"again")


async def test_deleting_at_once_is_fine(filled):
    await asyncio.gather(*(filled.store.delete([Key(key) for key in OBJECTS[:5]]) for _ in range(5)))
    assert await _left(filled) == sorted(OBJECTS[5:])


@pytest.mark.parametrize(
    ("prefix", "gone"),
    [
        ("a", ["a/b", "a/c/d", "a/c/e"]),
        ("a/c", ["a/c/d", "a/c/e"]),
        ("b", ["b"]),
        ("c", ["c/a/b"]),
        ("a-", []),
        ("missing", []),
        ("b/below", []),
    ],
)
async def test_delete_tree_removes_what_is_at_or_below(filled, prefix, gone):
    await delete_tree(filled.store, Key(prefix))
    assert await _left(filled) == sorted(set(OBJECTS) - set(gone))
    assert prefix not in {entry.key for entry in await expect.shown(filled.store)}


@pytest.fixture
def batch(opened, monkeypatch) -> int:
    """How many keys `delete_tree` names in one call.

    All that a storage can be asked for at once, and more than a page of its listing; through a server few,
    for between it and its client the storage makes no difference: `remote` has the full number.
    """
    number = 20 if opened.behind else store.DELETE_BATCH
    monkeypatch.setattr(store, "DELETE_BATCH", number)
    return number


async def test_delete_tree_takes_more_than_one_batch(opened, batch):
    number = batch + 10
    if opened.put is None:
        for place in range(number):
            await opened.store.write(Key(f"many/{place:05}"), BytesSource(b""))
    else:
        many = (asyncio.to_thread(opened.put, f"many/{place:05}", b"") for place in range(number))
        await asyncio.gather(*many)
    await opened.store.write(Key("one"), BytesSource(b""))
    assert len(await expect.everything(opened.store, "many")) == number
    await delete_tree(opened.store, Key("many"))
    assert await _left(opened) == ["one"]
