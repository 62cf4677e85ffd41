"""faults: misbehaves to order, at every call, every buffer and every entry."""

from __future__ import annotations

import pytest
from tests.conformance import expect
from tests.layers.stubs import KEY, Limited, dropped, filled

from shoso.core.keys import ROOT
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.errors import Kind, Retry
from shoso.layers import faults
from shoso.layers.faults import Faults


@pytest.fixture
async def inner():
    """A store with an object of two buffers."""
    return await filled(Limited(), folder__object=b"." * 2 * CHUNK, other=b".")


async def test_an_exhausted_plan_lets_everything_pass(inner):
    store = Faults(inner, iter([]))
    assert len(await read_bytes(store, KEY)) == 2 * CHUNK
    assert len([entry async for entry in store.list(ROOT)]) == 2
    await store.write(KEY, BytesSource(b"."))


async def test_a_call_draws_once(inner):
    store = Faults(inner, iter([None, dropped(), None]))
    await store.stat(KEY)
    with expect.failure(Kind.UNAVAILABLE):
        await store.write(KEY, BytesSource(b"new"))
    assert (await store.stat(KEY)).size == 2 * CHUNK


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_read_draws_to_open_and_for_each_buffer(inner, place):
    store = Faults(inner, iter([*[None] * place, dropped()]))
    got = 0
    with expect.failure(Kind.UNAVAILABLE):
        async with await store.read(KEY) as reading:
            async for data in reading.body:
                got += len(data)
    assert got == max(0, place - 1) * CHUNK


async def test_a_listing_draws_for_each_entry(inner):
    store = Faults(inner, iter([None, dropped()]))
    found = []
    with expect.failure(Kind.UNAVAILABLE):
        async for entry in store.list(ROOT):
            found.append(entry.key)
    assert found == ["folder"]


async def test_uploads_draw_too(inner):
    store = Faults(inner, iter([dropped()]))
    with expect.failure(Kind.UNAVAILABLE):
        await store.uploads.begin(KEY)


def test_a_lost_connection_may_be_tried_again():
    assert (faults.dropped().kind, faults.dropped().retry) == (Kind.UNAVAILABLE, Retry.SOON)
