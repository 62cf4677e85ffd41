"""What a store says of itself, and how it ends."""

from __future__ import annotations

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource


async def test_a_store_says_who_it_is(store):
    assert store.info.scheme
    assert store.info.name


async def test_a_store_may_be_closed_again(opened):
    await opened.store.close()
    await opened.store.close()


async def test_closing_loses_nothing(opened):
    await opened.store.write(Key("kept"), BytesSource(b"kept"))
    async with opened.again() as other:
        await opened.store.close()
        assert await read_bytes(other, Key("kept")) == b"kept"
