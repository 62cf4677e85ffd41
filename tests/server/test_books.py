"""The books of a server: written behind, read in passing, never in the way, whatever the database does."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, ShosoError
from shoso.metadata.connect import Database
from shoso.server import books
from shoso.server.books import Books

ROOT = "file:///artifacts"
META = ObjectMeta(Key("1/a"), 5, 1.0, "tag", "a" * 64)


@pytest.fixture
async def database(tmp_path):
    """A fresh database."""
    opened = Database.open(f"sqlite:///{tmp_path}/shoso.db", artifact_root="mlflow-artifacts:/")
    yield opened
    await opened.close()


@pytest.fixture
async def kept(database):
    """Books that are kept in it."""
    opened = Books()
    opened.open(database)
    yield opened
    await opened.close()


@pytest.fixture
def rows(tmp_path):
    """What stands in the table."""

    def look() -> list[tuple]:
        with closing(sqlite3.connect(tmp_path / "shoso.db")) as raw:
            return raw.execute("SELECT root, key, digest FROM shoso_objects ORDER BY key").fetchall()

    return look


def numbered(count: int) -> list[ObjectMeta]:
    return [replace(META, key=Key(f"1/{number:05}")) for number in range(count)]


async def written(kept: Books) -> None:
    """Wait until nothing waits."""
    if kept._flushing is not None:
        await kept._flushing


async def test_what_is_recorded_is_known_at_once_and_written_soon(kept, rows):
    book = kept.of(ROOT)
    book.record([META, replace(META, key=Key("none"), digest=None)])
    assert rows() == []
    assert await book.known([META, replace(META, etag="other"), replace(META, key=Key("b"))]) == [
        META.digest, None, None,
    ]  # fmt: skip
    await written(kept)
    assert rows() == [(ROOT, "1/a", META.digest)]
    assert await book.known([META]) == [META.digest]
    assert await kept.of("file:///other").known([META]) == [None]


async def test_many_records_are_one_transaction(kept, rows, database, monkeypatch):
    transactions = []
    write = database.write

    async def counted(*args):
        transactions.append(args)
        await write(*args)

    monkeypatch.setattr(database, "write", counted)
    for meta in numbered(512):
        kept.of(ROOT).record([meta])
    await written(kept)
    assert len(transactions) == 1
    assert len(rows()) == 512


async def test_what_is_forgotten_is_known_no_more(kept, rows):
    book = kept.of(ROOT)
    book.record([META])
    await written(kept)
    book.forget([META.key, Key("never/there")])
    assert await book.known([META]) == [None]
    assert await book.known([META, *numbered(1)]) == [None, None]  # one of which the database is asked
    await written(kept)
    assert rows() == []
    book.forget([META.key])
    book.record([META])
    assert await book.known([META]) == [META.digest]


async def test_what_is_moved_is_known_by_its_new_key_also_when_that_is_said_twice(kept, rows):
    book, moved = kept.of(ROOT), replace(META, key=Key("trash/a"))
    moves = [(META.key, moved.key), (Key("never/there"), Key("trash/b"))]
    for first in (META, replace(META, key=Key("1/b"))):
        book.record([first])
        await written(kept)
    for _ in range(2):
        await book.follow(moves)
        assert await book.known([META, moved]) == [None, META.digest]
    await written(kept)
    assert rows() == [(ROOT, "1/b", META.digest), (ROOT, "trash/a", META.digest)]
    await book.follow([(moved.key, META.key)])
    assert await book.known([META, moved]) == [META.digest, None]


async def test_what_is_being_written_is_known_in_its_latest_version(kept, database, monkeypatch):
    gate, writing = asyncio.Event(), asyncio.Event()
    write = database.write

    async def held(*args):
        writing.set()
        await gate.wait()
        await write(*args)

    monkeypatch.setattr(database, "write", held)
    book, later = kept.of(ROOT), replace(META, etag="later", digest="b" * 64)
    book.record([META])
    await writing.wait()
    assert await book.known([META]) == [META.digest]
    book.record([later])
    assert await book.known([META, later]) == [None, later.digest]
    gate.set()
    await written(kept)
    assert await book.known([META, later]) == [None, later.digest]


async def test_closing_writes_what_waits(database, rows):
    kept = Books()
    kept.open(database)
    kept.of(ROOT).record([META])
    began = time.monotonic()
    await kept.close()
    assert time.monotonic() - began < 5 * books.LINGER
    assert rows() == [(ROOT, "1/a", META.digest)]
    kept.of(ROOT).record(numbered(1))  # too late: nobody would write it
    assert kept._flushing is None


async def test_a_database_that_hangs_neither_fails_nor_holds_anybody(kept, database, monkeypatch, caplog):
    async def hangs(*args):
        await asyncio.Event().wait()

    monkeypatch.setattr(database, "read", hangs)
    monkeypatch.setattr(database, "write", hangs)
    monkeypatch.setattr(books, "PATIENCE", 0.05)
    monkeypatch.setattr(books, "LAST", 0.05)
    book, began = kept.of(ROOT), time.monotonic()
    book.record([META])
    for _ in range(100):  # it's asked once
        assert await book.known(numbered(3)) == [None] * 3
    assert await book.known([META]) == [META.digest]  # it waits still
    await kept.close()
    assert time.monotonic() - began < 2
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "a lookup took longer than 0.05 s" in said[0]
    assert "1 objects were not recorded" in said[1]


async def test_a_database_that_fails_is_tried_again_later_and_nothing_is_lost(
    kept, rows, database, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    down = ShosoError(Kind.NO_SPACE, "The disk of the database is full.")
    write = database.write

    failing = asyncio.Event()

    async def fails(*args):
        failing.set()
        await asyncio.sleep(0.01)
        raise down

    monkeypatch.setattr(books, "LINGER", 0.001)
    monkeypatch.setattr(books, "PAUSE", 0.02)
    monkeypatch.setattr(database, "write", fails)
    book, later = kept.of(ROOT), replace(META, etag="later", digest="b" * 64)
    book.record([META, *numbered(2)])
    await failing.wait()
    book.record([later])
    await asyncio.sleep(0.1)
    assert await book.known([META, later]) == [None, later.digest]
    monkeypatch.setattr(database, "write", write)
    await written(kept)
    assert rows() == [(ROOT, "1/00000", "a" * 64), (ROOT, "1/00001", "a" * 64), (ROOT, "1/a", "b" * 64)]
    said = [record.getMessage() for record in caplog.records if record.name == "shoso.server"]
    assert len(said) == 2
    assert "disk of the database is full" in said[0]
    assert "again" in said[1]


async def test_what_the_database_cant_hold_stays_nobodys_way(kept, rows):
    book = kept.of(ROOT)
    book.record([replace(META, key=Key("1/bad"), etag="\udcff")])
    await written(kept)
    book.record([META])
    await written(kept)
    assert rows() == [(ROOT, "1/a", META.digest)]


async def test_more_than_can_wait_is_dropped(kept, rows, monkeypatch, caplog):
    monkeypatch.setattr(books, "MOST", 10)
    book = kept.of(ROOT)
    book.record(numbered(100))
    book.record([replace(META, key=Key("1/00009"), etag="later", digest="b" * 64)])  # in another's place
    await written(kept)
    assert [digest for *_, digest in rows()] == ["a" * 64] * 9 + ["b" * 64]
    assert len([record for record in caplog.records if "10 records wait" in record.getMessage()]) == 1


async def test_books_without_a_database_know_nothing():
    kept = Books()
    book = kept.of(ROOT)
    book.record([META])
    book.forget([META.key])
    assert await book.known([META]) == [None]
    await kept.close()
