"""What has artifacts: runs, logged models and experiments, as they are found to be kept, moved or deleted.

Page by page, in the order of ids, so that any number of them is looked at in the same memory.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    exists,
    false,
    func,
    or_,
    select,
)

from shoso.metadata.clauses import parts
from shoso.metadata.lifecycle import DELETED
from shoso.metadata.schema import USED, experiments, logged_models, runs
from shoso.metadata.whole import whole
from shoso.metadata.workspace import SERVED, is_served

PAGE = 1000
"""Holdings that are read at once."""


class Kind(enum.StrEnum):
    """What a holding is."""

    RUN = "run"
    MODEL = "model"
    EXPERIMENT = "experiment"


class Holding(NamedTuple):
    """A run, a logged model or an experiment; `since` is when it was deleted, in milliseconds.

    That of a model or an experiment is when it was last changed; None where nobody knows.
    """

    kind: Kind
    id: str
    name: str
    experiment_id: int
    stage: str
    since: int | None
    location: str

    @property
    def deleted(self) -> bool:
        """Whether it is marked deleted."""
        return self.stage == DELETED


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which holdings: those with these ids, or of these experiments; with neither, all.

    `deleted` takes only what is marked deleted; `before` only what is since before that millisecond.
    """

    ids: Sequence[str] | None = None
    experiments: Sequence[int] | None = None
    deleted: bool = False
    before: int | None = None


def page(conn: Connection, kind: Kind, wanted: Wanted, after: str = "") -> list[Holding]:
    """The first holdings behind the id `after`; fewer than PAGE are the last ones."""
    source = _SOURCES[kind]
    behind = source.id > source.parsed(after) if after else source.served
    found: list[Holding] = []
    for condition in _conditions(source, wanted):
        query = source.select().where(condition, behind)
        rows = conn.execute(query.order_by(source.id).limit(PAGE))
        found += [Holding(kind, str(row[0]), *row[1:]) for row in rows]
    found.sort(key=lambda one: source.parsed(one.id))
    return found[:PAGE]


class Lived(NamedTuple):
    """What keeps an experiment: a table of MLflow's, a run that is active, one that is deleted too lately."""

    table: str | None
    active: str | None
    late: str | None


def lived_in(conn: Connection, experiment_ids: Sequence[int], before: int | None) -> dict[int, Lived]:
    """Those of the experiments that have rows which keep them; runs deleted before that millisecond don't."""
    tables, row = obstacles(conn, experiment_ids), runs.c
    active = or_(row.lifecycle_stage.is_(None), row.lifecycle_stage != DELETED)
    late = false() if before is None else or_(row.deleted_time.is_(None), row.deleted_time > before)
    kept = [func.min(case((condition, row.run_uuid))) for condition in (active, and_(~active, late))]
    found = {number: Lived(table, None, None) for number, table in tables.items()}
    for some in parts(experiment_ids):
        query = select(row.experiment_id, *kept).where(row.experiment_id.in_(some), or_(active, late))
        for number, *ids in conn.execute(query.group_by(row.experiment_id)):
            found[number] = Lived(tables.get(number), *ids)
    return found


def obstacles(conn: Connection, experiment_ids: Sequence[int]) -> dict[int, str]:
    """Those of the experiments that have rows of MLflow's which Shoso leaves alone, and in which table."""
    found: dict[int, str] = {}
    for some in parts(experiment_ids):
        query = select(experiments.c.experiment_id).where(experiments.c.experiment_id.in_(some))
        for table in _left_alone():
            inside = select(table.c.experiment_id).where(table.c.experiment_id == experiments.c.experiment_id)
            found |= dict.fromkeys(conn.scalars(query.where(exists(inside))), table.name)
    return found


def folders(conn: Connection) -> list[tuple[int, str]]:
    """Id and artifact location of every experiment, in any workspace."""
    query = select(experiments.c.experiment_id, experiments.c.artifact_location)
    return [(number, location or "") for number, location in conn.execute(query)]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where holdings of a kind are found: columns of the id, and of what is asked about."""

    id: ColumnElement[Any]
    name: ColumnElement[Any]
    stage: ColumnElement[Any]
    since: ColumnElement[Any]
    location: ColumnElement[Any]
    experiment: ColumnElement[Any]
    served: ColumnElement[bool]

    def select(self) -> Select[Any]:
        """All of them."""
        return select(self.id, self.name, self.experiment, self.stage, self.since, self.location).where(
            self.served
        )

    def parsed(self, id_: str) -> str | int:
        """The id as its column has it."""
        return int(id_) if self.id is experiments.c.experiment_id else id_


_SOURCES = {
    Kind.RUN: _Source(
        runs.c.run_uuid,
        runs.c.name,
        runs.c.lifecycle_stage,
        runs.c.deleted_time,
        runs.c.artifact_uri,
        runs.c.experiment_id,
        is_served(runs),
    ),
    Kind.MODEL: _Source(
        logged_models.c.model_id,
        logged_models.c.name,
        logged_models.c.lifecycle_stage,
        logged_models.c.last_updated_timestamp_ms,
        logged_models.c.artifact_location,
        logged_models.c.experiment_id,
        is_served(logged_models),
    ),
    Kind.EXPERIMENT: _Source(
        experiments.c.experiment_id,
        experiments.c.name,
        experiments.c.lifecycle_stage,
        experiments.c.last_update_time,
        experiments.c.artifact_location,
        experiments.c.experiment_id,
        SERVED,
    ),
}


@cache
def _left_alone() -> list[Table]:
    """Tables whose rows belong to an experiment, and that Shoso doesn't serve."""
    return [
        table
        for table in whole().sorted_tables
        if table not in USED
        and any(key.column.table is experiments for column in table.columns for key in column.foreign_keys)
    ]


def _conditions(source: _Source, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    common = []
    if wanted.deleted:
        common.append(source.stage == DELETED)
    if wanted.before is not None:
        common.append(source.since <= wanted.before)
    if wanted.ids is None and wanted.experiments is None:
        yield and_(*common, source.served)
    for ids in parts([source.parsed(id_) for id_ in wanted.ids or ()]):
        yield and_(*common, source.id.in_(ids))
    for numbers in parts(list(wanted.experiments or ())):
        yield and_(*common, source.experiment.in_(numbers))
