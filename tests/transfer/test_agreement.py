"""A copy that writes over certain versions alone, and the comparison of both ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.transfer.ends import EVERY_WAY, HURRIED, Undigested, fill, memory

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE
from shoso.layers import standard
from shoso.layers.layer import Layer
from shoso.stores.memory import MemoryStore
from shoso.transfer import Policy, Selection, Settled, compare, copy
from shoso.transfer.journal import Done
from shoso.transfer.plan import version


def held(store: MemoryStore) -> dict[str, bytes]:
    """What is in it."""
    return {key: bytes(data) for key, (_, data) in store.objects.items()}


def versions(store: MemoryStore) -> dict[str, str]:
    """The version of each object."""
    return {key: version(meta) for key, (meta, _) in store.objects.items()}


async def test_only_the_versions_that_may_be_are_written_over_whatever_the_times():
    inner, other = MemoryStore(), MemoryStore()
    await fill(inner, {"missing": b"1", "may": b"new", "came": b"mine", "changed": b"new", "same": b"s"})
    await fill(other, {"may": b"base", "changed": b"base", "same": b"s", "own": b"o"})
    over = {**versions(other), "missing": ""}
    await fill(other, {"came": b"theirs", "changed": b"newer"})
    meta, data = other.objects[Key("changed")]
    other.objects[Key("changed")] = (replace(meta, modified=meta.modified - 99), data)
    report = await copy(memory(inner), memory(other), Selection(), Policy(over=over))
    assert (report.copied, report.skipped) == (2, 3)
    assert held(other) == {
        "missing": b"1", "may": b"new", "came": b"theirs", "changed": b"newer", "same": b"s", "own": b"o",
    }  # fmt: skip


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
    chosen = Policy(over={"a": "", **versions(other)})
    report = await copy(memory(inner), standard(hasty, HURRIED), Selection(), chosen)
    assert (report.copied, report.skipped, len(hasty.modes)) == (0, 1, 1)
    assert (hasty.modes[0] is CREATE) == (there == {})
    assert held(other) == {"a": b"somebody else's"}


@pytest.mark.parametrize("kind", [MemoryStore, Undigested])
async def test_both_ends_are_compared_by_digests_and_what_differs_is_named(kind):
    inner, other = MemoryStore(), kind()
    await fill(inner, EVERY_WAY | {"missing": b"1", "other size": b"22", "other bytes": b"333"})
    await fill(other, EVERY_WAY | {"other size": b"2", "other bytes": b"334", "own": b"o"})
    told: dict[str, Settled] = {}

    async def settle(group):
        told.update((one.path, one) for one in group)
        return [one.same or one.path == "other bytes" for one in group]

    found = await compare(memory(inner), standard(other, HURRIED), Selection(), Policy())
    assert (found.agreed, found.size) == (len(EVERY_WAY), sum(map(len, EVERY_WAY.values())))
    assert {*found.different} == {"missing", "other size", "other bytes"}
    found = await compare(memory(inner), standard(other, HURRIED), Selection(), Policy(), settle=settle)
    assert {*found.different} == {"missing", "other size"}
    assert {path for path, one in told.items() if one.same} == {*EVERY_WAY}
    assert all(one.digest == digest(EVERY_WAY[path]) for path, one in told.items() if one.same)


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

    async def recall(paths):
        return [Done(path, versions(inner)[path], versions(other)[path], None) for path in paths]

    found = await compare(here, there, Selection(), Policy(), recall=recall)
    assert (found.agreed, found.different) == (len(EVERY_WAY), {})
