"""What runs read and made: datasets and logged models, as edges between them; see `edges`.

There's one dataset per experiment, name and digest, and one edge per dataset and run; what is logged again
stays as it was logged first.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, insert, select

from shoso.errors import Kind, TrackingError
from shoso.metadata import experiments, lifecycle, rules
from shoso.metadata.clauses import parts
from shoso.metadata.edges import DATASET, MODEL_INPUT, MODEL_OUTPUT, RUN, RUN_INPUT, RUN_OUTPUT
from shoso.metadata.schema import datasets, input_tags, inputs
from shoso.metadata.workspace import served_experiments
from shoso.wire.decode import missing
from shoso.wire.entities import Dataset, DatasetInput, ModelInput, ModelOutput, RunInputs, RunOutputs, Tag
from shoso.wire.imports import ImportedRun
from shoso.wire.replies import DatasetSummary
from shoso.wire.requests import LogInputs, LogOutputs, SearchDatasets

CONTEXT = "mlflow.data.context"
"""The tag of an edge that says what the run read the dataset for."""

_DATASET_LIMITS = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}
_TAG_LIMITS = {"key": 255, "value": 500}
_EXPERIMENTS_MAX, _SUMMARIES_MAX = 20, 1000

Identity = tuple[str, str]
"""Name and digest of a dataset, unique in an experiment."""


def log_inputs(conn: Connection, request: LogInputs) -> None:
    """Record what a run read. Raises TrackingError (NOT_FOUND, INVALID)."""
    rules.run_id(request.run_id)
    for one in request.datasets:
        _check(one)
    experiment_id = lifecycle.active_run(conn, request.run_id)
    _log_datasets(conn, experiment_id, request.run_id, request.datasets)
    known = _models(conn, RUN_INPUT, [request.run_id])[request.run_id]
    new = {model.model_id for model in request.models} - known.keys()
    _add(conn, [_edge(RUN_INPUT, request.run_id, MODEL_INPUT, model_id) for model_id in new])


def restore(conn: Connection, run: ImportedRun) -> None:
    """Keep what a run of another store read and made. Raises TrackingError(INVALID)."""
    for one in run.datasets:
        _check(one)
    if run.datasets:
        _log_datasets(conn, run.experiment_id, run.run_id, run.datasets)
    if run.model_inputs:
        known = _models(conn, RUN_INPUT, [run.run_id])[run.run_id]
        new = dict.fromkeys(model_id for model_id in run.model_inputs if model_id not in known)
        _add(conn, [_edge(RUN_INPUT, run.run_id, MODEL_INPUT, model_id) for model_id in new])
    if run.model_outputs:
        known = _models(conn, RUN_OUTPUT, [run.run_id])[run.run_id]
        made = {model.model_id: model.step for model in run.model_outputs if model.model_id not in known}
        _add(conn, [_edge(RUN_OUTPUT, run.run_id, MODEL_OUTPUT, *each) for each in made.items()])


def log_outputs(conn: Connection, request: LogOutputs) -> None:
    """Record which models a run made, each at one step. Raises TrackingError (NOT_FOUND, INVALID)."""
    if not request.models:
        raise missing("models")
    lifecycle.active_run(conn, request.run_id)
    steps = _models(conn, RUN_OUTPUT, [request.run_id])[request.run_id]
    edges = []
    for model in request.models:
        if model.model_id not in steps:
            edges.append(_edge(RUN_OUTPUT, request.run_id, MODEL_OUTPUT, model.model_id, model.step))
        _check_step(model, steps.setdefault(model.model_id, model.step))
    _add(conn, edges)


def inputs_of(conn: Connection, run_ids: Sequence[str]) -> dict[str, RunInputs]:
    """What each of the runs read."""
    read = _datasets(conn, run_ids)
    models = {id_: tuple(map(ModelInput, steps)) for id_, steps in _models(conn, RUN_INPUT, run_ids).items()}
    return {id_: RunInputs(tuple(read[id_]), models[id_]) for id_ in run_ids}


def outputs_of(conn: Connection, run_ids: Sequence[str]) -> dict[str, RunOutputs]:
    """Which models each of the runs made."""
    models = _models(conn, RUN_OUTPUT, run_ids).items()
    return {id_: RunOutputs(tuple(ModelOutput(*made) for made in steps.items())) for id_, steps in models}


def summaries(conn: Connection, request: SearchDatasets) -> list[DatasetSummary]:
    """The datasets that runs of the experiments read, by name and digest; of very many the first ones.

    Raises TrackingError(INVALID).
    """
    ids = request.experiment_ids
    if not 1 <= len(ids) <= _EXPERIMENTS_MAX:
        raise TrackingError(
            Kind.INVALID,
            f"The request must name 1 to {_EXPERIMENTS_MAX} experiments in 'experiment_ids'; it has"
            f" {len(ids)}.",
        )
    read, tag = datasets.c, input_tags.c
    is_context = and_(tag.input_uuid == inputs.c.input_uuid, tag.name == CONTEXT)
    found = datasets.join(inputs, inputs.c.source_id == read.dataset_uuid).outerjoin(input_tags, is_context)
    query = select(read.experiment_id, read.name, read.digest, tag.value).select_from(found).distinct()
    numbers = served_experiments(conn, [experiments.number(text) for text in ids])
    wanted = query.where(read.experiment_id.in_(numbers))
    rows = conn.execute(
        wanted.order_by(read.experiment_id, read.name, read.digest, tag.value).limit(_SUMMARIES_MAX)
    )
    return [DatasetSummary(str(row.experiment_id), row.name, row.digest, row.value) for row in rows]


# -- writing ----------------------------------------------------------------------------------------------


def _check(one: DatasetInput) -> None:
    for name, limit in _DATASET_LIMITS.items():
        _check_length(f"dataset {name}", getattr(one.dataset, name), limit)
    for tag in one.tags:
        for name, limit in _TAG_LIMITS.items():
            _check_length(f"input tag {name}", getattr(tag, name), limit)
    for key, times in Counter(tag.key for tag in one.tags).items():
        if times > 1:
            name = one.dataset.name
            raise TrackingError(
                Kind.INVALID, f"The input of dataset '{name}' has the tag '{key}' {times} times."
            )


def _check_length(what: str, text: str | None, limit: int) -> None:
    if text is not None and len(text) > limit:
        raise TrackingError(
            Kind.INVALID, f"The {what} has {len(text)} characters; at most {limit} are allowed."
        )


def _check_step(model: ModelOutput, step: int) -> None:
    """Logging an output again is fine, so that a client may repeat a call; moving it isn't."""
    if model.step != step:
        raise TrackingError(
            Kind.INVALID,
            f"Model '{model.model_id}' is an output of the run at step {step}, not at {model.step}.",
        )


