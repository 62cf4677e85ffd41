"""Logged models: models that runs make, with params, tags and metrics of their own.

Metrics arrive through the run that measured them (`metrics`); everything else is written here. Registered
versions are known by the tag mlflow.modelVersions alone: MLflow fills no `registrations`, nor does Shoso.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select, update

from shoso.core import locations
from shoso.core.clock import now_ms
from shoso.errors import Kind, TrackingError
from shoso.metadata import claims, experiments, model_status
from shoso.metadata.clauses import locked, parts
from shoso.metadata.dialects.texts import among, same
from shoso.metadata.lifecycle import ACTIVE, DELETED
from shoso.metadata.names import random_name
from shoso.metadata.schema import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
)
from shoso.metadata.workspace import is_served
from shoso.wire.entities import LoggedModel, LoggedModelData, LoggedModelInfo, Metric, Param, Tag, double
from shoso.wire.replies import LoggedModelRestored
from shoso.wire.requests import (
    CreateLoggedModel,
    DeleteLoggedModelTag,
    FinalizeLoggedModel,
    GetLoggedModel,
    LoggedModelById,
    LogLoggedModelParams,
    ParamInput,
    SetLoggedModelTags,
    TagInput,
)

_FORBIDDEN_IN_NAMES = "/:.%\"'"
_NAME_LIMIT, _TYPE_LIMIT, _RUN_ID_LIMIT, _KEY_LIMIT = 500, 500, 32, 255
"""The widths of the columns; MLflow leaves them to the database, and SQLite knows none."""


def new_id() -> str:
    """An id that no model has."""
    return f"m-{uuid.uuid4().hex}"


def create(
    conn: Connection, request: CreateLoggedModel, model_id: str = "", *, again: bool = False
) -> LoggedModel:
    """A new model, pending until it is finalized; `again`: it may be there. Raises NOT_FOUND, INVALID."""
    _check_name(request.name)
    _check_length("model_type", request.model_type, _TYPE_LIMIT)
    _check_length("source_run_id", request.source_run_id, _RUN_ID_LIMIT)
    _check_keys("param", request.params)
    _check_keys("tag", request.tags)
    experiment = experiments.active(conn, request.experiment_id, shared=True)
    model_id = model_id or new_id()
    if again and conn.scalar(select(logged_models.c.model_id).where(logged_models.c.model_id == model_id)):
        return get(conn, GetLoggedModel(model_id))
    now = now_ms()
    row = {
        "model_id": model_id,
        "experiment_id": experiment.experiment_id,
        "name": request.name or random_name(),
        "artifact_location": locations.below(
            experiment.artifact_location or "", "models", model_id, "artifacts"
        ),
        "creation_timestamp_ms": now,
        "last_updated_timestamp_ms": now,
        "status": model_status.PENDING,
        "lifecycle_stage": ACTIVE,
        "model_type": request.model_type,
        "source_run_id": request.source_run_id,
    }
    conn.execute(insert(logged_models), row)
    _insert(conn, logged_model_params, _param_rows(model_id, experiment.experiment_id, request.params))
    _insert(
        conn,
        logged_model_tags,
        _tag_rows(model_id, experiment.experiment_id, {tag.key: tag.value for tag in request.tags}),
    )
    return get(conn, GetLoggedModel(model_id))


def get(conn: Connection, request: GetLoggedModel) -> LoggedModel:
    """The model; a deleted one only if `allow_deleted`. Raises TrackingError(NOT_FOUND)."""
    row = (_row if request.allow_deleted else kept)(conn, request.model_id)
    return from_rows(conn, [row])[0]


def kept(conn: Connection, model_id: str) -> Row[Any]:
    """The row of a model that isn't deleted. Raises TrackingError(NOT_FOUND)."""
    row = _row(conn, model_id)
    if row.lifecycle_stage == DELETED:
        raise _unknown(model_id)
    return row


def finalize(conn: Connection, request: FinalizeLoggedModel) -> LoggedModel:
    """Set how the upload of the model ended. Raises TrackingError (NOT_FOUND, INVALID)."""
    status = model_status.number_of(request.status)
    if status is None:
        known = ", ".join(f"{name} ({number})" for number, name in model_status.NAME_OF.items())
        raise TrackingError(Kind.INVALID, f"Unknown model status '{request.status}'; there are {known}.")
    _update(conn, request.model_id, status=status)
    return get(conn, GetLoggedModel(request.model_id, allow_deleted=True))


