"""Indexes by value: made beside whoever writes, used by searches, and no trouble to MLflow."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, product
from threading import Event

import pytest
from alembic import command
from mlflow.entities import Metric, Param, RunTag
from mlflow.store.db import utils as mlflow_db
from sqlalchemy import event
from tests.metadata import places
from tests.metadata.test_search_runs import KEYS, TEXTS, ours, world

from shoso.errors import Kind, ShosoError
from shoso.metadata import indexes, runs, search
from shoso.metadata.connect import Database
from shoso.metadata.dialects import choose
from shoso.metadata.indexes import INDEXES, Became
from shoso.wire.requests import CreateRun, LogBatch, ParamInput, SearchRuns, TagInput

KINDS = tuple(places.SERVERS)
NAMES = [index.name for index in INDEXES]
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'CREATE INDEX%%' AND wait_event_type = 'Lock'"
)

__all__ = ["world"]


def ignored(index):
    del index


def make(uri, begun=ignored):
    return tended(uri, lambda conn: indexes.make(conn, begun))


def drop(uri):
    return tended(uri, lambda conn: indexes.drop(conn, ignored))


def tended(uri, work):
    dialect = choose(uri, places.FEW)
    try:
        return dialect.tend(work)
    finally:
        dialect.close()


def became(outcomes):
    return [one.became for one in outcomes]


@pytest.fixture
def spare(place):
    """A database of Shoso's that loses the indexes at the end of the test."""
    yield place
    drop(place.uri)


@pytest.fixture
def on_postgres():
    """The same on PostgreSQL, which alone has what the test is about."""
    place = places.fresh("postgres", by_mlflow=False)
    yield place
    drop(place.uri)


@pytest.fixture
def indexed(spare):
    """A database of Shoso's with the indexes, until the end of the test."""
    make(spare.uri)
    return spare


@pytest.fixture(params=places.SERVERS)
def bare(request):
    """A new, empty database that is thrown away."""
    return places.Place(request.param, places.new(request.param))


@contextmanager
def watched(conn):
    """The statements that are run meanwhile, with their parameters."""
    ran: list[tuple] = []

    def remember(_conn, _cursor, statement, parameters, _context, _many):
        ran.append((statement, parameters))

    event.listen(conn, "before_cursor_execute", remember)
    yield ran
    event.remove(conn, "before_cursor_execute", remember)


def of_ids(ran):
    """The statement that finds the runs of a page."""
    return next(each for each in ran if "FROM runs" in each[0])


# -- made and dropped -------------------------------------------------------------------------------------


def test_what_is_there_is_left_and_what_isnt_is_made(spare):
    assert became(make(spare.uri)) == [Became.MADE, Became.MADE]
    again = make(spare.uri)
    assert became(again) == [Became.THERE, Became.THERE]
    assert [one.index.name for one in again] == NAMES
    assert all(one.bytes for one in again)
    assert became(drop(spare.uri)) == [Became.DROPPED, Became.DROPPED]
    assert became(drop(spare.uri)) == [Became.ABSENT, Became.ABSENT]


def test_several_at_once_make_each_index_once(spare):
    with ThreadPoolExecutor(3) as pool:
        outcomes = [*pool.map(lambda _: became(make(spare.uri)), range(3))]
    assert sorted(outcomes) == [[Became.MADE] * 2, *[[Became.THERE] * 2] * 2]


async def test_what_an_interrupted_command_left_is_made_again(on_postgres):
    await filled(on_postgres, 2)
    with pytest.raises(Exception, match="could not create unique index"):
        on_postgres.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {NAMES[0]} ON params (key)")  # left invalid
    assert became(make(on_postgres.uri)) == [Became.MADE_AGAIN, Became.MADE]
    assert became(make(on_postgres.uri)) == [Became.THERE, Became.THERE]


