"""Databases of every kind to test on: new ones, and emptied ones, which are ten times quicker to have.

A server's database is made once in a process, by the real MLflow or by Shoso, and emptied for each test.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, insert
from tests.servers import mariadb, postgres

from shoso.metadata import schema, tables
from shoso.metadata.dialects import choose, sqlite
from shoso.metadata.dialects.options import Options
from shoso.metadata.own import OWN, version
from shoso.metadata.whole import whole

SERVERS = {"postgres": postgres, "mariadb": mariadb}
PLACES = ("sqlite", *SERVERS)

ROOT = "mlflow-artifacts:/"
FEW = Options(pool_size=4)

_OURS = {value for value in vars(schema).values() if isinstance(value, schema.Table)}
_KEPT = {schema.alembic_version, schema.workspaces}
_EMPTIED = [table for table in reversed(whole().sorted_tables) if table in _OURS - _KEPT]
_EMPTIED += [table for table in OWN.sorted_tables if table is not version]


class Place:
    """A database with MLflow's tables and the experiment Default in it, and nothing else."""

    def __init__(self, kind: str, uri: str) -> None:
        self.kind = kind
        self.uri = uri
        self.engine: Engine = _engine(uri)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection as works are given one, but that every statement is committed by itself."""
        if self.kind == "sqlite":
            with sqlite.connect(Path(self.uri.removeprefix("sqlite:///")), wal=False) as connection:
                yield connection
            return
        dialect = choose(self.uri, FEW)
        with dialect._writing.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            yield connection
        dialect.close()

    @contextmanager
    def tracking(self) -> Iterator[Any]:
        """The real MLflow's tracking store on it."""
        yield from self._store(mlflow_tracking)

    @contextmanager
    def registry(self) -> Iterator[Any]:
        """The real MLflow's registry on it."""
        yield from self._store(mlflow_registry)

    def _store(self, make: Any) -> Iterator[Any]:
        if self.kind != "sqlite":
            yield make(self.uri)
            return
        store = make.__wrapped__(self.uri)
        yield store
        store._dispose_engine()
        type(store)._engine_map.pop(store.db_uri, None)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement of its own; the rows that it gives."""
        with self.engine.connect() as connection:
            done = connection.exec_driver_sql(statement)
            return [tuple(row) for row in done] if done.returns_rows else []


def new(kind: str, *, exact: bool = False) -> str:
    """The URI of a new, empty database on a server; `exact`: one that tells 'a' from 'A'."""
    server = SERVERS[kind]
    facts = server.server()
    name = server.create(facts, "utf8mb4_bin") if exact and kind == "mariadb" else server.create(facts)
    return str(server.uri(facts, name))


def fresh(kind: str, *, by_mlflow: bool, exact: bool = False) -> Place:
    """A server's database as MLflow or Shoso makes one, without the rows of any test before."""
    return emptied(_made(kind, by_mlflow, exact))


def emptied(place: Place) -> Place:
    """Without the rows of any test before."""
    with place.engine.connect() as connection:
        if place.kind == "mariadb":
            connection.exec_driver_sql("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
        for table in _EMPTIED:
            connection.exec_driver_sql(f"DELETE FROM {table.name}")
        connection.execute(insert(schema.experiments), _DEFAULT)
        connection.exec_driver_sql(_COUNT_AGAIN[place.kind])
    return place


def mlflow_errs(kind: str, filter_: str) -> bool:
    """Whether MLflow itself finds the wrong thing, or nothing, by that filter on that kind of database."""
    if kind == "postgres":  # at which it compares these numbers with texts
        return re.search(r"\b(status|experiment_id)\b", filter_) is not None
    # LIKE takes _ for a byte there.
    return kind == "mariadb" and re.search(r"\bLIKE\b.*_", filter_, re.IGNORECASE) is not None


@cache
def mlflow_tracking(uri: str) -> Any:
    """The real MLflow's tracking store on a server's database, one for all tests."""
    with warnings.catch_warnings(action="ignore"):  # MLflow uses what SQLAlchemy 2.1 deprecates
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        return SqlAlchemyStore(uri, ROOT)


@cache
def mlflow_registry(uri: str) -> Any:
    """The real MLflow's registry on a server's database, one for all tests."""
    with warnings.catch_warnings(action="ignore"):
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

        return SqlAlchemyStore(uri)


@cache
def _made(kind: str, by_mlflow: bool, exact: bool) -> Place:
    uri = new(kind, exact=exact)
    if by_mlflow:
        mlflow_tracking(uri)
    dialect = choose(uri, FEW)
    dialect.prepare(lambda conn: tables.prepare(conn, "", "", ROOT))
    dialect.close()
    return Place(kind, uri)


@cache
def _engine(uri: str) -> Engine:
    return create_engine(uri, isolation_level="AUTOCOMMIT", pool_pre_ping=True)  # tests cut connections


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
