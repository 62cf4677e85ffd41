"""Runs: what they are, their params and tags; their metrics are in `metrics`, their inputs in `datasets`.

A run's name is kept twice, as MLflow does: in its row and as the tag mlflow.runName.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy import delete as delete_from
from sqlalchemy import update as change

from shoso.core import locations
from shoso.core.clock import now_ms
from shoso.errors import Kind, ShosoError, TrackingError
from shoso.metadata import claims, datasets, experiments, lifecycle, metrics, rules
from shoso.metadata.bulk import BulkInsert, BulkSelect, insert_all
from shoso.metadata.dialects.texts import same
from shoso.metadata.dialects.upserts import Upsert
from shoso.metadata.lifecycle import ACTIVE, DELETED
from shoso.metadata.names import random_name
from shoso.metadata.outcomes import attempt, only
from shoso.metadata.schema import params, runs, tags
from shoso.metadata.workspace import is_served
from shoso.wire.entities import Param, Run, RunData, RunInfo, Tag
from shoso.wire.requests import CreateRun, LogBatch, MetricInput, ParamInput, TagInput, UpdateRun

RUN_NAME = "mlflow.runName"

_PAGE = 500
"""Runs that are loaded together."""


def create(
    conn: Connection, request: CreateRun, truncate: bool = True, run_id: str = "", *, again: bool = False
) -> Run:
    """A new run in an active experiment, running; `again`: it may be there. Raises NOT_FOUND, INVALID."""
    return only(create_each(conn, [(request, truncate, run_id or uuid.uuid4().hex)], again=again))


def create_each(
    conn: Connection, asked: Sequence[tuple[CreateRun, bool, str]], *, again: bool = False
) -> Sequence[Run | ShosoError]:
    """New runs of these ids, long values cut where that is asked for: each of them, or why there is none.

    `again`: some of them may be there.
    """
    found = _experiments(conn, {request.experiment_id for request, *_ in asked})
    made = [attempt(_new, found[each[0].experiment_id], *each) for each in asked]
    there = {run_id for (run_id,) in _IDS.rows(conn, [run_id for *_, run_id in asked])} if again else set()
    new = [each for each in made if isinstance(each, _New) and each.row.run_uuid not in there]
    tagged = [(key, value, each.row.run_uuid) for each in new for key, value in each.tags.items()]
    insert_all(conn, [(_INSERT, [each.row for each in new]), (_UPSERT_TAGS, tagged)])
    return [
        each if isinstance(each, TrackingError) else _made(conn, each, each.row.run_uuid in there)
        for each in made
    ]


def get(conn: Connection, run_id: str) -> Run:
    """The run, in any stage, with all that belongs to it. Raises TrackingError(NOT_FOUND)."""
    return from_rows(conn, [_row(conn, run_id)])[0]


def artifact_uri(conn: Connection, run_id: str) -> str:
    """Where the run, in any stage, keeps its artifacts. Raises TrackingError(NOT_FOUND)."""
    query = select(runs.c.artifact_uri).where(same(runs.c.run_uuid, run_id), is_served(runs))
    row = conn.execute(query).one_or_none()
    if row is None:
        raise lifecycle.no_run(run_id)
    return row.artifact_uri or ""


def update(conn: Connection, run_id: str, request: UpdateRun) -> RunInfo:
    """Change status, end time or name, as the request has them. Raises TrackingError (NOT_FOUND, INVALID)."""
    lifecycle.active_run(conn, run_id)
    values: dict[str, Any] = {}
    if request.status is not None:
        values["status"] = rules.status(request.status)
    if request.end_time is not None:
        values["end_time"] = request.end_time
    if values:
        _change(conn, run_id, **values)
    if request.run_name:
        _rename(conn, run_id, request.run_name)
    return _info(_row(conn, run_id))


def delete(conn: Connection, run_id: str) -> None:
    """Mark a run deleted, whatever its stage; nothing of it is lost. Raises TrackingError(NOT_FOUND)."""
    _row(conn, run_id)
    _change(conn, run_id, lifecycle_stage=DELETED, deleted_time=now_ms())


def restore(conn: Connection, run_id: str) -> None:
    """Make a run active, whatever its stage and its experiment's.

    Raises TrackingError: NOT_FOUND, or INVALID when it is being deleted for good.
    """
    _row(conn, run_id)
    _change(conn, run_id, lifecycle_stage=ACTIVE, deleted_time=None)
    claims.refuse_claimed(conn, "run", run_id)


def log_params(conn: Connection, run_id: str, given: Sequence[ParamInput], truncate: bool) -> None:
    """Log params of an active run; one that is there already must have the same value.

    Raises TrackingError (NOT_FOUND, INVALID).
    """
    kept = [rules.param(param, truncate=truncate) for param in given]
    rules.distinct_params(kept)
    lifecycle.active_run(conn, run_id)
    _put_params(conn, run_id, kept)


def set_tags(conn: Connection, run_id: str, given: Sequence[TagInput], truncate: bool) -> None:
    """Set tags of an active run; of a key that comes twice the last value stays.

    Raises TrackingError (NOT_FOUND, INVALID).
    """
    kept = [rules.tag(tag, truncate=truncate) for tag in given]
    lifecycle.active_run(conn, run_id)
    _set_tags(conn, run_id, kept)


def delete_tag(conn: Connection, run_id: str, key: str) -> None:
    """Delete a tag of an active run. Raises TrackingError (NOT_FOUND, INVALID)."""
    lifecycle.active_run(conn, run_id)
    done = conn.execute(delete_from(tags).where(tags.c.run_uuid == run_id, same(tags.c.key, key)))
    if not done.rowcount:
        raise TrackingError(Kind.NOT_FOUND, f"No tag with name: {key} in run with id {run_id}")


def log_batch(conn: Connection, request: LogBatch, truncate: bool) -> None:
    """Log metrics, params and tags of an active run: all of them or, if one is refused, none.

    Raises TrackingError (NOT_FOUND, INVALID).
    """
    only(log_batches(conn, [(request, truncate)]))


def log_batches(conn: Connection, asked: Sequence[tuple[LogBatch, bool]]) -> Sequence[ShosoError | None]:
    """Log batches of many runs as if one after the other: per batch None, or why nothing of it was logged.

    A point of a model that isn't there raises TrackingError(REJECTED), whatever else there is.
    """
    checked = [attempt(rules.batch, request, truncate=truncate) for request, truncate in asked]
    run_ids = [each.run_id for each in checked if isinstance(each, LogBatch)]
    refused = lifecycle.refusals(conn, run_ids)
    checked = [refused.get(each.run_id, each) if isinstance(each, LogBatch) else each for each in checked]
    there = _params_of(conn, [each.run_id for each in checked if isinstance(each, LogBatch) and each.params])
    kept = _Kept()
    outcomes = [
        each if isinstance(each, TrackingError) else attempt(kept.take, each, there) for each in checked
    ]
    kept.store(conn)
    return outcomes


def from_rows(conn: Connection, rows: Sequence[Row[Any]]) -> list[Run]:
    """The runs of rows of the table, with all that belongs to them, in the same order."""
    found: list[Run] = []
    for start in range(0, len(rows), _PAGE):
        found += _loaded(conn, rows[start : start + _PAGE])
    return found


_INSERT = BulkInsert(runs)
_IDS = BulkSelect(select(runs.c.run_uuid).where(runs.c.run_uuid.in_([""])))
_ROW = select(runs).where(same(runs.c.run_uuid, bindparam("id")), is_served(runs))
_PARAMS = BulkSelect(
    select(params.c.run_uuid, params.c.key, params.c.value).where(params.c.run_uuid.in_([""]))
)
_TAGS = BulkSelect(select(tags.c.run_uuid, tags.c.key, tags.c.value).where(tags.c.run_uuid.in_([""])))
_INSERT_PARAMS = BulkInsert(params)
_UPSERT_TAGS = BulkInsert(Upsert(tags, replaced=("value",)))


class _Row(NamedTuple):
    """A row of `runs`, in the order of its columns."""

    run_uuid: str
    name: str
    source_type: str
    source_name: str
    entry_point_name: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    source_version: str
    lifecycle_stage: str
    artifact_uri: str
    experiment_id: int
    deleted_time: int | None


class _New(NamedTuple):
    """A run to be made."""

    row: _Row
    tags: dict[str, str]


class _Kept:
    """The rows of batches that may be logged."""

    def __init__(self) -> None:
        self._params: list[tuple[str, str, str]] = []
        self._points: list[tuple[str, MetricInput]] = []
        self._tags: dict[tuple[str, str], str] = {}

    def take(self, batch: LogBatch, there: defaultdict[str, dict[str, str]]) -> None:
        """Add those of a batch, to the params that are `there` too. Raises TrackingError(INVALID)."""
        run_id, known = batch.run_id, there[batch.run_id]
        _check_same(run_id, batch.params, known)
        self._params += [(p.key, p.value, run_id) for p in batch.params if p.key not in known]
        known |= {param.key: param.value for param in batch.params}
        self._points += [(run_id, point) for point in batch.metrics]
        self._tags |= {(run_id, key): value for key, value in _lasting(batch.tags).items()}

    def store(self, conn: Connection) -> None:
        """Insert all of them. Raises TrackingError(REJECTED) for a point of a model that isn't there."""
        tagged = [(key, value, run_id) for (run_id, key), value in self._tags.items()]
        points = metrics.inserts(self._points)
        insert_all(conn, [(_INSERT_PARAMS, self._params), *points, (_UPSERT_TAGS, tagged)])
        metrics.log_of_models(conn, self._points)
        for (run_id, key), value in self._tags.items():
            if key == RUN_NAME:
                _change(conn, run_id, name=value)


