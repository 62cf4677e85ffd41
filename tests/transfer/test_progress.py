"""Progress adds up, whatever was tried again."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.transfer.ends import EVERY_WAY, SMALL_PARTS, fill, memory
from tests.transfer.test_failures import Garbling, Refusing

from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.layers import standard
from shoso.layers.faults import Faults
from shoso.stores.memory import MemoryStore
from shoso.transfer import Selection, copy

TOTAL = sum(map(len, EVERY_WAY.values()))


class Noting:
    """Notes what it's told."""

    def __init__(self):
        self.calls = Counter()
        self.ended = []
        self.bytes_moved = self.bytes_planned = self.bytes_skipped = 0

    def planned(self, key, size):
        self.calls["planned"] += 1
        self.bytes_planned += size

    def skipped(self, key, size):
        self.ended.append(key)
        self.bytes_skipped += size

    def moved(self, size):
        self.bytes_moved += size
        assert 0 <= self.bytes_moved <= self.bytes_planned

    def finished(self, key, size):
        self.ended.append(key)

    def failed(self, key, error):
        self.ended.append(key)


@pytest.fixture
async def src():
    store = memory()
    await fill(store, EVERY_WAY)
    return store


@pytest.fixture
def noting():
    return Noting()


async def test_all_that_is_planned_is_moved_and_finished(src, noting):
    await copy(src, memory(), Selection(), replace(SMALL_PARTS, progress=noting))
    assert (noting.bytes_planned, noting.bytes_moved) == (TOTAL, TOTAL)
    assert sorted(noting.ended) == sorted(EVERY_WAY)


async def test_what_is_unchanged_is_skipped(src, noting):
    dst = memory()
    await copy(src, dst, Selection(), SMALL_PARTS)
    await copy(src, dst, Selection(), replace(SMALL_PARTS, progress=noting))
    assert (noting.bytes_planned, noting.bytes_skipped, noting.bytes_moved) == (TOTAL, TOTAL, 0)
    assert sorted(noting.ended) == sorted(EVERY_WAY)


async def test_what_starts_over_is_counted_once(src, noting):
    await copy(src, Garbling(memory(), 3), Selection(), replace(SMALL_PARTS, progress=noting))
    assert (noting.bytes_moved, sorted(noting.ended)) == (TOTAL, sorted(EVERY_WAY))


async def test_what_is_retried_below_is_counted_once(src, noting):
    def now_and_then():
        for number in itertools.count():
            yield store_error(Kind.UNAVAILABLE, "Gone.", retry=Retry.SOON) if number % 5 == 4 else None

    dst = standard(Faults(MemoryStore(), now_and_then()))
    await copy(src, dst, Selection(), replace(SMALL_PARTS, progress=noting))
    assert (noting.bytes_moved, sorted(noting.ended)) == (TOTAL, sorted(EVERY_WAY))


async def test_what_failed_has_ended_too(src, noting):
    dst = Refusing(memory(), lambda key: Kind.EXISTS if key.startswith("f0") else None)
    with suppress(StoreError):
        await copy(src, dst, Selection(), replace(SMALL_PARTS, progress=noting))
    assert sorted(noting.ended) == sorted(EVERY_WAY)
    assert noting.bytes_moved == sum(
        len(data) for path, data in EVERY_WAY.items() if not path.startswith("f0")
    )