async def test_others_write_while_an_index_is_made(on_postgres):
    """It is made in between: it waits for a transaction that had begun, and lets in those that begin."""
    begun, database = Event(), Database(choose(on_postgres.uri, places.FEW))
    run = await database.write(runs.create, CreateRun("0"))
    insert = f"INSERT INTO params (key, value, run_uuid) VALUES ('old', '1', '{run.info.run_id}')"
    with ThreadPoolExecutor(1) as pool, on_postgres.engine.connect() as raw:
        conn = raw.execution_options(isolation_level="READ COMMITTED")
        conn.exec_driver_sql(insert)
        making = pool.submit(make, on_postgres.uri, lambda _: begun.set())
        begun.wait(30)
        while not on_postgres.execute(WAITING)[0][0]:
            assert not making.done()
        await database.write(runs.log_params, run.info.run_id, [ParamInput("new", "1")], True)
        assert not making.done()
        conn.commit()
        assert became(making.result(60)) == [Became.MADE, Became.MADE]
    assert {param.key for param in (await database.read(runs.get, run.info.run_id)).data.params} == {
        "old",
        "new",
    }
    await database.close()


# -- searched ---------------------------------------------------------------------------------------------


def test_they_change_no_answer(common_place, world):
    """In the runs of the tests of searches, and as their database has few rows, made the only way to them."""
    filters = [
        f"{what}.`{key}` {comparator} {quoted(text)}"
        for what in ("params", "tags")
        for key in KEYS[:2]
        for text in [*TEXTS, "none"]
        for comparator in ("=", "!=", "LIKE")
    ] + [f"run_name = 'run {number}'" for number in range(3)]
    without = [answer(world, each) for each in filters]
    make(common_place.uri)
    if common_place.kind == "postgres":
        world.conn.exec_driver_sql("SET enable_seqscan = off")
        world.conn.exec_driver_sql("SET enable_bitmapscan = off")
    found = [answer(world, each) for each in filters]
    drop(common_place.uri)
    assert found == without
    assert sum(map(bool, without)) > 60


def quoted(text):
    return f'"{text}"' if "'" in text else f"'{text}'"


def answer(world, filter_):
    return ours(world, SearchRuns(world.experiments, filter_, 3, 50))


async def test_a_search_for_a_value_reads_the_index(indexed):
    await filled(indexed, 400)
    indexed.execute({"postgres": "ANALYZE", "mariadb": "ANALYZE TABLE params, tags, runs"}[indexed.kind])
    for filter_ in ("params.k = 'v7'", "tags.k = 'v7' AND params.other = 'x'", "run_name = 'name7'"):
        with indexed.connect() as conn, watched(conn) as ran:
            found = search.search_runs(conn, SearchRuns(["0"], filter_))
            statement, parameters = of_ids(ran)
            plan = "\n".join(map(str, chain(*conn.exec_driver_sql(f"EXPLAIN {statement}", parameters))))
        assert [run.info.run_name for run in found.runs] == ["name7"]
        assert "_value" in plan, (filter_, plan)


async def filled(place, number):
    """So many runs, each with a param and a tag `k` of a value of its own, and one of all."""
    database = Database(choose(place.uri, places.FEW))
    for at in range(number):
        run = await database.write(runs.create, CreateRun("0", run_name=f"name{at}"))
        params = [ParamInput("k", f"v{at}"), ParamInput("other", "x")]
        batch = LogBatch(run.info.run_id, params=params, tags=[TagInput("k", f"v{at}")])
        await database.write(runs.log_batch, batch, True)
    await database.close()


LETTERS = ("abcdefghijklmnopqrstuvwxyz0123456789", "𠀀𠀁𠀂𠀃𠀄𠀅𠀆𠀇𠀈𠀉𠀊𠀋𠀌𠀍𠀎𠀏")