def _experiments(conn: Connection, ids: Iterable[str]) -> dict[str, Row[Any] | TrackingError]:
    """The experiments to make runs in, or why that can't be, by their ids."""
    return {id_: attempt(_experiment, conn, id_) for id_ in sorted(ids)}


def _experiment(conn: Connection, id_: str) -> Row[Any]:
    if not id_:
        raise TrackingError(Kind.REJECTED, "The request names no experiment_id to create the run in.")
    return experiments.active(conn, id_, shared=True)


def _new(experiment: Row[Any] | TrackingError, request: CreateRun, truncate: bool, run_id: str) -> _New:
    if isinstance(experiment, TrackingError):
        raise experiment
    given = [rules.first_tag(tag, truncate=truncate, path=f"tags[{i}]") for i, tag in enumerate(request.tags)]
    rules.distinct_tags(given)
    name = _name(request.run_name, given)
    row = _Row(
        run_uuid=run_id,
        name=name,
        source_type="UNKNOWN",
        source_name="",
        entry_point_name="",
        user_id=request.user_id,
        status=rules.RUNNING,
        start_time=request.start_time,
        end_time=None,
        source_version="",
        lifecycle_stage=ACTIVE,
        artifact_uri=locations.below(experiment.artifact_location, run_id, "artifacts"),
        experiment_id=experiment.experiment_id,
        deleted_time=None,
    )
    return _New(row, {tag.key: tag.value for tag in given} | {RUN_NAME: name})


