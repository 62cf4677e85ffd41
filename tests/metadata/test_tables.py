"""The tables that Shoso makes on a server are those that the real MLflow makes there."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Column, MetaData, Table, Text, create_engine, inspect
from tests.metadata import places

from shoso.errors import ConfigError
from shoso.metadata import own
from shoso.metadata.connect import Database
from shoso.metadata.own import OWN

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.parametrize("kind", places.SERVERS),
]

LEFT_OVER = {
    # What MLflow's migrations leave behind on MySQL and MariaDB, and nothing needs.
    ("mariadb", "jobs", "columns"),  # job_name lost its NOT NULL when it was renamed
    ("mariadb", "metrics", "checks"),  # is_nan was checked twice
    ("mariadb", "model_version_tags", "indexes"),  # of foreign keys that are gone
    ("mariadb", "registered_model_tags", "indexes"),
}


def opened(uri):
    return Database.open(uri, artifact_root=places.ROOT, options=places.FEW)


def test_tables_are_those_that_mlflow_makes(kind):
    theirs, ours = places.new(kind), places.new(kind)
    places.mlflow_tracking(theirs)
    asyncio.run(opened(ours).close())
    left, right = portraits(theirs), portraits(ours)
    assert right.keys() - left.keys() == OWN.tables.keys()
    differing = {
        (kind, table, part)
        for table in left
        for part in left[table]
        if left[table][part] != right[table][part]
    }
    assert differing == {each for each in LEFT_OVER if each[0] == kind}


async def test_mlflow_works_on_a_database_that_shoso_made(kind):
    uri = places.new(kind)
    await opened(uri).close()
    run = places.mlflow_tracking(uri).create_run("0", "me", 1, [], "theirs")
    database = opened(uri)
    from shoso.metadata import runs

    assert (await database.read(runs.get, run.info.run_id)).info.run_name == "theirs"
    await database.close()


def test_of_several_servers_that_start_on_an_empty_database_one_makes_the_tables(kind):
    uri = places.new(kind)

    def start(_):
        asyncio.run(opened(uri).close())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))
    engine = create_engine(uri)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM alembic_version").scalar() == 1
        assert connection.exec_driver_sql("SELECT version FROM shoso_version").scalar() == len(own.MIGRATIONS)
    engine.dispose()


def test_what_was_left_halfway_is_finished(kind, monkeypatch):
    """MySQL keeps the tables that were made before a crash, PostgreSQL none."""
    uri = places.new(kind)
    monkeypatch.setattr("shoso.metadata.tables.WORKSPACE", "x" * 64)  # the insert after the tables fails
    with pytest.raises(ConfigError):
        opened(uri)
    monkeypatch.undo()
    asyncio.run(opened(uri).close())
    assert portraits(uri).keys() >= OWN.tables.keys()


def test_what_a_move_knew_before_it_had_a_column_for_it_is_known_still(kind):
    uri = places.new(kind)
    asyncio.run(opened(uri).close())
    place, few = places.Place(kind, uri), MetaData()
    columns = (column._copy() for column in own.copied.columns if column.name not in {"own", "source"})
    older = Table("shoso_copied", few, *columns, Column("source", Text))
    engine = create_engine(uri)
    with engine.begin() as connection:
        own.copied.drop(connection)
        older.create(connection)
        for number, source in ((1, "s"), (2, None)):
            row = {"experiment_id": number, "id": b"x" * 32, "target": "t", "source": source}
            connection.execute(older.insert().values(**row))
    place.execute("UPDATE shoso_version SET version = 6")
    asyncio.run(opened(uri).close())
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT source, own FROM shoso_copied ORDER BY experiment_id")
        assert [*map(tuple, found)] == [("s", 0), ("", 1)]
    engine.dispose()


def test_a_database_that_a_newer_shoso_has_used_is_refused(kind):
    uri = places.new(kind)
    asyncio.run(opened(uri).close())
    places.Place(kind, uri).execute("UPDATE shoso_version SET version = 99")
    with pytest.raises(ConfigError, match="a newer version of Shoso has used this database"):
        opened(uri)


def test_another_programs_tables_are_left_alone(kind):
    uri = places.new(kind)
    place = places.Place(kind, uri)
    place.execute("CREATE TABLE runs (id INTEGER)")
    with pytest.raises(ConfigError, match="another program's tables"):
        opened(uri)
    assert inspect(place.engine).get_table_names() == ["runs"]


def portraits(uri):
    """All that reflection tells of each table, in an order of its own."""
    engine = create_engine(uri)
    see = inspect(engine)
    found = {table: portrait(see, table) for table in see.get_table_names()}
    engine.dispose()
    return found


def portrait(see, table):
    return {
        "columns": [{**column, "type": str(column["type"])} for column in see.get_columns(table)],
        "primary": see.get_pk_constraint(table),
        "foreign": sorted(see.get_foreign_keys(table), key=str),
        "unique": sorted(see.get_unique_constraints(table), key=str),
        "checks": sorted(see.get_check_constraints(table), key=str),
        "indexes": sorted(see.get_indexes(table), key=str),
    }
