"""A move that takes long is heard of while it goes on, and how it ended is said in the end."""

from __future__ import annotations

import asyncio
import json

import pytest

from shoso.errors import Kind, StoreError, store_error
from shoso.server import objects


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A beat is short here."""
    monkeypatch.setattr(objects, "PAGE_SECONDS", 0.05)


async def _lasting(seconds: float, failure: Exception | None = None) -> None:
    await asyncio.sleep(seconds)
    if failure is not None:
        raise failure


def _full() -> StoreError:
    return store_error(Kind.NO_SPACE, "The disk is full.", key="a")


async def test_a_blank_comes_now_and_then_and_the_end_is_json():
    assert [piece async for piece in objects.told_in_time(_lasting(0))] == [b"{}"]
    *blanks, end = [piece async for piece in objects.told_in_time(_lasting(0.18))]
    assert blanks
    assert set(blanks) == {b" "}
    assert json.loads(b"".join([*blanks, end])) == {}


async def test_a_failure_is_a_reply_of_its_own_at_first_and_later_in_the_end_of_it():
    with pytest.raises(StoreError) as caught:
        [piece async for piece in objects.told_in_time(_lasting(0, _full()))]
    assert caught.value.kind is Kind.NO_SPACE
    told = b"".join([piece async for piece in objects.told_in_time(_lasting(0.12, _full()))])
    assert json.loads(told) == {"failure": {"key": "a", "kind": "no_space", "message": "The disk is full."}}
    with pytest.raises(ZeroDivisionError):
        [piece async for piece in objects.told_in_time(_lasting(0.12, ZeroDivisionError()))]


async def test_a_move_ends_with_the_client_who_wanted_it():
    ended = asyncio.Event()

    async def moving() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    told = objects.told_in_time(moving())
    assert await anext(told) == b" "
    await told.aclose()
    assert ended.is_set()
