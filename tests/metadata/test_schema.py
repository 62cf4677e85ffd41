"""Shoso's database is MLflow's: column by column, key by key, index by index."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.dialects import mssql, mysql, postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from shoso.metadata import mlflow_services, mlflow_tables  # noqa: F401 - their tables register themselves
from shoso.metadata.schema import HEAD, SCHEMA


@pytest.fixture
def ours(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/ours.db")
    SCHEMA.create_all(engine)
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


def test_head_is_the_revision_of_the_installed_mlflow(theirs):
    with theirs.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == [HEAD]


@pytest.mark.parametrize("dialect", [postgresql, mysql, mssql])
def test_tables_can_be_written_for_other_databases(dialect):
    for table in SCHEMA.sorted_tables:
        CreateTable(table).compile(dialect=dialect.dialect())
        for index in table.indexes:
            CreateIndex(index).compile(dialect=dialect.dialect())


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
