"""Work at which the database hangs up each time: it ends, with the right error, and keeps no writer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.metadata import places
from tests.metadata.test_served import new_run, point
from tests.servers import mariadb
from tests.servers.processes import Launcher

from shoso.errors import Kind, ShosoError
from shoso.metadata import datasets, metrics
from shoso.metadata.connect import Database
from shoso.metadata.dialects import served
from shoso.wire.entities import Dataset, DatasetInput
from shoso.wire.requests import LogInputs

KINDS = tuple(places.SERVERS)
ENDS = {
    "postgres": "SELECT pg_terminate_backend(pg_backend_pid())",
    "mariadb": "KILL CONNECTION_ID()",
}


async def test_what_ends_every_connection_is_given_up_while_others_go_on(place, database, monkeypatch):
    """Others find the database there, so that it isn't away; nor may this work be run for ever."""
    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.5)
    run_id = await new_run(database)
    tries = []

    def work(conn):
        tries.append(time.monotonic())
        conn.exec_driver_sql(ENDS[place.kind])

    poison = asyncio.ensure_future(database.write(work))
    deadline = time.monotonic() + 6
    while not poison.done() and time.monotonic() < deadline:
        await database.write_each(metrics.log_each, point(run_id, step=len(tries)))
    assert poison.done()
    with pytest.raises(ShosoError) as caught:
        await poison
    assert caught.value.kind is Kind.UNAVAILABLE
    assert len(tries) > 1


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
