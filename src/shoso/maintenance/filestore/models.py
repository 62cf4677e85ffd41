"""Logged models, of MLflow 3: folders in an experiment's `models`."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from shoso.maintenance.filestore import meta
from shoso.maintenance.filestore.experiments import ACTIVE, StoredExperiment, location
from shoso.maintenance.filestore.files import Problems, Unreadable
from shoso.maintenance.filestore.runs import valid
from shoso.maintenance.filestore.values import lines, texts, whole
from shoso.wire.entities import double
from shoso.wire.imports import ImportedModel, ImportedModelPoint
from shoso.wire.requests import ParamInput, TagInput


def models(experiment: StoredExperiment, folder: Path, problems: Problems) -> ImportedModel | None:
    """The logged model in a folder; None, and a problem, if its meta.yaml is damaged."""
    try:
        return _read(experiment, folder, problems)
    except Unreadable as error:
        problems.note(folder / meta.NAME, error)
        return None


def _read(experiment: StoredExperiment, folder: Path, problems: Problems) -> ImportedModel:
    fields = meta.read(folder, "artifact_location", "model_id", "status")
    if fields.text("model_id") != folder.name:
        raise Unreadable(f"Its model_id is '{fields.text('model_id')[:100]}', not its folder's name.")
    found: ImportedModel = valid(
        {
            "model_id": folder.name,
            "experiment_id": experiment.found.experiment_id,
            "name": fields.text("name"),
            "artifact_location": location(problems.root, fields.text("artifact_location")),
            "creation_timestamp_ms": fields.whole("creation_timestamp") or 0,
            "last_updated_timestamp_ms": fields.whole("last_updated_timestamp") or 0,
            "status": fields.whole("status") or 0,
            "lifecycle_stage": fields.text("lifecycle_stage") or ACTIVE,
            "model_type": fields.optional("model_type"),
            "source_run_id": fields.optional("source_run_id"),
            "status_message": fields.optional("status_message"),
        },
        ImportedModel,
    )
    return replace(
        found,
        params=[ParamInput(key, value) for key, value in texts(folder / "params", problems)],
        tags=[TagInput(key, value) for key, value in texts(folder / "tags", problems)],
        metrics=[*lines(folder / "metrics", problems, _point)],
    )


def _point(key: str, words: list[str]) -> ImportedModelPoint | None:
    """`timestamp value step run [dataset digest]`."""
    if len(words) not in {4, 6}:
        return None
    dataset: list[str | None] = [*words[4:]] or [None, None]
    value = double(float(words[1]))
    return ImportedModelPoint(key, value, whole(words[0]), whole(words[2]), words[3], *dataset)
