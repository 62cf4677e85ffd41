"""The values of the contract: ranges resolve to bytes that exist; a reading is closed by leaving it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance import expect

from shoso.core import types
from shoso.core.keys import Key
from shoso.core.types import ALL, Capabilities, From, FromTo, Last, ObjectMeta, Reading, span
from shoso.errors import Kind, StoreError

NUMBER = st.integers(0, 12)
RANGES = st.one_of(st.builds(FromTo, NUMBER, NUMBER), st.builds(From, NUMBER), st.builds(Last, NUMBER))


def _meant(wanted, size: int) -> list[int]:
    """The places that a range names, by its words, one by one."""
    match wanted:
        case FromTo(start, stop):
            return [place for place in range(size) if start <= place < stop]
        case From(start):
            return [place for place in range(size) if place >= start]
        case Last(count):
            return [place for place in range(size) if size - place <= count]


@given(RANGES, st.integers(0, 10))
def test_a_span_is_exactly_the_bytes_that_were_meant(wanted, size):
    with expect.allowed(Kind.RANGE) as outcome:
        start, stop = span(wanted, size)
        assert 0 <= start <= stop <= size
        assert list(range(start, stop)) == _meant(wanted, size)
    assert not outcome.error or not _meant(wanted, size)


def test_all_of_an_empty_object_is_nothing():
    assert span(ALL, 0) == (0, 0)


@pytest.mark.parametrize("wanted", [From(1), FromTo(0, 0), FromTo(0, 5), Last(0), Last(5)])
def test_any_other_range_of_an_empty_object_is_refused(wanted):
    with pytest.raises(StoreError) as caught:
        span(wanted, 0)
    assert caught.value.kind is Kind.RANGE
    assert "0 bytes" in caught.value.message


@pytest.mark.parametrize("wanted", [From(-1), FromTo(-1, 5), FromTo(-5, -1), Last(-1)])
def test_a_negative_number_names_no_byte(wanted):
    with expect.failure(Kind.RANGE):
        span(wanted, 10)


async def test_leaving_a_reading_closes_it_even_by_an_exception():
    closed = []

    async def close():
        closed.append(True)

    async def body():
        yield b"a"

    meta = ObjectMeta(Key("a"), 1, 0.0)
    with pytest.raises(ZeroDivisionError):
        async with Reading(meta, 0, 1, body(), close):
            raise ZeroDivisionError
    assert closed == [True]


VALUES = [
    value
    for value in vars(types).values()
    if isinstance(value, type) and dataclasses.is_dataclass(value) and value is not Reading
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_values_are_frozen_and_slotted(value):
    assert value.__dataclass_params__.frozen
    assert "__slots__" in vars(value)


def test_every_capability_is_explained():
    for field in dataclasses.fields(Capabilities):
        assert field.name.split("_")[0] in (Capabilities.__doc__ or "")