def remove(conn: Connection, request: LoggedModelById) -> None:
    """Mark the model as deleted; its rows and artifacts stay until they are collected. Raises NOT_FOUND."""
    _update(conn, request.model_id, lifecycle_stage=DELETED)


def restore(conn: Connection, request: LoggedModelById) -> LoggedModelRestored:
    """Make a model active, whatever its stage and its experiment's, as a run is restored.

    Raises TrackingError: NOT_FOUND, or INVALID when it is being deleted for good.
    """
    _update(conn, request.model_id, lifecycle_stage=ACTIVE)
    claims.refuse_claimed(conn, "model", request.model_id)
    number = str(_row(conn, request.model_id).experiment_id)
    return LoggedModelRestored(number, experiments.get(conn, number).lifecycle_stage)


def set_tags(conn: Connection, request: SetLoggedModelTags) -> None:
    """Set tags; of a key named twice the last value stays. Raises TrackingError (NOT_FOUND, INVALID)."""
    row = _row(conn, request.model_id, lock=True)
    values = {tag.key: tag.value for tag in request.tags}
    for key in values:
        _check_length("tag key", key, _KEY_LIMIT)
    for keys in parts(list(values)):
        conn.execute(
            delete(logged_model_tags).where(
                logged_model_tags.c.model_id == row.model_id, among(logged_model_tags.c.tag_key, keys)
            )
        )
    _insert(conn, logged_model_tags, _tag_rows(row.model_id, row.experiment_id, values))


def hold(conn: Connection, model_id: str) -> None:
    """Keep others from changing the model until the commit. Raises TrackingError(NOT_FOUND)."""
    _row(conn, model_id, lock=True)


def tag(conn: Connection, model_id: str, key: str) -> str | None:
    """The value of a tag, if the model has it."""
    row = logged_model_tags.c
    found: str | None = conn.scalar(
        select(row.tag_value).where(row.model_id == model_id, same(row.tag_key, key))
    )
    return found


def delete_tag(conn: Connection, request: DeleteLoggedModelTag) -> None:
    """Delete a tag. Raises TrackingError(NOT_FOUND), also if there's no such tag."""
    _row(conn, request.model_id)
    tags = logged_model_tags.c
    done = conn.execute(
        delete(logged_model_tags).where(
            tags.model_id == request.model_id, same(tags.tag_key, request.tag_key)
        )
    )
    if not done.rowcount:
        raise TrackingError(
            Kind.NOT_FOUND,
            f"No tag with key '{request.tag_key}' found for model with ID '{request.model_id}'.",
        )


def log_params(conn: Connection, request: LogLoggedModelParams) -> None:
    """Add params; one that is there can't be logged again. Raises TrackingError (NOT_FOUND, REJECTED)."""
    _check_keys("param", request.params)
    row = _row(conn, request.model_id, lock=True)
    there = {param.key for param in _params(conn, [request.model_id])[request.model_id]}
    if again := [param.key for param in request.params if param.key in there]:
        raise TrackingError(
            Kind.REJECTED, f"Params can't be logged again; model '{request.model_id}' has {', '.join(again)}."
        )
    _insert(conn, logged_model_params, _param_rows(row.model_id, row.experiment_id, request.params))


# -- reading ----------------------------------------------------------------------------------------------


def from_rows(conn: Connection, rows: Sequence[Row[Any]]) -> list[LoggedModel]:
    """The models of rows of `logged_models`, in their order, with params, tags and metrics."""
    ids = [row.model_id for row in rows]
    params, tags, metrics = _params(conn, ids), _tags(conn, ids), _metrics(conn, ids)
    return [
        LoggedModel(
            _info(row, tags.get(row.model_id, ())),
            LoggedModelData(params.get(row.model_id, ()), metrics.get(row.model_id, ())),
        )
        for row in rows
    ]


def _info(row: Row[Any], tags: Sequence[Tag]) -> LoggedModelInfo:
    return LoggedModelInfo(
        model_id=row.model_id,
        experiment_id=str(row.experiment_id),
        name=row.name,
        creation_timestamp_ms=row.creation_timestamp_ms,
        last_updated_timestamp_ms=row.last_updated_timestamp_ms,
        artifact_uri=row.artifact_location,
        status=model_status.NAME_OF[row.status],
        model_type=row.model_type,
        source_run_id=row.source_run_id,
        status_message=row.status_message,
        tags=tags,
    )


