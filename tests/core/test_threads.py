"""Work in threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest

from shoso.core.threads import Threads

NAME = "shoso-test"


@pytest.fixture
def threads():
    started = Threads(4, NAME)
    yield started
    started.close(5)


def alive() -> int:
    return sum(thread.name.startswith(NAME) for thread in threading.enumerate())


@pytest.mark.parametrize("work", [threading.get_ident, lambda: 1 / 0])
def test_work_in_a_row_stays_in_one_thread(threads, work):
    """Each piece brings the next one as soon as its result is known."""
    done, left = threading.Event(), 50

    def go_on(_: Future[int] | None) -> None:
        nonlocal left
        left -= 1
        if left:
            threads.submit(work).add_done_callback(go_on)
        else:
            done.set()

    go_on(None)
    assert done.wait(10)
    assert alive() == 1


def test_work_that_is_given_up_leaves_its_thread_free(threads):
    held = threading.Event()
    first = [threads.submit(held.wait) for _ in range(4)]
    given_up = [threads.submit(held.wait) for _ in range(20)]
    assert all(future.cancel() for future in given_up)
    held.set()
    together = threading.Barrier(4)
    waiting = [threads.submit(together.wait, 5) for _ in range(4)]
    assert sorted(future.result() for future in waiting) == [0, 1, 2, 3]
    assert all(future.result() for future in first)


def test_work_at_once_has_a_thread_each_up_to_the_most(threads):
    together = threading.Barrier(4)
    waiting = [threads.submit(together.wait, 5) for _ in range(4)]
    assert sorted(future.result() for future in waiting) == [0, 1, 2, 3]
    for future in [threads.submit(time.sleep, 0.01) for _ in range(20)]:
        future.result()
    assert alive() == 4