async def test_values_of_any_length_are_kept_and_found(indexed):
    """Random ones, which PostgreSQL can't compress, below keys as long as they get."""
    database = Database(choose(indexed.uri, places.FEW))
    for length, letters in product([62, 250, 251, 2704, 6000], LETTERS):
        dice = random.Random(length)
        value, key = ("".join(dice.choices(letters, k=size)) for size in (length, 250))
        run = await database.write(runs.create, CreateRun("0"))
        batch = LogBatch(run.info.run_id, params=[ParamInput(key, value)], tags=[TagInput(key, value)])
        await database.write(runs.log_batch, batch, False)
        for what in ("params", "tags"):
            found = await database.read(search.search_runs, SearchRuns(["0"], f"{what}.`{key}` = '{value}'"))
            assert [each.info.run_id for each in found.runs] == [run.info.run_id], (length, letters)
            missed = await database.read(
                search.search_runs, SearchRuns(["0"], f"{what}.`{key}` = '{value}x'")
            )
            assert not missed.runs, (length, letters)
    await database.close()


SHORT = {
    "params.a = 'x'": True,
    "tags.a = 'x'": True,
    "run_name = 'x'": True,
    f"params.a = '{'x' * 250}'": True,
    f"params.a = '{'x' * 251}'": False,
    f"params.a = '{'é' * 126}'": False,
    "params.a != 'x'": False,
    "params.a LIKE 'x'": False,
    "metrics.a = 1": False,
    "user_id = 'x'": False,
}


@pytest.mark.parametrize("kind", places.PLACES)
def test_on_postgresql_alone_a_search_says_that_a_value_is_short(kind, tmp_path):
    """As a plain number, for a prepared statement with a parameter couldn't use the index."""
    place = places.Place(kind, f"sqlite:///{tmp_path}/x.db") if kind == "sqlite" else None
    with (place or places.fresh(kind, by_mlflow=False)).connect() as conn, watched(conn) as ran:
        if place:
            places.tables.prepare(conn, "", "", places.ROOT)
        for filter_, short in SHORT.items():
            ran.clear()
            search.search_runs(conn, SearchRuns(["0"], filter_))
            assert ("value) <= 250" in of_ids(ran)[0]) == (short and kind == "postgres"), filter_


# -- where there are none ---------------------------------------------------------------------------------


def test_sqlite_gets_none(tmp_path):
    uri = f"sqlite:///{tmp_path}/x.db"
    choose(uri, places.FEW).prepare(lambda conn: places.tables.prepare(conn, "", "", places.ROOT))
    with pytest.raises(ShosoError, match="SQLite needs no indexes") as refused:
        make(uri)
    assert refused.value.kind is Kind.UNSUPPORTED


# -- MLflow -----------------------------------------------------------------------------------------------


def test_mlflow_works_on_beside_them(bare):
    store = places.mlflow_tracking(bare.uri)
    make(bare.uri)
    run_id = store.create_run("0", "me", 1, [RunTag("t", "1")], "theirs").info.run_id
    store.log_batch(run_id, [Metric("m", 1.0, 1, 0)], [Param("p", "x" * 6000), Param("q", "1")], [])
    store.set_tag(run_id, RunTag("t", "2" * 8000))
    store.set_tag(run_id, RunTag("t", "3"))
    assert [run.info.run_id for run in store.search_runs(["0"], "params.q = '1' and tags.t = '3'", 1)] == [
        run_id
    ]
    store.delete_tag(run_id, "t")
    store.delete_run(run_id)
    store._hard_delete_run(run_id)
    assert store.search_runs(["0"], "", 3) == []
    mlflow_db._upgrade_db(store.engine)
    mlflow_db._verify_schema(store.engine)
    assert became(make(bare.uri)) == [Became.THERE, Became.THERE]


def test_mlflows_migrations_carry_them_along(bare):
    """Those of 2023 and 2024 made the values of params and tags longer, as a later one may."""
    mlflow_db.InitialBase.metadata.create_all(bare.engine)
    config = mlflow_db._get_alembic_config(bare.uri)
    command.upgrade(config, "7f2a7d5fae7d")
    make(bare.uri)
    command.upgrade(config, "head")
    assert became(make(bare.uri)) == [Became.THERE, Became.THERE]
    mlflow_db._verify_schema(bare.engine)
