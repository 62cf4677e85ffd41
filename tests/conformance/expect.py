"""What every test of a store asks for: whole objects, absent ones, errors of a kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.conformance.subjects import Opened

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import Store, exists, read_bytes
from shoso.core.types import Entry, ObjectMeta
from shoso.errors import Kind, NotFound, StoreError


@contextmanager
def failure(*kinds: Kind) -> Iterator[pytest.ExceptionInfo[StoreError]]:
    """The block raises a StoreError of one of these kinds, with a sentence to it."""
    with pytest.raises(StoreError) as caught:
        yield caught
    assert caught.value.kind in kinds, caught.value
    assert caught.value.message


class Outcome:
    """How the block of `allowed` ended: its error, if it failed."""

    error: StoreError | None = None


@contextmanager
def allowed(*kinds: Kind) -> Iterator[Outcome]:
    """The block works, or raises a StoreError of one of these kinds; which of both is the store's choice."""
    outcome = Outcome()
    try:
        yield outcome
    except StoreError as error:
        if error.kind not in kinds:
            raise
        outcome.error = error


async def whole(opened: Opened, key: str, data: bytes) -> ObjectMeta:
    """The object is exactly `data`, by read, stat and listing, and behind the store's back."""
    meta = await opened.store.stat(Key(key))
    assert (meta.key, meta.size) == (key, len(data))
    assert await read_bytes(opened.store, Key(key)) == data
    assert [entry.size for entry in await everything(opened.store) if entry.key == key] == [len(data)]
    assert opened.get is None or opened.get(key) == data
    if meta.digest is not None:
        assert meta.digest == digest(data)
    return meta


async def absent(opened: Opened, key: str) -> None:
    """There is no such object, by stat, read and listing, and behind the store's back."""
    assert not await exists(opened.store, Key(key))
    with pytest.raises(NotFound):
        await opened.store.read(Key(key))
    assert key not in [entry.key for entry in await everything(opened.store)]
    assert opened.get is None or opened.get(key) is None


async def everything(store: Store, prefix: str = ROOT) -> list[ObjectMeta]:
    """All objects, deep; sorted where the store says that it sorts."""
    entries = [entry async for entry in store.list(Key(prefix), deep=True)]
    assert all(isinstance(entry, ObjectMeta) for entry in entries)
    found = [entry.key for entry in entries]
    assert len(found) == len(set(found))
    if store.capabilities.sorted_list:
        assert found == sorted(found)
    return [entry for entry in entries if isinstance(entry, ObjectMeta)]


async def shown(store: Store, prefix: str = ROOT) -> list[Entry]:
    """One level."""
    return [entry async for entry in store.list(Key(prefix))]
