"""A listing shows every object that was there from its start to its end; a missing prefix is empty."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
from tests.conformance import expect

from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.core.store import order, page
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta, Prefix
from shoso.errors import Kind

OBJECTS = ["a-b", "a.b", "a/b", "a/c-d", "a/c/d", "a/c/e", "a/c.d", "a0", "aa/b", "b/a/a/a/a", "z"]
BOUNDARIES = sorted({*OBJECTS, "", "0", "a", "a/", "a/c", "a/c/", "a/c/d/x", "a/x", "b/a/a/", "zz", "é"})


@pytest.fixture
async def filled(opened):
    """A store with a few folders."""
    for key in OBJECTS:
        await opened.store.write(Key(key), BytesSource(key.encode()))
    return opened.store


def _level(prefix: str) -> list[str]:
    """What one level of OBJECTS shows, in the order of keys, a folder with its slash."""
    within = [
        keys.below(Key(key), Key(prefix)) for key in OBJECTS if key != prefix and keys.contains(prefix, key)
    ]
    heads = {name.partition("/")[0] + "/" * ("/" in name) for name in within}
    return sorted(f"{prefix}/{head}" if prefix else head for head in heads)


async def test_an_empty_store_lists_nothing(store):
    assert await expect.shown(store) == []
    assert await expect.everything(store) == []


FOLDERS = ["", "a", "a/c", "b", "b/a/a", "aa"]


async def test_a_deep_listing_shows_all_objects_below(filled):
    for prefix in FOLDERS:
        found = await expect.everything(filled, prefix)
        assert sorted(entry.key for entry in found) == sorted(
            key for key in OBJECTS if keys.contains(Key(prefix), key)
        )
        for entry in found:
            assert entry.size == len(entry.key.encode())


async def test_a_shallow_listing_shows_one_level_of_objects_and_folders(filled):
    for prefix in FOLDERS:
        found = await expect.shown(filled, prefix)
        if filled.capabilities.sorted_list:
            assert [order(entry) for entry in found] == _level(prefix)
        assert sorted(order(entry) for entry in found) == _level(prefix)
        for entry in found:
            assert isinstance(entry, Prefix if order(entry).endswith("/") else ObjectMeta)


async def test_a_listing_says_what_stat_says(filled):
    for entry in await expect.everything(filled):
        found = await filled.stat(entry.key)
        assert (entry.size, entry.etag) == (found.size, found.etag)
        assert abs(entry.modified - found.modified) < 2


async def test_a_missing_prefix_is_empty(filled):
    for prefix in ("missing", "a/missing", "a/b", "a-b", "z/below", "a-"):
        assert await expect.shown(filled, prefix) == [], prefix
        assert await expect.everything(filled, prefix) == [], prefix


async def test_a_prefix_is_taken_by_whole_segments(filled):
    assert {entry.key for entry in await expect.everything(filled, "a")} == {
        key for key in OBJECTS if key.startswith("a/")
    }


async def test_after_leaves_out_what_is_not_behind_it(filled):
    for prefix, deep in product(("", "a", "a/c"), (False, True)):
        places = [order(entry) async for entry in filled.list(Key(prefix), deep)]
        for after in BOUNDARIES:
            left = [order(entry) async for entry in filled.list(Key(prefix), deep, after)]
            assert left == [place for place in places if place > after], (prefix, deep, after)


async def test_pages_put_together_are_the_listing_in_the_order_of_keys(filled):
    for limit, deep in product((1, 2, 3, 100), (False, True)):
        whole = sorted([entry async for entry in filled.list(ROOT, deep)], key=order)
        pages, after = [], None
        while True:
            entries, after = await page(filled, ROOT, deep=deep, after=after, limit=limit)
            pages.append(entries)
            if after is None:
                break
        assert [order(entry) for entries in pages for entry in entries] == [order(entry) for entry in whole]
        assert all(len(entries) == limit for entries in pages[:-1])
        assert 1 <= len(pages[-1]) <= limit


async def test_a_page_that_holds_everything_is_the_last(filled):
    entries, after = await page(filled, ROOT, deep=True, limit=len(OBJECTS))
    assert (len(entries), after) == (len(OBJECTS), None)


async def test_what_was_there_all_the_time_is_shown_while_others_come_and_go(opened):
    stay = {f"stay/{number:02}" for number in range(8)} | {f"{number:02}/stay" for number in range(4)}
    for key in stay:
        await opened.store.write(Key(key), BytesSource(b"."))
    done = asyncio.Event()

    async def come_and_go():
        for number in range(10):
            key = Key(f"{number % 4:02}/passing")
            await opened.store.write(key, BytesSource(b"."))
            await opened.store.delete([key])
        done.set()

    async def look():
        while not done.is_set():
            found = {entry.key for entry in await expect.everything(opened.store)}
            assert stay <= found
            assert all(key.endswith("passing") for key in found - stay)

    await asyncio.gather(come_and_go(), come_and_go(), look())


async def test_a_listing_left_in_its_middle_does_no_harm(filled):
    async for _ in filled.list(ROOT, deep=True):
        break
    assert len(await expect.everything(filled)) == len(OBJECTS)


async def test_a_folder_is_gone_with_its_last_object(filled):
    await filled.delete([Key("b/a/a/a/a")])
    assert "b" not in {entry.key for entry in await expect.shown(filled)}


async def test_what_others_put_is_listed(opened):
    if opened.put is None:
        pytest.skip("there is no way around this store")
    for key in OBJECTS:
        opened.put(key, key.encode())
    assert sorted(entry.key for entry in await expect.everything(opened.store)) == sorted(OBJECTS)


async def test_what_a_write_left_undone_is_not_listed(opened):
    """Not even as a folder: those that were made on the way to a name the store doesn't take."""
    with expect.allowed(Kind.INVALID_KEY) as outcome:
        await opened.store.write(Key("new/folders/" + "n" * 300), BytesSource(b"."))
    assert len(await expect.shown(opened.store)) == (0 if outcome.error else 1)
