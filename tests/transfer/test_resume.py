"""A copy that broke off at any point goes on when it is made again: everything there, nothing left behind."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.transfer.ends import (
    KIB,
    SMALL_PARTS,
    Undigested,
    content,
    digests,
    fill,
    memory,
    pending,
    some_bytes,
)

from shoso.errors import Kind, StoreError, store_error
from shoso.layers.faults import Faults
from shoso.layers.layer import Layer
from shoso.transfer import Selection, copy

TREE = {"small": b"s", "other": b"o" * 1000, "medium": some_bytes(150 * KIB), "large": some_bytes(300 * KIB)}
LARGE = {"large": some_bytes(1000 * KIB)}


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


def lost() -> StoreError:
    return store_error(Kind.UNAVAILABLE, "The network is gone (injected).")


class Late(Faults):
    """Breaks a call when it has been carried out: only its reply is lost."""

    async def call(self, op, key, attempt, source=None):
        result = await self.inner_call(op, key, attempt, source)
        self._draw()
        return result

    async def inner_call(self, op, key, attempt, source):
        return await Layer.call(self, op, key, attempt, source)


class Counting(Faults):
    """Counts the calls, and breaks none."""

    def __init__(self, inner):
        super().__init__(inner, iter([]))
        self.calls = 0

    def _draw(self):
        self.calls += 1


def dead_from(call, error):
    """Lets so many calls pass, and none that follows."""
    return itertools.chain([None] * call, (error() for _ in itertools.count()))


def once_at(call, error):
    """Breaks one call."""
    return iter([*[None] * call, error()])


@pytest.fixture
def policy(tmp_path):
    """A policy with a journal."""
    return replace(SMALL_PARTS, journal=tmp_path / "journals")


async def calls_of(end) -> int:
    """How many calls a whole copy makes on one of its ends."""
    src, dst = memory(), memory()
    await fill(src, TREE)
    counting = Counting(src if end == "src" else dst)
    await copy(*(counting, dst) if end == "src" else (src, counting), Selection(), SMALL_PARTS)
    assert counting.calls >= 10
    return counting.calls


@pytest.mark.parametrize("end", ["src", "dst"])
@pytest.mark.parametrize("layer", [Faults, Late])
@pytest.mark.parametrize("shape", [dead_from, once_at])
@pytest.mark.parametrize("error", [lost, Killed])
@pytest.mark.parametrize("digested", [True, False], ids=["digests", "versions"])
async def test_a_copy_that_broke_off_at_any_call_is_gone_on_with(end, layer, shape, error, digested, policy):
    for call in range(await calls_of(end)):
        src, dst = (memory(None if digested else Undigested()) for _ in range(2))
        await fill(src, TREE)
        faulty = layer(src if end == "src" else dst, shape(call, error))
        with suppress(StoreError, Killed):
            await copy(*(faulty, dst) if end == "src" else (src, faulty), Selection(), policy)
        halves = (await content(dst)).items() - digests(TREE).items()
        await copy(src, dst, Selection(), policy)
        assert (halves, await content(dst), await pending(dst)) == (set(), digests(TREE), []), call