def _made(conn: Connection, new: _New, there: bool) -> Run:
    """The run as it was made now, or before."""
    if there:
        return get(conn, new.row.run_uuid)
    return Run(_info(new.row), RunData(tags=[Tag(*tag) for tag in new.tags.items()]))


def _loaded(conn: Connection, rows: Sequence[Row[Any]]) -> list[Run]:
    ids = [row.run_uuid for row in rows]
    latest = metrics.latest_of(conn, ids)
    logged: defaultdict[str, list[Param]] = defaultdict(list)
    for run_id, key, value in _PARAMS.rows(conn, ids):
        logged[run_id].append(Param(key, value))
    tagged: defaultdict[str, list[Tag]] = defaultdict(list)
    for run_id, key, value in _TAGS.rows(conn, ids):
        tagged[run_id].append(Tag(key, value or ""))
    read, made = datasets.inputs_of(conn, ids), datasets.outputs_of(conn, ids)
    return [
        Run(
            _info(row),
            RunData(latest.get(id_, ()), logged.get(id_, ()), tagged.get(id_, ())),
            read[id_],
            made[id_],
        )
        for id_, row in zip(ids, rows, strict=True)
    ]


def _info(row: Any) -> RunInfo:
    return RunInfo(
        run_uuid=row.run_uuid,
        run_id=row.run_uuid,
        experiment_id=str(row.experiment_id),
        user_id=row.user_id or "",
        status=row.status,
        start_time=row.start_time or 0,
        artifact_uri=row.artifact_uri or "",
        lifecycle_stage=row.lifecycle_stage,
        run_name=row.name,
        end_time=row.end_time or None,
    )


