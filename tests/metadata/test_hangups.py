"""Work at which the database hangs up each time: it ends, with the right error, and keeps no writer."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.metadata import places
from tests.metadata.test_served import ENDS, cut, new_run, point
from tests.servers import mariadb
from tests.servers.processes import Launcher

from shoso.errors import Kind, ShosoError, TrackingError
from shoso.metadata import datasets, metrics
from shoso.metadata.connect import Database
from shoso.metadata.dialects import choose, served
from shoso.wire.entities import Dataset, DatasetInput
from shoso.wire.requests import LogInputs

KINDS = tuple(places.SERVERS)


async def test_what_ends_every_connection_is_given_up_while_others_go_on(place, database, monkeypatch):
    """Others find the database there, so that it isn't away; nor may this work be run for ever."""
    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.5)
    run_id = await new_run(database)
    tries = []

    def work(conn):
        tries.append(time.monotonic())
        conn.exec_driver_sql(ENDS[place.kind])

    poison = asyncio.ensure_future(database.write(work))
    deadline = time.monotonic() + 60  # the machine may have much else to do
    while not poison.done() and time.monotonic() < deadline:
        await database.write_each(metrics.log_each, point(run_id, step=len(tries)))
    assert poison.done()
    with pytest.raises(ShosoError) as caught:
        await poison
    assert caught.value.kind is Kind.UNAVAILABLE
    assert len(tries) > 1


async def test_what_a_work_says_is_not_replaced_by_a_rollback_that_finds_nobody(place, database):
    """Nor is that its commit went astray, or it would be run again."""
    tries = []

    def work(conn):
        tries.append(1)
        conn.exec_driver_sql("SELECT 1")
        cut(place)
        raise TrackingError(Kind.NOT_FOUND, "as it is")

    for call in (database.write, database.read):
        with pytest.raises(TrackingError, match="as it is"):
            await call(work)
    assert len(tries) == 2


@pytest.fixture(scope="module")
def narrow():
    """The URI of a database on a MariaDB that takes 1 MiB in a statement."""
    with TemporaryDirectory() as folder:
        launcher = Launcher("mariadb", Path(folder))
        facts = mariadb.start(launcher)
        mariadb.sql(facts, "SET GLOBAL max_allowed_packet = 1048576")
        yield mariadb.uri(facts, mariadb.create(facts))
        launcher.stop()


@pytest.mark.parametrize(
    ("text", "kept"), [("x" * 1_000_000, True), ("x" * 1_100_000, False), ('"' * 600_000, False)]
)
async def test_a_value_that_mysql_takes_in_no_statement_is_refused_at_once(narrow, text, kept):
    """MySQL hangs up at a statement over max_allowed_packet, as if it had gone away."""
    database = Database.open(narrow, artifact_root="/a", options=places.FEW)
    run_id = await new_run(database)
    one = DatasetInput(Dataset("d", str(len(text)), "local", "{}", None, text))
    call = database.write(datasets.log_inputs, LogInputs(run_id, [one]))
    if kept:
        await call
    else:
        with pytest.raises(ShosoError, match="max_allowed_packet") as caught:
            await call
        assert caught.value.kind is Kind.TOO_LARGE
    await database.close()


async def test_a_postgresql_that_vanished_while_it_worked_is_missed_within_a_minute():
    """Nothing is sent meanwhile, so that only the kernel's probes tell; it makes the first after 2 hours."""

    def probes(conn):
        number = os.dup(conn.connection.dbapi_connection.pgconn.socket)
        with socket.socket(fileno=number) as end:
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            return [end.getsockopt(socket.IPPROTO_TCP, option) for option in options]

    database = Database(choose(places.new("postgres"), places.FEW))
    idle, interval, count = await database.read(probes)
    await database.close()
    assert idle + interval * count <= 60
