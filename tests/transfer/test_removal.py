"""Removal deletes what is named, and nothing else."""

from __future__ import annotations

import pytest
from tests.transfer.ends import close, fill, listed, local, memory

from shoso.core.keys import Key
from shoso.errors import Kind, NotFound, StoreError
from shoso.stores.memory import MemoryStore
from shoso.transfer import Policy, Selection, remove
from shoso.transfer.progress import Silent

TREE = {"a/x.bin": b"12", "a/b/y.log": b"345", "ab": b"6", "c/z": b"7"}


@pytest.fixture
async def store():
    store = memory()
    await fill(store, TREE)
    return store


async def left(store) -> set[str]:
    return {meta.key for meta in await listed(store)}


async def test_a_folder_goes_and_nothing_beside_it(store):
    done = await remove(store, Selection(Key("a")))
    assert (done.removed, done.size) == (2, 5)
    assert await left(store) == {"ab", "c/z"}


async def test_an_object_goes(store):
    assert (await remove(store, Selection(Key("ab")))).removed == 1
    assert await left(store) == set(TREE) - {"ab"}


async def test_only_what_is_selected_goes(store):
    assert (await remove(store, Selection(Key("a"), include=("*.log",)))).removed == 1
    assert (await remove(store, Selection(exclude=("*.bin", "ab")))).removed == 1
    assert await left(store) == {"a/x.bin", "ab"}


async def test_a_dry_run_finds_it_and_touches_nothing(store):
    told = []

    class Told(Silent):
        def planned(self, key, size):
            told.append((key, size))

    done = await remove(store, Selection(Key("a")), Policy(dry_run=True, progress=Told()))
    assert (done.removed, done.size) == (2, 5)
    assert sorted(told) == [("a/b/y.log", 3), ("a/x.bin", 2)]
    assert await left(store) == set(TREE)


async def test_nothing_of_that_name_is_an_error(store):
    with pytest.raises(NotFound):
        await remove(store, Selection(Key("absent")))
    assert (await remove(store, Selection(Key("a"), include=("*.absent",)))).removed == 0


async def test_many_go_in_batches(store, monkeypatch):
    monkeypatch.setattr("shoso.transfer.removal.DELETE_BATCH", 3)
    await fill(store, {f"many/{number}": b"" for number in range(7)})
    assert (await remove(store, Selection(Key("many")))).removed == 7
    assert await left(store) == set(TREE)


async def test_the_folder_itself_goes_too(tmp_path):
    store = local(tmp_path)
    await fill(store, TREE)
    await remove(store, Selection(Key("a")))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".shoso") == ["ab", "c"]
    await close(store)


async def test_what_cant_be_deleted_is_named_when_the_rest_is_gone(monkeypatch):
    class Stubborn(MemoryStore):
        async def delete(self, keys):
            await super().delete([key for key in keys if key != "many/3"])
            if "many/3" in keys:
                raise self.error(Kind.FORBIDDEN, "delete", keys[0], "is not yours")

    monkeypatch.setattr("shoso.transfer.removal.DELETE_BATCH", 2)
    inner = Stubborn()
    await fill(inner, TREE | {f"many/{number}": b"" for number in range(7)})
    with pytest.raises(StoreError, match="is not yours"):
        await remove(memory(inner), Selection(Key("many")))
    assert await left(inner) == {*TREE, "many/3"}


async def test_nobody_goes_on_where_nothing_can_be_deleted(monkeypatch):
    class Locked(MemoryStore):
        calls = 0

        async def delete(self, keys):
            self.calls += 1
            raise self.error(Kind.UNAUTHENTICATED, "delete", keys[0], "is not yours")

    monkeypatch.setattr("shoso.transfer.removal.DELETE_BATCH", 1)
    inner = Locked()
    await fill(inner, TREE)
    with pytest.raises(StoreError, match="is not yours"):
        await remove(memory(inner), Selection(exclude=("ab",)))
    assert inner.calls == 1
