"""A copy that keeps what was written later at its end, and the comparison of both ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.transfer.ends import EVERY_WAY, HURRIED, Undigested, fill, memory

from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE
from shoso.layers import standard
from shoso.layers.layer import Layer
from shoso.stores.memory import MemoryStore
from shoso.transfer import Policy, Selection, Unchanged, compare, copy

KEEPING = Policy(unchanged=Unchanged.KEEP)


def held(store: MemoryStore) -> dict[str, bytes]:
    """What is in it."""
    return {key: bytes(data) for key, (_, data) in store.objects.items()}


def older(store: MemoryStore, key: str, seconds: float) -> None:
    """Make an object older."""
    meta, data = store.objects[Key(key)]
    store.objects[Key(key)] = (replace(meta, modified=meta.modified - seconds), data)


async def test_what_was_written_later_at_the_destination_stays_and_what_was_not_is_replaced():
    inner, other = MemoryStore(), MemoryStore()
    await fill(inner, {"missing": b"1", "changed here": b"new", "changed there": b"base", "same": b"s"})
    await fill(other, {"changed here": b"base!", "changed there": b"later", "same": b"s", "own": b"o"})
    older(other, "changed here", 9)
    older(inner, "changed there", 9)
    report = await copy(memory(inner), memory(other), Selection(), KEEPING)
    assert (report.copied, report.skipped) == (2, 2)
    assert held(other) == {
        "missing": b"1", "changed here": b"new", "changed there": b"later", "same": b"s", "own": b"o",
    }  # fmt: skip


async def test_by_the_journal_a_copy_is_told_from_what_was_written_over_it(tmp_path):
    inner, other = Undigested("far"), Undigested("far")
    here, there = standard(inner, HURRIED), standard(other, HURRIED)
    journaled = Policy(journal=tmp_path)
    await fill(inner, {"overwritten": b"base", "rewritten": b"base"})
    await copy(here, there, Selection(), journaled)
    await fill(other, {"overwritten": b"newer"})
    await fill(inner, {"rewritten": b"newer"})
    older(other, "overwritten", 99)  # by a clock that is slow
    older(inner, "rewritten", 99)
    await copy(here, there, Selection(), replace(journaled, unchanged=Unchanged.KEEP))
    assert held(other) == {"overwritten": b"newer", "rewritten": b"newer"}


class Hasty(Layer):
    """A store to which somebody else writes, just before us, what we are about to."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.modes: list[object] = []

    async def write(self, key, source, mode=None, content_type=None):
        """See Store."""
        self.modes.append(mode)
        if len(self.modes) == 1:
            await self.inner.write(key, BytesSource(b"somebody else's"))
        return await super().write(key, source, mode, content_type)


@pytest.mark.parametrize("there", [{}, {"a": b"base!"}], ids=["new", "changed"])
async def test_what_somebody_writes_there_in_the_last_moment_stays(there):
    inner, other = MemoryStore(), MemoryStore()
    await fill(other, there)
    await fill(inner, {"a": b"ours"})
    hasty = Hasty(other)
    report = await copy(memory(inner), standard(hasty, HURRIED), Selection(), KEEPING)
    assert (report.copied, report.skipped, len(hasty.modes)) == (0, 1, 1)
    assert (hasty.modes[0] is CREATE) == (there == {})
    assert held(other) == {"a": b"somebody else's"}


@pytest.mark.parametrize("kind", [MemoryStore, Undigested])
async def test_both_ends_are_compared_by_digests_and_what_differs_is_named(kind):
    inner, other = MemoryStore(), kind()
    await fill(inner, EVERY_WAY | {"missing": b"1", "other size": b"22", "other bytes": b"333"})
    await fill(other, EVERY_WAY | {"other size": b"2", "other bytes": b"334", "own": b"o"})
    agreed = []

    async def note(metas):
        agreed.extend(meta.key for meta in metas)

    found = await compare(memory(inner), standard(other, HURRIED), Selection(), Policy(), agreed=note)
    assert (found.agreed, found.size) == (len(EVERY_WAY), sum(map(len, EVERY_WAY.values())))
    assert sorted(agreed) == sorted(EVERY_WAY)
    assert {*found.different} == {"missing", "other size", "other bytes"}

    def newer(meta, there):
        return meta.key == "other bytes"

    found = await compare(memory(inner), standard(other, HURRIED), Selection(), Policy(), superseded=newer)
    assert {*found.different} == {"missing", "other size"}


class Unread(Undigested):
    """A store far away that nobody may read."""

    async def read(self, key, wanted=None, if_match=None):
        """See Store."""
        raise AssertionError(key)


async def test_what_the_journal_knows_is_not_read_again(tmp_path):
    inner, other = Undigested("far"), Unread("farther")
    here, there = standard(inner, HURRIED), standard(other, HURRIED)
    await fill(inner, EVERY_WAY)
    policy = Policy(journal=tmp_path)
    await copy(here, there, Selection(), policy)
    found = await compare(here, there, Selection(), policy)
    assert (found.agreed, found.different) == (len(EVERY_WAY), {})
