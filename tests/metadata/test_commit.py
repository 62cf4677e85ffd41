"""Group commit: each write is whole and durable or its own error, whatever else is in the transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import asynccontextmanager, closing

import pytest
from sqlalchemy.exc import OperationalError

from shoso.errors import Kind, ShosoError, TrackingError
from shoso.metadata.commit import Job, Writers

INSERT = "INSERT INTO experiments (experiment_id, name) VALUES (?, ?)"


def add(conn, number):
    conn.exec_driver_sql(INSERT, (number, f"n{number}"))
    return number


def add_each(conn, numbers):
    for number in numbers:
        add(conn, number)
        if number < 0:
            raise ValueError(number)
    return [TrackingError(Kind.INVALID, "odd") if number % 2 else number for number in numbers]


def there(path):
    """What another program sees."""
    with closing(sqlite3.connect(path)) as raw:
        return [
            row[0] for row in raw.execute("SELECT experiment_id FROM experiments WHERE experiment_id != 0")
        ]


async def test_an_outcome_that_refuses_a_lone_item_is_its_error(database):
    with pytest.raises(TrackingError, match="odd"):
        await database.write_each(add_each, 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shoso.db"


@asynccontextmanager
async def held(database):
    """Let writes wait, so that they go into one transaction once the block ends."""
    started, go_on = threading.Event(), threading.Event()

    def wait(conn):
        started.set()
        assert go_on.wait(30)

    waiting = asyncio.ensure_future(database.write(wait))
    await asyncio.to_thread(started.wait)
    try:
        yield
    finally:
        go_on.set()
    await waiting


async def together(database, *calls):
    """The outcomes of calls that are in one transaction."""
    async with held(database):
        tasks = [asyncio.ensure_future(call) for call in calls]
        await asyncio.sleep(0)  # each task puts its write into the queue
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_write_that_has_returned_is_seen_by_others(database, path):
    assert await database.write(add, 1) == 1
    assert there(path) == [1]


async def test_a_write_takes_named_arguments(database, path):
    assert await database.write(add, number=1) == 1
    assert there(path) == [1]


async def test_writes_that_wait_are_one_transaction(database, path):
    versions = []

    def work(conn, number):
        with closing(sqlite3.connect(path)) as other:
            versions.append(other.execute("SELECT count(*) FROM experiments").fetchone()[0])
        return add(conn, number)

    assert await together(database, *(database.write(work, number) for number in range(1, 6))) == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert versions == [1] * 5, "a write was committed before the last of its group had run"
    assert there(path) == [1, 2, 3, 4, 5]


async def test_a_write_that_fails_loses_only_what_it_did_itself(database, path):
    def fails(conn, number):
        add(conn, number)
        raise LookupError(number)

    outcomes = await together(
        database, database.write(add, 1), database.write(fails, 2), database.write(add, 3)
    )
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], LookupError)
    assert outcomes[2] == 3
    assert there(path) == [1, 3]


async def test_a_broken_rule_of_the_database_is_said_without_its_sql(database):
    outcomes = await together(
        database,
        database.write(add, 1),
        database.write(add, 1),
        database.write(lambda conn: conn.exec_driver_sql("INSERT INTO tags VALUES ('k', 'v', 'no run')")),
        database.write(lambda conn: conn.exec_driver_sql("UPDATE experiments SET lifecycle_stage = 'odd'")),
    )
    assert outcomes[0] == 1
    assert [outcome.kind for outcome in outcomes[1:]] == [Kind.DUPLICATE, Kind.INVALID, Kind.INVALID]
    for outcome in outcomes[1:]:
        for leak in ("INSERT", "UPDATE", "experiments", "constraint", "sqlite"):
            assert leak not in str(outcome)


async def test_items_of_one_work_are_given_in_one_call(database, path):
    calls = []

    def work(conn, numbers):
        calls.append(list(numbers))
        return add_each(conn, numbers)

    outcomes = await together(
        database, *(database.write_each(work, number) for number in (2, 3, 4)), database.write(add, 6)
    )
    assert calls == [[2, 3, 4]]
    assert outcomes[0] == 2
    assert str(outcomes[1]) == "odd"
    assert outcomes[2:] == [4, 6]
    assert there(path) == [2, 3, 4, 6]


async def test_a_batch_that_raises_is_tried_item_by_item(database, path):
    outcomes = await together(database, *(database.write_each(add_each, number) for number in (2, -4, 6)))
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], ValueError)
    assert outcomes[2] == 6
    assert there(path) == [2, 6]


async def test_a_batch_with_too_few_outcomes_is_an_error_of_its_items_alone(database, path):
    def forgets(conn, numbers):
        add(conn, 9)
        return numbers[1:]

    outcomes = await together(
        database, *(database.write_each(forgets, number) for number in (1, 2)), database.write(add, 3)
    )
    assert all(isinstance(outcome, ValueError) for outcome in outcomes[:2])
    assert outcomes[2] == 3
    assert there(path) == [3]


async def test_when_the_transaction_is_lost_all_of_it_fails_and_the_next_one_works(database, path):
    def loses(conn):
        conn.exec_driver_sql("ROLLBACK")  # what SQLite does by itself when the disk fails
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise OperationalError("", None, full)

    outcomes = await together(database, database.write(add, 1), database.write(loses), database.write(add, 2))
    assert [outcome.kind for outcome in outcomes] == [Kind.NO_SPACE] * 3
    assert there(path) == []
    assert await database.write(add, 3) == 3
    assert there(path) == [3]


async def test_a_cancelled_write_is_done_nevertheless(database, path):
    async with held(database):
        task = asyncio.ensure_future(database.write(add, 1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        neighbour = asyncio.ensure_future(database.write(add, 2))
        await asyncio.sleep(0)
    assert await neighbour == 2
    assert there(path) == [1, 2]


async def test_closing_writes_what_waits(database, path):
    async with held(database):
        tasks = [asyncio.ensure_future(database.write(add, number)) for number in range(1, 2001)]
        await asyncio.sleep(0)
        closing_now = asyncio.ensure_future(database.close())
        await asyncio.sleep(0)
    await closing_now
    assert await asyncio.gather(*tasks) == list(range(1, 2001))
    assert len(there(path)) == 2000


async def test_a_write_waits_for_another_program(database, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.ensure_future(database.write(add, 1))
        done, _ = await asyncio.wait([task], timeout=0.2)
        assert not done
        other.execute("ROLLBACK")
        assert await task == 1
    assert there(path) == [1]


async def test_a_database_that_stays_locked_is_unavailable_and_then_works_again(database, path, monkeypatch):
    monkeypatch.setattr("shoso.metadata.dialects.sqlite._BUSY_SECONDS", 0.01)
    monkeypatch.setattr("shoso.metadata.dialects.sqlite._PATIENCE_SECONDS", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(
            database.write(add, 1), database.write(add, 2), return_exceptions=True
        )
        other.execute("ROLLBACK")
    assert [outcome.kind for outcome in outcomes] == [Kind.UNAVAILABLE] * 2
    assert await database.write(add, 3) == 3
    assert there(path) == [3]


def test_a_loop_that_ended_does_not_stop_the_writer(tmp_path):
    from shoso.metadata.connect import Database

    database = Database.open(f"sqlite:///{tmp_path}/shoso.db", artifact_root="/a")
    started, go_on = threading.Event(), threading.Event()

    def slow(conn):
        started.set()
        assert go_on.wait(30)
        add(conn, 1)

    async def leave():
        task = asyncio.ensure_future(database.write(slow))
        await asyncio.to_thread(started.wait)
        task.cancel()

    asyncio.run(leave())
    go_on.set()

    async def come_back():
        assert await database.write(add, 2) == 2
        await database.close()

    asyncio.run(come_back())
    assert there(tmp_path / "shoso.db") == [1, 2]


async def test_after_closing_a_write_is_refused(database):
    await database.close()
    with pytest.raises(ShosoError, match="closed"):
        await database.write_each(add_each, 1)


async def test_works_of_a_server_are_written_side_by_side_each_in_groups_and_to_the_last():
    started, go_on, groups = threading.Event(), threading.Event(), []

    def slow(): ...
    def quick(): ...

    def write(jobs):
        groups.append([job.item for job in jobs])
        started.set()
        assert jobs[0].work is quick or go_on.wait(30)
        for job in jobs:
            job.result = job.item

    writers = Writers(write, 2)
    waiting = [writers.submit(Job(slow, 0, shared=True))]
    await asyncio.to_thread(started.wait)
    waiting += [writers.submit(Job(slow, number, shared=True)) for number in (1, 2, 3)]
    assert await asyncio.wait_for(writers.submit(Job(quick, 4, shared=True)), 30) == 4
    closing = asyncio.ensure_future(writers.close())
    await asyncio.sleep(0.05)
    with pytest.raises(ShosoError, match="closed"):
        writers.submit(Job(quick, 5, shared=True))
    go_on.set()
    await closing
    assert await asyncio.wait_for(asyncio.gather(*waiting), 30) == [0, 1, 2, 3]
    assert groups == [[0], [4], [1, 2, 3]]