def _row(conn: Connection, run_id: str) -> Row[Any]:
    row = conn.execute(_ROW, {"id": run_id}).one_or_none()
    if row is None:
        raise lifecycle.no_run(run_id)
    return row


def _name(asked: str, given: Iterable[TagInput]) -> str:
    """The name of a new run: as asked for, else as tagged, else a random one."""
    tagged = next((tag.value for tag in given if tag.key == RUN_NAME), "")
    if asked and tagged and asked != tagged:
        raise TrackingError(
            Kind.INVALID,
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values"
            f" (run_name='{asked}', mlflow.runName='{tagged}').",
        )
    return asked or tagged or random_name()


def _change(conn: Connection, run_id: str, **values: object) -> None:
    conn.execute(change(runs).where(runs.c.run_uuid == run_id).values(**values))


def _rename(conn: Connection, run_id: str, name: str) -> None:
    _change(conn, run_id, name=name)
    _put_tags(conn, run_id, {RUN_NAME: name})


def _set_tags(conn: Connection, run_id: str, given: Iterable[TagInput]) -> None:
    values = _lasting(given)
    _put_tags(conn, run_id, values)
    if RUN_NAME in values:
        _change(conn, run_id, name=values[RUN_NAME])


def _lasting(given: Iterable[TagInput]) -> dict[str, str]:
    """Tags to be set; an empty mlflow.runName is ignored, as in MLflow: a run always has a name."""
    return {tag.key: tag.value for tag in given if tag.value or tag.key != RUN_NAME}


def _put_tags(conn: Connection, run_id: str, values: dict[str, str]) -> None:
    _UPSERT_TAGS.execute(conn, [(key, value, run_id) for key, value in values.items()])


def _put_params(conn: Connection, run_id: str, given: Sequence[ParamInput]) -> None:
    if not given:
        return
    there = _params_of(conn, [run_id])[run_id]
    _check_same(run_id, given, there)
    _INSERT_PARAMS.execute(conn, [(p.key, p.value, run_id) for p in given if p.key not in there])


def _params_of(conn: Connection, run_ids: Sequence[str]) -> defaultdict[str, dict[str, str]]:
    """The params of each of the runs."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for run_id, key, value in _PARAMS.rows(conn, run_ids):
        found[run_id][key] = value
    return found


def _check_same(run_id: str, given: Iterable[ParamInput], there: dict[str, str]) -> None:
    for param in given:
        if there.get(param.key, param.value) != param.value:
            raise TrackingError(
                Kind.INVALID,
                f"Changing param values is not allowed. Param with key='{param.key}' was already logged with"
                f" value='{there[param.key]}' for run ID='{run_id}'. Attempted logging new value"
                f" '{param.value}'.",
            )
