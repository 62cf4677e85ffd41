"""What can be said with the contract: pages, trees, small objects."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoso.core import store as sugar
from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, exists, order, page, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import Capabilities, FromTo, ObjectMeta, Prefix
from shoso.errors import Kind, StoreError
from shoso.layers import rooted, standard
from shoso.stores.memory import MemoryStore

NAMES = st.sampled_from(["a", "a-b", "a.b", "a0", "b", "c"])
KEYS = st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=15)


class Unsorted(MemoryStore):
    """Lists in any order, and says so."""

    capabilities = Capabilities(sorted_list=False)

    async def list(self, prefix, deep=False, after=None):
        found = [entry async for entry in super().list(prefix, deep, after)]
        random.Random(len(found)).shuffle(found)
        for entry in found:
            yield entry


async def _filled(store, names):
    for name in names:
        await store.write(Key(name), BytesSource(name.encode()))
    return store


@pytest.mark.parametrize("kind", [MemoryStore, Unsorted])
@given(names=KEYS, limit=st.integers(1, 5), deep=st.booleans())
async def test_pages_show_everything_once_in_the_order_of_keys(kind, names, limit, deep):
    store = await _filled(kind(), names)
    got, after, pages = [], None, 0
    while True:
        entries, after = await page(store, ROOT, deep=deep, after=after, limit=limit)
        got += map(order, entries)
        pages += 1
        assert len(entries) <= limit
        if after is None:
            break
        assert after == got[-1]
    assert got == sorted(set(got))
    assert got == sorted([order(entry) async for entry in store.list(ROOT, deep)])
    assert pages == max(1, -(-len(got) // limit))


async def test_a_page_ends_after_its_time_with_what_has_come():
    class Slow(MemoryStore):
        async def list(self, prefix, deep=False, after=None):
            async for entry in super().list(prefix, deep, after):
                await asyncio.sleep(0.02)
                yield entry

    store = await _filled(Slow(), ["a", "b", "c"])
    got, after = [], None
    for _ in range(3):
        entries, after = await page(store, ROOT, after=after, limit=100, seconds=0)
        assert len(entries) == 1
        got += entries
    assert after is None
    assert [entry.key for entry in got] == ["a", "b", "c"]


async def test_a_page_lets_go_of_the_listing_it_cut_off():
    closed = []

    class Watched(MemoryStore):
        async def list(self, prefix, deep=False, after=None):
            try:
                async for entry in super().list(prefix, deep, after):
                    yield entry
            finally:
                closed.append(True)

    store = await _filled(Watched(), "abcd")
    await page(store, ROOT, limit=2)
    assert closed == [True]


def test_a_folder_sorts_where_its_contents_would():
    entries = [Prefix(Key("a")), *(ObjectMeta(Key(key), 0, 0.0) for key in ("a-b", "a.b", "a0", "a/b"))]
    assert [order(entry) for entry in sorted(entries, key=order)] == ["a-b", "a.b", "a/", "a/b", "a0"]


async def test_small_objects_come_at_once():
    store = await _filled(MemoryStore(), ["a"])
    assert await read_bytes(store, Key("a")) == b"a"
    assert await exists(store, Key("a"))
    assert not await exists(store, Key("b"))
    await store.write(Key("b"), BytesSource(b"0123"))
    assert await read_bytes(store, Key("b"), FromTo(1, 3)) == b"12"


@given(names=KEYS, prefix=st.sampled_from(["a", "a/b", "b", "c/c"]))
async def test_delete_tree_takes_what_is_at_or_below_and_no_more(names, prefix):
    store = await _filled(MemoryStore(), names)
    await delete_tree(store, Key(prefix))
    assert set(store.objects) == {name for name in names if not f"{name}/".startswith(f"{prefix}/")}


async def test_delete_tree_of_everything_is_refused_before_anything_is_gone(monkeypatch):
    monkeypatch.setattr(sugar, "DELETE_BATCH", 2)
    bare = await _filled(MemoryStore(), "abcde")
    with pytest.raises(StoreError) as caught:
        await delete_tree(standard(bare), ROOT)
    assert caught.value.kind is Kind.INVALID_KEY
    assert len(bare.objects) == 5


async def test_delete_tree_of_everything_in_a_folder_is_that_folder(monkeypatch):
    monkeypatch.setattr(sugar, "DELETE_BATCH", 2)
    bare = await _filled(MemoryStore(), ["run/a", "run/b", "run/c/d", "runs", "other/a"])
    await delete_tree(rooted(standard(bare), Key("run")), ROOT)
    assert set(bare.objects) == {"runs", "other/a"}