def _params(conn: Connection, ids: Sequence[str]) -> dict[str, list[Param]]:
    found: dict[str, list[Param]] = defaultdict(list)
    for model_id, key, value in _owned(conn, logged_model_params, ids, "param_key", "param_value"):
        found[model_id].append(Param(key, value))
    return found


def _tags(conn: Connection, ids: Sequence[str]) -> dict[str, list[Tag]]:
    found: dict[str, list[Tag]] = defaultdict(list)
    for model_id, key, value in _owned(conn, logged_model_tags, ids, "tag_key", "tag_value"):
        found[model_id].append(Tag(key, value))
    return found


_METRIC_COLUMNS = (
    "metric_name",
    "metric_value",
    "metric_timestamp_ms",
    "metric_step",
    "dataset_name",
    "dataset_digest",
    "run_id",
)


def _metrics(conn: Connection, ids: Sequence[str]) -> dict[str, list[Metric]]:
    """Every point of every metric, as MLflow shows them."""
    found: dict[str, list[Metric]] = defaultdict(list)
    for model_id, key, value, timestamp, step, name, digest, run_id in _owned(
        conn, logged_model_metrics, ids, *_METRIC_COLUMNS
    ):
        found[model_id].append(
            Metric(key, double(value), timestamp, step, name, digest, model_id=model_id, run_id=run_id)
        )
    return found


def _owned(conn: Connection, table: Table, ids: Sequence[str], *columns: str) -> Iterable[Any]:
    """Model id and the named columns of the rows that belong to the models."""
    query = select(table.c.model_id, *(table.c[name] for name in columns))
    return (row for part in parts(ids) for row in conn.execute(query.where(table.c.model_id.in_(part))))


def _row(conn: Connection, model_id: str, *, lock: bool = False) -> Row[Any]:
    """The model's row, deleted or not: MLflow lets deleted models be changed. `lock`: by nobody else."""
    query = select(logged_models).where(same(logged_models.c.model_id, model_id), is_served(logged_models))
    row = conn.execute(locked(query, logged_models) if lock else query).one_or_none()
    if row is None:
        raise _unknown(model_id)
    return row


def _unknown(model_id: str) -> TrackingError:
    return TrackingError(Kind.NOT_FOUND, f"Logged model with ID '{model_id}' not found.")


# -- writing ----------------------------------------------------------------------------------------------


def _update(conn: Connection, model_id: str, **values: object) -> None:
    changed = conn.execute(
        update(logged_models)
        .where(same(logged_models.c.model_id, model_id), is_served(logged_models))
        .values(last_updated_timestamp_ms=now_ms(), **values)
    )
    if not changed.rowcount:
        raise _unknown(model_id)


def _insert(conn: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        conn.execute(insert(table), rows)


def _param_rows(model_id: str, experiment_id: int, params: Iterable[ParamInput]) -> list[dict[str, Any]]:
    owner = {"model_id": model_id, "experiment_id": experiment_id}
    return [{**owner, "param_key": param.key, "param_value": param.value} for param in params]


def _tag_rows(model_id: str, experiment_id: int, tags: Mapping[str, str]) -> list[dict[str, Any]]:
    owner = {"model_id": model_id, "experiment_id": experiment_id}
    return [{**owner, "tag_key": key, "tag_value": value} for key, value in tags.items()]


def _check_name(name: str) -> None:
    """An empty name is none: the model gets a random one."""
    _check_length("name", name, _NAME_LIMIT)
    if found := set(name) & set(_FORBIDDEN_IN_NAMES):
        allowed = " ".join(_FORBIDDEN_IN_NAMES)
        raise TrackingError(
            Kind.INVALID, f"Invalid model name '{name}': it has {min(found)} in it; none of {allowed} may be."
        )


def _check_keys(what: str, given: Sequence[ParamInput | TagInput]) -> None:
    for key, times in Counter(one.key for one in given).items():
        _check_length(f"{what} key", key, _KEY_LIMIT)
        if times > 1:
            raise TrackingError(Kind.REJECTED, f"The {what} '{key}' is given {times} times.")


def _check_length(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise TrackingError(
            Kind.INVALID, f"The {what} has {len(text)} characters; at most {limit} are allowed."
        )
