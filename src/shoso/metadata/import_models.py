"""Logged and registered models of another store, kept as they were there; see `imports`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select

from shoso.errors import Kind, TrackingError
from shoso.metadata import imported, registry_rules
from shoso.metadata.clauses import parts
from shoso.metadata.dialects.texts import same
from shoso.metadata.entries import of_model, of_version
from shoso.metadata.imports import IMPORTING, known_runs
from shoso.metadata.metrics import finite
from shoso.metadata.schema import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)
from shoso.metadata.workspace import elsewhere, is_served, served_experiments, served_runs
from shoso.wire.imports import (
    Imported,
    ImportedModel,
    ImportedModelPoint,
    ImportedRegisteredModel,
    ImportedVersion,
    ImportIds,
    Known,
    Refused,
)

_OWNED = (logged_model_metrics, logged_model_params, logged_model_tags)


def known(conn: Connection, asked: ImportIds) -> Known:
    """Those runs and logged models that are there whole."""
    return Known(known_runs(conn, asked.runs), _known_models(conn, asked.models))


def _known_models(conn: Connection, ids: Sequence[str]) -> list[str]:
    found: list[str] = []
    row = logged_model_tags.c
    for part in parts(ids):
        unfinished = select(row.model_id).where(row.model_id.in_(part), row.tag_key == IMPORTING)
        there = select(logged_models.c.model_id).where(
            logged_models.c.model_id.in_(part),
            logged_models.c.model_id.not_in(unfinished),
            is_served(logged_models),
        )
        found += conn.scalars(there)
    return found


def add_model(conn: Connection, given: ImportedModel) -> Imported:
    """Add a logged model; one that is there whole is passed by. Raises TrackingError(NOT_FOUND)."""
    if _known_models(conn, [given.model_id]):
        return Imported()
    if not served_experiments(conn, [given.experiment_id]):
        raise TrackingError(Kind.NOT_FOUND, f"No Experiment with id={given.experiment_id} exists")
    there = _one(logged_models, "model_id", given.model_id)
    is_new = conn.scalar(there) is None
    if not is_new and conn.scalar(there.where(is_served(logged_models))) is None:
        raise elsewhere("model", given.model_id)
    for table in _OWNED:
        conn.execute(delete(table).where(table.c.model_id == given.model_id))
    if is_new:
        conn.execute(insert(logged_models), _model_row(given))
        imported.remember(conn, "model", [(given.model_id, given.artifact_location)] if given.stays else [])
    owner = {"model_id": given.model_id, "experiment_id": given.experiment_id}
    marks = [(IMPORTING, "true")] if given.more else []
    pairs = {**{tag.key: tag.value for tag in given.tags}, **dict(marks)}
    _insert(conn, logged_model_params, [
        {**owner, "param_key": param.key, "param_value": param.value} for param in given.params
    ])  # fmt: skip
    _insert(conn, logged_model_tags, [
        {**owner, "tag_key": key, "tag_value": value} for key, value in pairs.items()
    ])  # fmt: skip
    return Imported(models=1, refused=_add_points(conn, given, owner))


def add_registered(conn: Connection, given: ImportedRegisteredModel) -> Imported:
    """Add a registered model, or the versions and aliases that it lacks. Raises TrackingError(INVALID)."""
    registry_rules.model_name(given.name)
    name = given.name
    if conn.scalar(select(registered_models.c.name).where(of_model(registered_models, name))) is None:
        times = {"creation_time": given.creation_time, "last_updated_time": given.last_updated_time}
        conn.execute(insert(registered_models), {"name": name, "description": given.description, **times})
        rows = [{"name": name, "key": tag.key, "value": tag.value} for tag in given.tags]
        _insert(conn, registered_model_tags, rows)
    refused: list[Refused] = []
    versions = sum(_add_version(conn, name, version, refused) for version in given.versions)
    for alias in given.aliases:
        _add_alias(conn, name, alias.key, alias.value, refused)
    return Imported(versions=versions, refused=refused)


def _model_row(given: ImportedModel) -> dict[str, Any]:
    fields = logged_models.c.keys()
    return {name: getattr(given, name) for name in fields}


def _add_points(conn: Connection, given: ImportedModel, owner: dict[str, Any]) -> list[Refused]:
    """The points whose run is there; of one time and step the first, as when they were logged."""
    ids = list({point.run_id for point in given.metrics})
    there = set(served_runs(conn, ids))
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for point in given.metrics:
        if point.run_id in there:
            key = (point.key, point.timestamp, point.step, point.run_id)
            rows.setdefault(key, {**owner, **_point_row(point)})
    _insert(conn, logged_model_metrics, list(rows.values()))
    return [
        Refused(f"model {given.model_id}", f"What run {run_id[:100]} measured of it: the run isn't there.")
        for run_id in sorted(set(ids) - there)
    ]


def _point_row(point: ImportedModelPoint) -> dict[str, Any]:
    return {
        "metric_name": point.key,
        "metric_timestamp_ms": point.timestamp,
        "metric_step": point.step,
        "metric_value": finite(float(point.value)),
        "run_id": point.run_id,
        "dataset_uuid": None,
        "dataset_name": point.dataset_name,
        "dataset_digest": point.dataset_digest,
    }


def _add_version(conn: Connection, name: str, given: ImportedVersion, refused: list[Refused]) -> bool:
    """Add a version; another one of its number is left as it is, and said so."""
    row = model_versions.c
    query = select(row.creation_time, row.run_id).where(of_version(model_versions, name, given.version))
    if there := conn.execute(query).one_or_none():
        if (there.creation_time, there.run_id or None) != (given.creation_time, given.run_id or None):
            what = f"registered model {name}"
            refused.append(Refused(what, f"Version {given.version} is another one there, and stays."))
        return False
    fields = [column for column in row.keys() if column not in {"name", "workspace"}]  # noqa: SIM118
    conn.execute(insert(model_versions), {"name": name, **{f: getattr(given, f) for f in fields}})
    owner = {"name": name, "version": given.version}
    rows = [{**owner, "key": tag.key, "value": tag.value} for tag in given.tags]
    _insert(conn, model_version_tags, rows)
    return True


def _add_alias(conn: Connection, name: str, alias: str, version: str, refused: list[Refused]) -> None:
    number = registry_rules.version(version)
    table, what = registered_model_aliases, f"registered model {name}"
    of_it = (of_model(table, name), same(table.c.alias, alias))
    there = conn.scalar(select(table.c.version).where(*of_it))
    if there is not None:
        if there != number:
            refused.append(Refused(what, f"The alias '{alias}' means version {there} there, and stays."))
    elif (
        conn.scalar(select(model_versions.c.version).where(of_version(model_versions, name, number))) is None
    ):
        refused.append(Refused(what, f"The alias '{alias}' means version {number}, which isn't there."))
    else:
        conn.execute(insert(table), {"name": name, "alias": alias, "version": number})


def _one(table: Table, column: str, value: object) -> Any:
    return select(table.c[column]).where(table.c[column] == value)


def _insert(conn: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    if rows := list(rows):
        conn.execute(insert(table), rows)
