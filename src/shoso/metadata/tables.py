"""The tables of a database that is opened: made or checked, and ours brought up to date."""

from __future__ import annotations

import time

from sqlalchemy import Connection, delete, insert, inspect, select

from shoso.core import locations
from shoso.errors import ConfigError
from shoso.metadata import mlflow_services, mlflow_tables, own
from shoso.metadata.schema import (
    HEAD,
    SCHEMA,
    WORKSPACE,
    alembic_version,
    experiments,
    registered_models,
    workspaces,
)

_FOR_MLFLOW = (mlflow_tables, mlflow_services)
"""The modules whose tables must be in SCHEMA before a database is created from it."""

_IN_WORKSPACES = (experiments, registered_models)


def prepare(conn: Connection, setting: str, shown: str, artifact_root: str) -> None:
    """Create or check the tables of the database that `shown` is the URI of. Raises ConfigError."""
    there = set(inspect(conn).get_table_names())
    if there <= {alembic_version.name} or own.is_unfinished(conn, there):
        own.begin(conn)
        _create(conn)
    _check(conn, setting, shown)
    own.upgrade(conn, setting)
    _ensure_default(conn, artifact_root)


def check(conn: Connection, setting: str, shown: str) -> None:
    """Refuse a schema that isn't MLflow's at our revision, and rows that we'd never show."""
    _check(conn, setting, shown)


def _create(conn: Connection) -> None:
    SCHEMA.create_all(conn)
    conn.execute(delete(alembic_version))  # a migration that failed may have left a row
    if conn.scalar(select(workspaces.c.name).where(workspaces.c.name == WORKSPACE)) is None:
        description = "Default workspace for legacy resources"
        conn.execute(insert(workspaces).values(name=WORKSPACE, description=description))
    # Last: where a database doesn't undo tables, this says that all of them are there.
    conn.execute(insert(alembic_version).values(version_num=HEAD))


def _check(conn: Connection, setting: str, shown: str) -> None:
    there = set(inspect(conn).get_table_names())
    if alembic_version.name not in there:
        raise ConfigError(
            setting, "the database holds another program's tables; name one of its own for the runs"
        )
    revision = conn.scalar(select(alembic_version.c.version_num))
    if revision != HEAD:
        raise ConfigError(
            setting,
            f"the database is at schema revision {revision}, this version of Shoso reads {HEAD}. Back it up,"
            f" then run: mlflow db upgrade {shown} (or, if MLflow is newer than 3.17, upgrade Shoso)",
        )
    if missing := SCHEMA.tables.keys() - there:
        raise ConfigError(setting, f"the database lacks the table '{min(missing)}'; restore it from a backup")
    for table in _IN_WORKSPACES:
        foreign = select(table.c.workspace).where(table.c.workspace != WORKSPACE)
        if conn.execute(foreign.limit(1)).first() is not None:
            raise ConfigError(
                setting,
                "the database has experiments or models in MLflow workspaces, which Shoso would not show;"
                " move them to the workspace 'default' first",
            )


def _ensure_default(conn: Connection, artifact_root: str) -> None:
    """Experiment 0, as MLflow has it: made when it isn't there, in any stage."""
    if conn.scalar(select(experiments.c.experiment_id).where(experiments.c.experiment_id == 0)) is not None:
        return
    taken = select(experiments.c.experiment_id).where(experiments.c.name == "Default")
    if conn.scalar(taken) is not None:
        return
    now = time.time_ns() // 1_000_000
    location = locations.below(locations.absolute(artifact_root), "0")
    conn.execute(
        insert(experiments).values(
            experiment_id=0,
            name="Default",
            artifact_location=location,
            lifecycle_stage="active",
            creation_time=now,
            last_update_time=now,
        )
    )
