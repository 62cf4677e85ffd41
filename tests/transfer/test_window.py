"""The window: so many jobs and bytes at once, in the order of asking, and room that always comes back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoso.transfer.window import Window, crew


class Busy:
    """Jobs that note how many of them there are at once."""

    def __init__(self):
        self.jobs = self.size = 0
        self.most = []
        self.order = []

    async def work(self, number, size):
        self.jobs += 1
        self.size += size
        self.order.append(number)
        self.most.append((self.jobs, self.size))
        for _ in range(number % 5 + 1):
            await asyncio.sleep(0)
        self.jobs -= 1
        self.size -= size


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=40), st.integers(1, 5), st.integers(1, 60))
async def test_jobs_and_bytes_at_once_are_bounded(sizes, count, most):
    window, busy = Window(count, most), Busy()
    async with crew() as group:
        for number, size in enumerate(sizes):
            await window.start(group, size, busy.work(number, size))
    assert busy.order == [*range(len(sizes))]
    for jobs, size in busy.most:
        assert jobs == 1 or (jobs <= count and size <= most)


async def test_whoever_asks_first_starts_first():
    window, busy = Window(2, 100), Busy()

    async def asking(number):
        async with crew() as group:
            await window.start(group, 60, busy.work(number, 60))

    async with crew() as group:
        for number in range(5):
            group.create_task(asking(number))
    assert busy.order == [0, 1, 2, 3, 4]


async def failing():
    raise ValueError


async def test_the_room_of_jobs_that_fail_or_never_begin_comes_back():
    window, busy = Window(3, 10), Busy()

    async def broken_off():
        async with crew() as group:
            await window.start(group, 1, failing())
            for number in range(9):
                await window.start(group, 5, busy.work(number, 5))

    for _ in range(5):
        with pytest.raises(ValueError):  # by itself, not in a group
            await broken_off()
    async with asyncio.timeout(20), crew() as group:
        await window.start(group, 10, busy.work(0, 10))
