"""The tables of a database that is opened: made or checked, and ours brought up to date."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, delete, insert, select

from shoso.core import locations
from shoso.core.clock import now_ms
from shoso.errors import ConfigError
from shoso.metadata import compatibility, own
from shoso.metadata.compatibility import Finding, State
from shoso.metadata.revisions import HEAD
from shoso.metadata.schema import WORKSPACE, alembic_version, experiments, workspaces
from shoso.metadata.whole import whole
from shoso.metadata.workspace import SERVED

_log = logging.getLogger(__name__)


def prepare(conn: Connection, setting: str, shown: str, artifact_root: str) -> None:
    """Create or check the tables of the database that `shown` is the URI of. Raises ConfigError."""
    found = _find(conn, setting, shown)
    if found.state in {State.EMPTY, State.UNFINISHED}:
        own.begin(conn)
        _create(conn)
    own.upgrade(conn)
    _ensure_default(conn, artifact_root)
    for table, rows in found.hidden.items():
        _log.info(
            "%d rows of '%s' are in other workspaces than '%s': they aren't shown", rows, table, WORKSPACE
        )


def require(conn: Connection, setting: str, shown: str) -> None:
    """Refuse a database without tables, which opening it would make; what else it is, that tells.

    Raises ConfigError.
    """
    if not compatibility.is_made(conn):
        raise _nothing(setting, shown)


def check(conn: Connection, setting: str, shown: str) -> None:
    """Refuse a database that can't be worked on as it is. Raises ConfigError."""
    if is_empty(conn, setting, shown):
        raise _nothing(setting, shown)


def is_empty(conn: Connection, setting: str, shown: str) -> bool:
    """Whether a database that can be worked on has no tables yet. Raises ConfigError for any other."""
    return _find(conn, setting, shown).state in {State.EMPTY, State.UNFINISHED}


def _nothing(setting: str, shown: str) -> ConfigError:
    return ConfigError(setting, f"there are no runs in '{shown}'; name the database that has them")


def _find(conn: Connection, setting: str, shown: str) -> Finding:
    found = compatibility.find(conn, shown)
    if found.problems:
        raise ConfigError(setting, found.sentence)
    return found


def _create(conn: Connection) -> None:
    whole().create_all(conn)
    conn.execute(delete(alembic_version))  # a migration that failed may have left a row
    if conn.scalar(select(workspaces.c.name).where(workspaces.c.name == WORKSPACE)) is None:
        description = "Default workspace for legacy resources"
        conn.execute(insert(workspaces).values(name=WORKSPACE, description=description))
    # Last: where a database doesn't undo tables, this says that all of them are there.
    conn.execute(insert(alembic_version).values(version_num=HEAD))


def _ensure_default(conn: Connection, artifact_root: str) -> None:
    """Experiment 0, as MLflow has it: made when it isn't there, in any stage."""
    if conn.scalar(select(experiments.c.experiment_id).where(experiments.c.experiment_id == 0)) is not None:
        return
    taken = select(experiments.c.experiment_id).where(SERVED, experiments.c.name == "Default")
    if conn.scalar(taken) is not None:
        return
    now = now_ms()
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
