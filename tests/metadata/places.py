"""Databases of every kind to test on: new ones, and emptied ones, which are ten times quicker to have.

A server's database is made once in a process, by the real MLflow or by Shoso, and emptied for each test; a
SQLite file is copied.
"""

from __future__ import annotations

import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, insert
from tests.servers import mariadb, postgres

from shoso.metadata import schema, tables
from shoso.metadata.dialects import choose
from shoso.metadata.dialects.options import Options
from shoso.metadata.own import objects

SERVERS = {"postgres": postgres, "mariadb": mariadb}
PLACES = ("sqlite", *SERVERS)

ROOT = "mlflow-artifacts:/"
FEW = Options(pool_size=4)

_OURS = {objects, *(value for value in vars(schema).values() if isinstance(value, schema.Table))}
_KEPT = {schema.alembic_version, schema.workspaces}
_EMPTIED = [table for table in reversed(schema.SCHEMA.sorted_tables) if table in _OURS - _KEPT] + [objects]


class Place:
    """A database with MLflow's tables and the experiment Default in it, and nothing else."""

    def __init__(self, kind: str, uri: str) -> None:
        self.kind = kind
        self.uri = uri
        self.engine: Engine = _engine(uri)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement of its own; the rows that it gives."""
        with self.engine.connect() as connection:
            done = connection.exec_driver_sql(statement)
            return [tuple(row) for row in done] if done.returns_rows else []


def new(kind: str) -> str:
    """The URI of a new, empty database on a server."""
    server = SERVERS[kind]
    facts = server.server()
    return str(server.uri(facts, server.create(facts)))


def fresh(kind: str, folder: Path, template: Path, *, by_mlflow: bool) -> Place:
    """A place that nobody has used: a copy of the file of a template, or a database of a server, emptied."""
    if kind == "sqlite":
        return Place(kind, f"sqlite:///{shutil.copy(template, folder / 'mlflow.db')}")
    return emptied(_made(kind, by_mlflow))


def emptied(place: Place) -> Place:
    """Without the rows of any test before."""
    with place.engine.connect() as connection:
        for table in _EMPTIED:
            connection.exec_driver_sql(f"DELETE FROM {table.name}")
        connection.execute(insert(schema.experiments), _DEFAULT)
        connection.exec_driver_sql(_COUNT_AGAIN[place.kind])
    return place


@cache
def mlflow_tracking(uri: str) -> Any:
    """The real MLflow's tracking store on a database, one for all tests."""
    with warnings.catch_warnings(action="ignore"):  # MLflow uses what SQLAlchemy 2.1 deprecates
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        return SqlAlchemyStore(uri, ROOT)


@cache
def _made(kind: str, by_mlflow: bool) -> Place:
    uri = new(kind)
    if by_mlflow:
        mlflow_tracking(uri)
    dialect = choose(uri, FEW)
    dialect.prepare(lambda conn: tables.prepare(conn, "", "", ROOT))
    dialect.close()
    return Place(kind, uri)


@cache
def _engine(uri: str) -> Engine:
    return create_engine(uri, isolation_level="AUTOCOMMIT")


_DEFAULT = {
    "experiment_id": 0,
    "name": "Default",
    "artifact_location": "mlflow-artifacts:/0",
    "lifecycle_stage": "active",
    "creation_time": 1,
    "last_update_time": 1,
}
_COUNT_AGAIN = {
    "postgres": "ALTER SEQUENCE experiments_experiment_id_seq RESTART",
    "mariadb": "ALTER TABLE experiments AUTO_INCREMENT = 1",
}
