"""The one workspace that is served: rows of others are there for MLflow alone, neither shown nor changed.

Experiments and registered models name their workspace; a run or logged model is in that of its experiment.
Whatever is found by an id of a client's needs one of these conditions; what is found by that, needs no more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, exists, literal_column, select

from shoso.errors import Kind, TrackingError
from shoso.metadata.bulk import BulkSelect
from shoso.metadata.schema import WORKSPACE, experiments, runs

SERVED: ColumnElement[bool] = experiments.c.workspace == literal_column(f"'{WORKSPACE}'")
"""The condition that an experiment is served; without a parameter, as `BulkSelect` needs it."""


def is_served(table: Table) -> ColumnElement[bool]:
    """The condition that the experiment of a run or logged model is served."""
    row = experiments.c.experiment_id
    return exists(select(row).where(row == table.c.experiment_id, SERVED).correlate(table))


def is_of_served_run(run_id: Any) -> ColumnElement[bool]:
    """The condition that a run of that id is there, and served."""
    row = runs.c.run_uuid
    return exists(select(row).where(row == run_id, is_served(runs)).correlate_except(runs))


def served_experiments(conn: Connection, numbers: Sequence[int]) -> list[int]:
    """Those of the experiments that are there, and served; in the same order."""
    found = {number for (number,) in _EXPERIMENTS.rows(conn, numbers)}
    return [number for number in numbers if number in found]


def served_runs(conn: Connection, run_ids: Collection[str]) -> list[str]:
    """Those of the runs that are there, and served; in the same order."""
    found = {run_id for (run_id,) in _RUNS.rows(conn, [*run_ids])}
    return [run_id for run_id in run_ids if run_id in found]


def elsewhere(what: str, id_: str) -> TrackingError:
    """The error of an id that is taken where nothing is served."""
    message = f"The {what} {id_} is in another workspace than '{WORKSPACE}', and stays as it is there."
    return TrackingError(Kind.NOT_FOUND, message)


_EXPERIMENTS = BulkSelect(
    select(experiments.c.experiment_id).where(experiments.c.experiment_id.in_([0]), SERVED)
)
_RUNS = BulkSelect(select(runs.c.run_uuid).where(runs.c.run_uuid.in_([""]), is_served(runs)))