def _log_datasets(conn: Connection, experiment_id: int, run_id: str, given: Iterable[DatasetInput]) -> None:
    first: dict[Identity, DatasetInput] = {}
    for one in given:
        first.setdefault((one.dataset.name, one.dataset.digest), one)
    ids = _ensured(conn, experiment_id, {identity: one.dataset for identity, one in first.items()})
    read = {edge.source_id for edge in _dataset_edges(conn, [run_id])}
    new = {ids[identity]: one for identity, one in first.items() if ids[identity] not in read}
    edges = {dataset_id: _edge(DATASET, dataset_id, RUN, run_id) for dataset_id in new}
    _add(conn, list(edges.values()))
    notes = [
        {"input_uuid": edges[dataset_id]["input_uuid"], "name": tag.key, "value": tag.value}
        for dataset_id, one in new.items()
        for tag in one.tags
    ]
    if notes:
        conn.execute(insert(input_tags), notes)


def _ensured(conn: Connection, experiment_id: int, wanted: Mapping[Identity, Dataset]) -> dict[Identity, str]:
    """The ids of datasets in an experiment; those that aren't there yet are added."""
    ids: dict[Identity, str] = {}
    for names in parts(list({name for name, _ in wanted})):
        query = select(datasets.c.name, datasets.c.digest, datasets.c.dataset_uuid).where(
            datasets.c.experiment_id == experiment_id, datasets.c.name.in_(names)
        )
        ids |= {(name, digest): dataset_id for name, digest, dataset_id in conn.execute(query)}
    rows = [_row(experiment_id, dataset) for identity, dataset in wanted.items() if identity not in ids]
    if rows:
        conn.execute(insert(datasets), rows)
    return ids | {(row["name"], row["digest"]): row["dataset_uuid"] for row in rows}


