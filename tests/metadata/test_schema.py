"""Shoso's database is MLflow's: column by column, key by key, index by index."""

from __future__ import annotations

import shutil

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.dialects import mssql, mysql, postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.metadata import objects, runs
from shoso.metadata.connect import Database
from shoso.metadata.own import OWN
from shoso.metadata.revisions import HEAD
from shoso.metadata.schema import USED, alembic_version, workspaces
from shoso.metadata.whole import FOR_MLFLOW, whole
from shoso.wire.requests import CreateRun


@pytest.fixture
def ours(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/ours.db")
    whole().create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def theirs(mlflow_template):
    engine = create_engine(f"sqlite:///{mlflow_template}")
    yield engine
    engine.dispose()


def test_every_table_of_mlflow_is_there_and_no_other(ours, theirs):
    assert inspect(ours).get_table_names() == inspect(theirs).get_table_names()


def test_tables_have_mlflows_columns_keys_and_indexes(ours, theirs):
    for table in inspect(theirs).get_table_names():
        assert portrait(ours, table) == portrait(theirs, table), table


def test_the_tables_for_mlflow_alone_are_known_by_name_without_being_made():
    assert {table.name for table in (*USED, workspaces, alembic_version)} | FOR_MLFLOW == {*whole().tables}
    assert not {table.name for table in USED} & FOR_MLFLOW


def test_head_is_the_revision_of_the_installed_mlflow(theirs):
    with theirs.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == [HEAD]


@pytest.mark.parametrize("dialect", [postgresql, mysql, mssql])
def test_tables_can_be_written_for_other_databases(dialect):
    for table in [*whole().sorted_tables, *OWN.sorted_tables]:
        CreateTable(table).compile(dialect=dialect.dialect())
        for index in table.indexes:
            CreateIndex(index).compile(dialect=dialect.dialect())


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
async def test_mlflow_works_on_a_database_that_shoso_made(tmp_path):
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = f"sqlite:///{tmp_path}/both.db"
    database = Database.open(uri, artifact_root="mlflow-artifacts:/")
    created = await database.write(runs.create, CreateRun(experiment_id="0", run_name="ours"))
    store = SqlAlchemyStore(uri, "mlflow-artifacts:/")
    assert store.get_run(created.info.run_id).info.run_name == "ours"
    run = store.create_run("0", "me", 1, [], "theirs")
    store.log_batch(run.info.run_id, [Metric("m", 1.0, 1, 0)], [Param("p", "1")], [RunTag("t", "1")])
    store._dispose_engine()
    seen = await database.read(runs.get, run.info.run_id)
    await database.close()
    assert (seen.info.run_name, seen.data.params[0].value, seen.data.metrics[0].value) == ("theirs", "1", 1.0)


async def test_a_database_that_shoso_made_is_like_mlflows_with_our_own_tables_beside(tmp_path, theirs):
    database = Database.open(f"sqlite:///{tmp_path}/made.db", artifact_root="/a")
    await database.close()
    made = create_engine(f"sqlite:///{tmp_path}/made.db")
    assert set(inspect(made).get_table_names()) == {*inspect(theirs).get_table_names(), *OWN.tables}
    made.dispose()


async def test_our_own_tables_are_beside_mlflows_in_name_too(theirs):
    assert all(name.startswith("shoso_") for name in OWN.tables)
    assert not set(inspect(theirs).get_table_names()) & OWN.tables.keys()


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
async def test_mlflows_upgrade_and_check_pass_our_own_tables_by(tmp_path, mlflow_template):
    from mlflow.store.db.utils import _upgrade_db, _verify_schema

    path = shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    database = Database.open(f"sqlite:///{path}", artifact_root="/a")
    meta = ObjectMeta(Key("1/x"), 3, 1.5, "tag", "d" * 64)
    await database.write(objects.write, [objects.row("file:///a", meta, 7)], [])
    await database.close()
    engine = create_engine(f"sqlite:///{path}")
    _verify_schema(engine)
    _upgrade_db(engine)
    _verify_schema(engine)
    with engine.connect() as connection:
        [row] = connection.exec_driver_sql("SELECT root, key, size, digest, etag, time FROM shoso_objects")
    engine.dispose()
    assert tuple(row) == ("file:///a", "1/x", 3, "d" * 64, "tag", 7)


def portrait(engine, table):
    """All that reflection tells of a table, in an order of its own."""
    see = inspect(engine)
    return {
        "columns": [
            (c["name"], str(c["type"]), c["nullable"], c["default"], c.get("computed"))
            for c in see.get_columns(table)
        ],
        "primary": see.get_pk_constraint(table),
        "foreign": sorted(map(foreign_key, see.get_foreign_keys(table)), key=str),
        "unique": sorted(see.get_unique_constraints(table), key=str),
        "checks": sorted(see.get_check_constraints(table), key=str),
        "indexes": sorted(indexes(engine, table), key=str),
    }


def foreign_key(found):
    return {**found, "options": {name: rule.upper() for name, rule in found["options"].items()}}


def indexes(engine, table):
    with engine.connect() as connection:
        for _, name, unique, origin, partial in connection.exec_driver_sql(f"PRAGMA index_list('{table}')"):
            if origin == "c":
                rows = connection.exec_driver_sql(f"PRAGMA index_xinfo('{name}')")
                yield name, unique, partial, [tuple(row)[2:] for row in rows]
