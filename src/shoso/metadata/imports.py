"""Experiments, runs and models of another store, kept as they were there: ids, times, stages and histories.

What is there whole is left as it is, so that the same may be brought in again. A run or a logged model of
which more comes has the tag shoso.importing until it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, cast, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import REGCLASS

from shoso.core import locations
from shoso.errors import Kind, TrackingError
from shoso.metadata import datasets, imported, metrics, rules
from shoso.metadata.bulk import BulkInsert, BulkSelect
from shoso.metadata.clauses import parts
from shoso.metadata.dialects.texts import same
from shoso.metadata.schema import experiment_tags, experiments, logged_model_tags, params, runs, tags
from shoso.metadata.schema import metrics as metrics_table
from shoso.metadata.workspace import SERVED, elsewhere, served_experiments, served_runs
from shoso.wire.imports import (
    Imported,
    ImportedExperiment,
    ImportedRun,
    ImportIds,
    PlacedExperiment,
    Refused,
)
from shoso.wire.requests import ParamInput, TagInput

IMPORTING = "shoso.importing"
"""The tag of what isn't whole yet."""

_VALUE_MAX = 8000
"""Characters of a param or a run's tag, where the database counts them; SQLite doesn't."""

_GOING_ON = ("RUNNING", "SCHEDULED")

_COUNTING = {"postgresql", "mysql", "mariadb", "mssql"}
_NUMBER_MAX = 2**31 - 1
"""The largest id of an experiment, where a database's INTEGER has 32 bits."""


def place(conn: Connection, given: ImportedExperiment, artifact_root: str) -> PlacedExperiment:
    """The experiment of that name, or a new one, under its own id if nobody else has it.

    Without a location its artifacts go below `artifact_root`. Raises TrackingError(INVALID).
    """
    rules.experiment_name(given.name)
    query = select(experiments.c.experiment_id, experiments.c.artifact_location)
    if row := conn.execute(query.where(SERVED, same(experiments.c.name, given.name))).one_or_none():
        return PlacedExperiment(
            given.experiment_id, row.experiment_id, row.artifact_location or "", made=False
        )
    number = _insert_experiment(conn, given)
    location = given.artifact_location or locations.below(locations.absolute(artifact_root), str(number))
    of_it = experiments.c.experiment_id == number
    conn.execute(update(experiments).where(of_it).values(artifact_location=location))
    rows = [{"experiment_id": number, "key": tag.key, "value": tag.value} for tag in given.tags]
    if rows:
        conn.execute(insert(experiment_tags), rows)
    return PlacedExperiment(given.experiment_id, number, location, made=True)


def add_runs(conn: Connection, given: Sequence[ImportedRun]) -> Imported:
    """Add runs, or parts of them, in their order; to those that are there, what they lack.

    What of a run the database can't keep is refused, and the rest kept. Raises TrackingError (NOT_FOUND).
    """
    _require_experiments(conn, {run.experiment_id for run in given})
    there = _stages(conn, {run.run_id for run in given})
    if hidden := there.keys() - set(served_runs(conn, there)):
        raise elsewhere("run", min(hidden))
    new = [run for run in given if run.part == 0 and run.run_id not in there]
    begun = {run.run_id for run in new} | {run_id for run_id, done in there.items() if not done}
    wanted = [run for run in given if run.run_id in begun or run.run_id in there]
    refused: list[Refused] = []
    _RUNS.execute(conn, [_run_row(run) for run in new])
    imported.remember(conn, "run", [(run.run_id, run.artifact_uri) for run in new if run.stays])
    _clear(conn, [run.run_id for run in wanted if run.part == 0 and there.get(run.run_id) is False])
    _end(conn, [run for run in wanted if run.part == 0 and run.run_id in there])
    added = {
        "params": _add_values(conn, _PARAMS, wanted, list(there), refused),
        "tags": _add_values(conn, _TAGS, wanted, list(there), refused),
        "points": _add_points(conn, wanted, [run_id for run_id, done in there.items() if done]),
    }
    for run in wanted:
        datasets.restore(conn, run)
    last = {run.run_id: run for run in wanted if run.run_id in begun}
    _mark(conn, [run_id for run_id, run in last.items() if run.more])
    done = [run_id for run_id, run in last.items() if not run.more]
    finish(conn, ImportIds(runs=done))
    return Imported(runs=len(done), **added, refused=refused)