def _row(experiment_id: int, dataset: Dataset) -> dict[str, Any]:
    return {
        "dataset_uuid": uuid.uuid4().hex,
        "experiment_id": experiment_id,
        "name": dataset.name,
        "digest": dataset.digest,
        "dataset_source_type": dataset.source_type,
        "dataset_source": dataset.source,
        "dataset_schema": dataset.schema,
        "dataset_profile": dataset.profile,
    }


def _edge(
    source_type: str, source: str, destination_type: str, destination: str, step: int = 0
) -> dict[str, Any]:
    return {
        "input_uuid": uuid.uuid4().hex,
        "source_type": source_type,
        "source_id": source,
        "destination_type": destination_type,
        "destination_id": destination,
        "step": step,
    }


def _add(conn: Connection, edges: list[dict[str, Any]]) -> None:
    if edges:
        conn.execute(insert(inputs), edges)


# -- reading ----------------------------------------------------------------------------------------------


def _models(conn: Connection, direction: str, run_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """Per run: model id → step of the models on that side of it."""
    found: dict[str, dict[str, int]] = {run_id: {} for run_id in run_ids}
    query = select(inputs.c.source_id, inputs.c.destination_id, inputs.c.step).where(
        inputs.c.source_type == direction, inputs.c.source_id.in_(run_ids)
    )
    for run_id, model_id, step in conn.execute(query):
        found[run_id][model_id] = step
    return found


def _dataset_edges(conn: Connection, run_ids: Collection[str]) -> Sequence[Any]:
    query = select(inputs.c.input_uuid, inputs.c.source_id, inputs.c.destination_id)
    return conn.execute(
        query.where(
            inputs.c.destination_type == RUN,
            inputs.c.destination_id.in_(run_ids),
            inputs.c.source_type == DATASET,
        )
    ).all()


def _datasets(conn: Connection, run_ids: Collection[str]) -> dict[str, list[DatasetInput]]:
    """Per run: the datasets it read; each is fetched once, however many runs read it: it can be megabytes."""
    found: dict[str, list[DatasetInput]] = defaultdict(list)
    edges = _dataset_edges(conn, run_ids)
    read = _by_id(conn, {edge.source_id for edge in edges})
    notes = _notes(conn, [edge.input_uuid for edge in edges])
    for edge in edges:
        if edge.source_id in read:
            found[edge.destination_id].append(
                DatasetInput(read[edge.source_id], tuple(notes[edge.input_uuid]))
            )
    return found


def _by_id(conn: Connection, ids: Collection[str]) -> dict[str, Dataset]:
    """Datasets by id."""
    columns = datasets.c
    query = select(
        columns.dataset_uuid,
        columns.name,
        columns.digest,
        columns.dataset_source_type,
        columns.dataset_source,
        columns.dataset_schema,
        columns.dataset_profile,
    )
    rows = (
        row for part in parts(list(ids)) for row in conn.execute(query.where(columns.dataset_uuid.in_(part)))
    )
    return {row[0]: Dataset(*row[1:]) for row in rows}


def _notes(conn: Connection, edges: Sequence[str]) -> dict[str, list[Tag]]:
    """The tags of edges, by the edge's id."""
    found: dict[str, list[Tag]] = defaultdict(list)
    query = select(input_tags.c.input_uuid, input_tags.c.name, input_tags.c.value)
    for part in parts(edges):
        for edge, key, value in conn.execute(query.where(input_tags.c.input_uuid.in_(part))):
            found[edge].append(Tag(key, value))
    return found
