"""Verification finds every byte that isn't what it should be, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.transfer.ends import EVERY_WAY, HURRIED, KIB, Undigested, fill, memory, some_bytes, some_tree

from shoso.core.keys import Key
from shoso.errors import Kind, NotFound
from shoso.layers import standard
from shoso.stores.memory import MemoryStore
from shoso.transfer import Policy, Selection, verify

SIZES = [10, 300 * KIB]
"""One that is read among others, one that is read by itself."""


def damage(store: MemoryStore, key: str) -> None:
    """Change a byte behind the store's back."""
    meta, data = store.objects[Key(key)]
    store.objects[Key(key)] = (meta, bytes([data[0] ^ 1]) + data[1:])


async def test_what_is_right_is_verified():
    store = memory()
    await fill(store, {f"run/{path}": data for path, data in EVERY_WAY.items()} | {"other": b"x"})
    report = await verify(store, Selection(Key("run")))
    assert (report.verified, report.unrecorded, report.failed) == (len(EVERY_WAY), 0, 0)
    assert report.size == sum(map(len, EVERY_WAY.values()))
    assert (await verify(store, Selection(Key("other")))).verified == 1


@pytest.mark.parametrize("size", SIZES)
async def test_a_changed_byte_is_found(size):
    inner = MemoryStore()
    await fill(inner, EVERY_WAY | {"bad": some_bytes(size)})
    damage(inner, "bad")
    report = await verify(memory(inner), Selection())
    assert (report.verified, report.failed) == (len(EVERY_WAY), 1)
    assert [(error.kind, error.key) for error in report.failures] == [(Kind.CORRUPT, "bad")]


async def test_what_no_digest_is_kept_of_is_read_and_said_so():
    store = standard(Undigested(), HURRIED)
    await fill(store, EVERY_WAY)
    report = await verify(store, Selection())
    assert (report.verified, report.unrecorded, report.failed) == (0, len(EVERY_WAY), 0)


async def test_a_folder_is_compared_with_its_copy():
    store, other = memory(), standard(Undigested(), HURRIED)
    await fill(store, {f"a/{path}": data for path, data in EVERY_WAY.items()})
    await fill(other, {f"b/{path}": data for path, data in EVERY_WAY.items()})
    report = await verify(store, Selection(Key("a"), Key("b")), other)
    assert (report.verified, report.unrecorded, report.failed) == (len(EVERY_WAY), 0, 0)


@pytest.mark.parametrize("size", SIZES)
async def test_a_copy_that_differs_or_is_missing_is_named(size):
    store, other = memory(), memory()
    await fill(store, EVERY_WAY | {"differs": some_bytes(size, 1), "only-here": some_bytes(size)})
    await fill(other, EVERY_WAY | {"differs": some_bytes(size, 2), "only-there": b"x"})
    report = await verify(store, Selection(), other)
    assert (report.verified, report.failed) == (len(EVERY_WAY), 3)
    found = {error.key: error for error in report.failures}
    assert set(found) == {"differs", "only-here", "only-there"}
    assert other.info.name in found["only-here"].message
    assert store.info.name in found["only-there"].message


async def test_only_what_is_selected_is_compared():
    store, other = memory(), memory()
    await fill(store, {"a.bin": b"1", "b.log": b"1", "c.log": b"1"})
    await fill(other, {"a.bin": b"1", "b.log": b"2", "d.log": b"2"})
    assert (await verify(store, Selection(exclude=("*.log",)), other)).failed == 0
    assert (await verify(store, Selection(include=("*.log",)), other)).failed == 3


async def test_what_cant_be_read_doesnt_hold_up_the_rest():
    class Unreadable(MemoryStore):
        async def read(self, key, *rest):
            if key == "bad":
                raise self.error(Kind.FORBIDDEN, "read", key, "is not yours")
            return await super().read(key, *rest)

        batches = None

    inner = Unreadable()
    await fill(inner, EVERY_WAY | {"bad": b"x"})
    report = await verify(memory(inner), Selection())
    assert (report.verified, report.failed) == (len(EVERY_WAY), 1)
    assert report.failures[0].kind is Kind.FORBIDDEN


async def test_nothing_of_that_name_is_an_error():
    store, empty = memory(), memory()
    await fill(store, {"a/b": b""})
    with pytest.raises(NotFound):
        await verify(store, Selection(Key("absent")))
    with pytest.raises(NotFound):
        await verify(store, Selection(Key("a"), Key("absent")), empty)


async def test_memory_stays_within_the_window():
    """No more objects are read at once than the policy allows."""
    reading = most = 0

    class Watched(MemoryStore):
        batches = None

        async def read(self, key, *rest):
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            found = await super().read(key, *rest)

            async def close():
                nonlocal reading
                reading -= 1

            return replace(found, close=close)

    inner = Watched()
    await fill(inner, some_tree(*[300 * KIB] * 12))
    report = await verify(memory(inner), Selection(), policy=Policy(parallel=3))
    assert report.verified == 12
    assert most == 3
    assert reading == 0