def known_runs(conn: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Those of the runs that are there whole, and where their artifacts are."""
    whole = served_runs(conn, [run_id for run_id, done in _stages(conn, ids).items() if done])
    return {run_id: uri or "" for run_id, uri in _PLACES.rows(conn, whole)}


def finish(conn: Connection, which: ImportIds) -> None:
    """Say that runs and logged models are whole."""
    for ids in parts(which.runs):
        conn.execute(delete(tags).where(tags.c.run_uuid.in_(ids), tags.c.key == IMPORTING))
    row = logged_model_tags.c
    for ids in parts(which.models):
        conn.execute(delete(logged_model_tags).where(row.model_id.in_(ids), row.tag_key == IMPORTING))


# -- experiments ------------------------------------------------------------------------------------------


def _insert_experiment(conn: Connection, given: ImportedExperiment) -> int:
    row: dict[str, Any] = {
        "name": given.name,
        "lifecycle_stage": given.lifecycle_stage,
        "creation_time": given.creation_time,
        "last_update_time": given.last_update_time,
    }
    if _is_free(conn, given.experiment_id):
        conn.execute(insert(experiments).values(**row, experiment_id=given.experiment_id))
        _count_on(conn)
        return given.experiment_id
    made = conn.execute(insert(experiments).values(**row)).inserted_primary_key
    return int(made[0]) if made else 0


def _is_free(conn: Connection, number: int) -> bool:
    """Whether an experiment may have that id: 0 is the default's, and some databases give theirs only."""
    if number == 0 or conn.dialect.name == "mssql":
        return False
    if conn.dialect.name in _COUNTING and number > _NUMBER_MAX:
        return False
    query = select(func.count()).where(experiments.c.experiment_id == number)
    return conn.scalar(query) == 0


def _count_on(conn: Connection) -> None:
    """Let PostgreSQL's sequence go on behind the ids that were given; other databases do it themselves.

    It never goes back: an id that somebody had is not given out again, and not one that is being taken.
    """
    if conn.dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence("experiments", "experiment_id")
        largest = select(func.max(experiments.c.experiment_id)).scalar_subquery()
        last = func.pg_sequence_last_value(cast(sequence, REGCLASS))
        conn.execute(select(func.setval(sequence, func.greatest(largest, last))))


def _require_experiments(conn: Connection, numbers: Iterable[int]) -> None:
    wanted = set(numbers)
    if missing := wanted - set(served_experiments(conn, list(wanted))):
        raise TrackingError(Kind.NOT_FOUND, f"No Experiment with id={min(missing)} exists")


# -- runs -------------------------------------------------------------------------------------------------

_THERE = BulkSelect(select(runs.c.run_uuid).where(runs.c.run_uuid.in_([""])))
_PLACES = BulkSelect(select(runs.c.run_uuid, runs.c.artifact_uri).where(runs.c.run_uuid.in_([""])))
_POINTS = BulkSelect(
    select(func.count()).select_from(metrics_table).where(metrics_table.c.run_uuid.in_([""]))
)
_HELD = {
    table: BulkSelect(select(table.c.run_uuid, table.c.key).where(table.c.run_uuid.in_([""])))
    for table in (params, tags)
}
_RUNS = BulkInsert(runs)
_PARAMS = BulkInsert(params)
_TAGS = BulkInsert(tags)


def _stages(conn: Connection, ids: Iterable[str]) -> dict[str, bool]:
    """Of the runs that are there: whether they are whole."""
    there = {run_id for (run_id,) in _THERE.rows(conn, list(ids))}
    unfinished: set[str] = set()
    for part in parts(list(there)):
        marked = select(tags.c.run_uuid).where(tags.c.run_uuid.in_(part), tags.c.key == IMPORTING)
        unfinished |= set(conn.scalars(marked))
    return {run_id: run_id not in unfinished for run_id in there}


def _run_row(run: ImportedRun) -> tuple[object, ...]:
    """A row of `runs`, in the order of its columns."""
    return (
        run.run_id,
        run.name,
        run.source_type,
        run.source_name,
        run.entry_point_name,
        run.user_id,
        run.status,
        run.start_time,
        run.end_time,
        run.source_version,
        run.lifecycle_stage,
        run.artifact_uri,
        run.experiment_id,
        run.deleted_time,
    )


def _clear(conn: Connection, ids: Sequence[str]) -> None:
    """Forget params and tags of runs whose import begins again; points that come twice are one."""
    for part in parts(ids):
        conn.execute(delete(params).where(params.c.run_uuid.in_(part)))
        conn.execute(delete(tags).where(tags.c.run_uuid.in_(part)))


def _end(conn: Connection, given: Iterable[ImportedRun]) -> None:
    """Let runs that went on when they were brought end as they have ended since."""
    for run in given:
        if run.status not in _GOING_ON:
            going_on = runs.c.run_uuid == run.run_id, runs.c.status.in_(_GOING_ON)
            ended = {"status": run.status, "end_time": run.end_time}
            conn.execute(update(runs).where(*going_on).values(ended))


def _add_values(
    conn: Connection,
    to: BulkInsert,
    given: Iterable[ImportedRun],
    there: Sequence[str],
    refused: list[Refused],
) -> int:
    """Add params or tags, but for those whose key a run that is `there` has; how many were added."""
    held = {(run_id, key) for run_id, key in _HELD[to.table].rows(conn, there)}
    limit = _VALUE_MAX if conn.dialect.name in _COUNTING else None
    found = _values(given, to.table.name, limit, refused)
    rows = [row for row in found if (row[2], row[0]) not in held]
    to.execute(conn, rows)
    return len(rows)


def _values(
    given: Iterable[ImportedRun], what: str, limit: int | None, refused: list[Refused]
) -> Iterator[tuple[str, str, str]]:
    """Rows of `params` or `tags`, in the order of their columns."""
    for run in given:
        for one in getattr(run, what):
            if why := _fault(one, limit):
                refused.append(Refused(f"run {run.run_id}", f"Of its {what} '{one.key[:100]}': {why}"))
            else:
                yield one.key, one.value, run.run_id


def _add_points(conn: Connection, given: Iterable[ImportedRun], whole: Sequence[str]) -> int:
    """Add points; one that is there is the same one. How many came, of runs that are there `whole` as new."""
    held = set(whole)
    rows = [(run.run_id, *_point(point)) for run in given for point in run.metrics]
    came = sum(row[0] not in held for row in rows)
    before = _points(conn, whole)
    metrics.restore(conn, rows)
    return came + _points(conn, whole) - before


def _points(conn: Connection, ids: Sequence[str]) -> int:
    return sum(count for (count,) in _POINTS.rows(conn, ids))


def _fault(one: ParamInput | TagInput, limit: int | None) -> str:
    try:
        rules.check_length("key", rules.KEY_MAX, one.key)
    except TrackingError as error:
        return error.message
    if limit is not None and len(one.value) > limit:
        return f"it has {len(one.value):,} characters, and the database keeps {limit:,}."
    return ""


def _point(given: Any) -> tuple[str, float, int, int]:
    return given.key, float(given.value), given.timestamp, given.step


def _mark(conn: Connection, ids: Sequence[str]) -> None:
    finish(conn, ImportIds(runs=list(ids)))
    _TAGS.execute(conn, [(IMPORTING, "true", run_id) for run_id in ids])
