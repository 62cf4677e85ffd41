"""A moved object is whole at its old key or at its new one, at every moment; a move can be repeated."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.conformance import expect
from tests.conformance.test_names import NAMES

from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind, NotFound

DATA = b"an object with a history"
MANY = 24

pytestmark = pytest.mark.usefixtures("movable")


@pytest.fixture
def movable(store):
    """Only for stores that can move."""
    if not store.capabilities.move:
        pytest.skip("the store says that it can't move objects")


async def _shown(store, prefix: str = ROOT) -> set[str]:
    return {entry.key for entry in await expect.shown(store, prefix)}


async def test_a_moved_object_takes_along_all_that_is_known_of_it(opened):
    store = opened.store
    await store.write(Key("run/model/a"), BytesSource(DATA), content_type="text/x-history")
    await store.write(Key("run/model/empty"), BytesSource(b""))
    await store.write(Key("trash/1/model/a"), BytesSource(b"what is there is replaced"))
    before = await store.stat(Key("run/model/a"))
    moved = [(Key(f"run/model/{name}"), Key(f"trash/1/model/{name}")) for name in ("a", "empty")]
    await store.move(moved)
    after = await expect.whole(opened, "trash/1/model/a", DATA)
    assert (after.digest, after.content_type) == (before.digest, before.content_type)
    await expect.whole(opened, "trash/1/model/empty", b"")
    await expect.absent(opened, "run/model/a")
    assert await _shown(store) == {"trash"}
    await store.move([(target, key) for key, target in moved])
    assert await expect.whole(opened, "run/model/a", DATA) == await store.stat(Key("run/model/a"))
    assert await _shown(store) == {"run"}
    await store.move([])


async def test_a_move_that_broke_off_is_made_again(opened):
    store = opened.store
    for key in ("moved/new", "both/old", "both/new", "waits/old", "folder/a", "file"):
        await store.write(Key(key), BytesSource(key.encode()))
    asked = [(Key(f"{name}/old"), Key(f"{name}/new")) for name in ("moved", "both", "waits", "nowhere")] + [
        (Key("folder"), Key("folder/other"))
    ]
    for _ in range(2):
        with expect.failure(Kind.NOT_FOUND) as caught:
            await store.move(asked)
        assert "'nowhere/old'" in caught.value.message or "'folder'" in caught.value.message
    left = {entry.key for entry in await expect.everything(store)}
    assert left == {"moved/new", "both/new", "waits/new", "folder/a", "file"}
    await expect.whole(opened, "moved/new", b"moved/new")
    await expect.whole(opened, "both/new", b"both/old")
    await expect.whole(opened, "waits/new", b"waits/old")
    for target in (
        "folder",
        "file/below",
    ):  # as a write: an object store has no folders that could be in the way
        with expect.allowed(Kind.EXISTS) as outcome:
            await store.move([(Key("waits/new"), Key(target))])
        held = "waits/new" if outcome.error else target
        await expect.whole(opened, held, b"waits/old")
        await store.move([(Key(held), Key("waits/new"))] if held != "waits/new" else [])
    assert await _shown(store) == {"moved", "both", "waits", "folder", "file"}


async def test_names_are_moved_as_they_are(opened):
    last = {group[-1] for group in NAMES.values()} | {"%41", "a*b", "back\\slash", "-dash"}
    names = {name for name in last - opened.refused if len(name.encode()) < keys.MAX_BYTES - len("to/below/")}
    for name in names:
        await opened.store.write(keys.parse(f"from/{name}"), BytesSource(name.encode()))
    moves = [(keys.parse(f"from/{name}"), keys.parse(f"to/below/{name}")) for name in names]
    await opened.store.move(moves)
    assert {entry.key for entry in await expect.everything(opened.store)} == {target for _, target in moves}
    assert await _shown(opened.store) == {"to"}
    for key, target in moves[::5]:
        assert await read_bytes(opened.store, target) == key.removeprefix("from/").encode()


async def test_many_are_moved_by_two_at_once_and_found_at_every_moment(opened):
    moves = [(Key(f"a/{place % 3}/{place}"), Key(f"b/{place % 3}/{place}")) for place in range(MANY)]
    write = asyncio.Semaphore(8)

    async def fill(key: Key) -> None:
        async with write:
            await opened.store.write(key, BytesSource(key.encode()))

    await asyncio.gather(*(fill(key) for key, _ in moves))
    moving = asyncio.gather(*(_moved(opened, moves) for _ in range(2)))
    async with opened.again() as other:
        for key, target in itertools.cycle(moves):
            await asyncio.sleep(0)  # a store in memory never waits
            if moving.done():
                break
            assert await _found(other, key, target) == key.encode()
    await moving
    assert {entry.key for entry in await expect.everything(opened.store)} == {target for _, target in moves}
    assert await _shown(opened.store) == {"b"}


async def _moved(opened, moves) -> None:
    async with opened.again() as store:
        await store.move(moves)


async def _found(store, key: Key, target: Key) -> bytes:
    """The object, at its old key or, if it isn't there, at its new one."""
    try:
        return await read_bytes(store, key)
    except NotFound:
        return await read_bytes(store, target)
