"""Runs: folders in an experiment's, named by their id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from msgspec import ValidationError, convert
from msgspec.structs import replace

from shoso.core import locations
from shoso.maintenance import flow
from shoso.maintenance.filestore import meta
from shoso.maintenance.filestore.experiments import ACTIVE, StoredExperiment, location
from shoso.maintenance.filestore.files import Problems, Unreadable, subfolders
from shoso.maintenance.filestore.meta import Meta
from shoso.maintenance.filestore.values import lines, point, texts
from shoso.wire.entities import Dataset, DatasetInput, ModelOutput, Tag, double
from shoso.wire.imports import ImportedPoint, ImportedRun
from shoso.wire.requests import ParamInput, TagInput

PART = 1_000_000
"""Bytes of one part of a run, but of one whose single dataset or value has more."""

NAME_MAX = 255
"""Bytes of a folder's name."""

RUN_NAME = "mlflow.runName"

_STATUS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_SOURCE = {1: "NOTEBOOK", 2: "JOB", 3: "PROJECT", 4: "LOCAL", 1000: "UNKNOWN"}


def runs(experiment: StoredExperiment, folder: Path, problems: Problems) -> Iterator[ImportedRun]:
    """The run in a folder, in parts of so many bytes; none, and a problem, if its meta.yaml is damaged."""
    try:
        fields = meta.read(folder, "artifact_uri", "status", "user_id")
        first = _read(experiment, folder, fields, problems)
    except Unreadable as error:
        problems.note(folder / meta.NAME, error)
        return
    points = (
        ImportedPoint(key, double(value), timestamp, step)
        for key, value, timestamp, step in lines(folder / "metrics", problems, point)
    )
    yield from _parts(first, points)


def valid(fields: dict[str, Any], shape: type[Any]) -> Any:
    """The fields as a struct. Raises Unreadable for one that doesn't fit."""
    try:
        return convert(fields, shape)
    except ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise Unreadable(f"'{where.strip('`')}': {what}.") from None


def _parts(run: ImportedRun, points: Iterator[ImportedPoint]) -> Iterator[ImportedRun]:
    """The run with those points, cut so that no request is too large, nor a transaction."""
    later = ImportedRun(run.run_id, run.experiment_id)
    part = _filled(run, [])
    for number, items in enumerate(flow.by_weight(_items(run, points), PART, itemgetter(1))):
        if number:
            yield replace(part, more=True)
        part = replace(_filled(later if number else run, items), part=number)
    yield part


def _filled(run: ImportedRun, items: Iterable[tuple[str, object]]) -> ImportedRun:
    found: dict[str, list[Any]] = {name: [] for name in ("params", "tags", "datasets", "metrics")}
    for name, item in items:
        found[name].append(item)
    return replace(run, **found)


def _items(run: ImportedRun, points: Iterator[ImportedPoint]) -> Iterator[tuple[str, object]]:
    """What may go to any part, by the name of its field."""
    for name in ("params", "tags", "datasets"):
        yield from ((name, each) for each in getattr(run, name))
    yield from (("metrics", each) for each in points)


def _read(experiment: StoredExperiment, folder: Path, fields: Meta, problems: Problems) -> ImportedRun:
    run_id = fields.text("run_id", "run_uuid")
    if run_id != folder.name:
        raise Unreadable(f"Its run_id is '{run_id[:100]}', not its folder's name.")
    tags = dict(texts(folder / "tags", problems))
    root = problems.root
    name = fields.text("run_name", "name") or tags.get(RUN_NAME, "")
    if name:
        tags.setdefault(RUN_NAME, name)
    recorded = location(root, fields.text("artifact_uri"))
    below = experiment.found.artifact_location
    found: ImportedRun = valid(
        {
            "run_id": run_id,
            "experiment_id": experiment.found.experiment_id,
            "name": name,
            "user_id": fields.text("user_id"),
            "status": _named(fields, "status", _STATUS, "RUNNING"),
            "start_time": fields.whole("start_time"),
            "end_time": fields.whole("end_time"),
            "deleted_time": fields.whole("deleted_time"),
            "lifecycle_stage": fields.text("lifecycle_stage") or ACTIVE,
            "artifact_uri": recorded or locations.below(below, run_id, "artifacts"),
            "source_type": _named(fields, "source_type", _SOURCE, "UNKNOWN"),
            "source_name": fields.text("source_name"),
            "entry_point_name": fields.text("entry_point_name"),
            "source_version": fields.text("source_version"),
        },
        ImportedRun,
    )
    datasets, models = _inputs(experiment.folder, folder, problems)
    return replace(
        found,
        params=[ParamInput(key, value) for key, value in texts(folder / "params", problems)],
        tags=[TagInput(key, value) for key, value in tags.items()],
        datasets=datasets,
        model_inputs=models,
        model_outputs=_outputs(folder, problems),
    )


def _named(fields: Meta, name: str, names: dict[int, str], default: str) -> str:
    """A name, or the number that old versions kept for it."""
    given = fields.text(name)
    by_number = {str(number): text for number, text in names.items()}
    return by_number.get(given, given) or default


# -- inputs and outputs -----------------------------------------------------------------------------------


def _inputs(experiment: Path, folder: Path, problems: Problems) -> tuple[list[DatasetInput], list[str]]:
    datasets, models = [], []
    for at in subfolders(folder / "inputs", problems):
        try:
            fields = meta.read(at, "source_id", "source_type")
            if fields.text("source_type") == "MODEL":
                models.append(fields.text("source_id"))
            else:
                datasets.append(_dataset(experiment, fields))
        except Unreadable as error:
            problems.note(at / meta.NAME, error)
    return datasets, models


def _dataset(experiment: Path, of: Meta) -> DatasetInput:
    name = of.text("source_id")
    if not name or "/" in name or name.startswith(".") or len(os.fsencode(name)) > NAME_MAX:
        raise Unreadable("Its source_id is no name of a dataset's folder.")
    folder = experiment / "datasets" / name
    if folder.is_symlink() or folder.parent.is_symlink():
        raise Unreadable("The folder of its dataset is a link, which isn't followed.")
    try:
        fields = meta.read(folder, "name", "digest")
    except Unreadable as error:
        raise Unreadable(f"Its dataset, datasets/{name}/{meta.NAME}, can't be read. {error}") from None
    found: Dataset = valid(
        {
            "name": fields.text("name"),
            "digest": fields.text("digest"),
            "source_type": fields.text("source_type"),
            "source": fields.text("source"),
            "schema": fields.optional("schema"),
            "profile": fields.optional("profile"),
        },
        Dataset,
    )
    return DatasetInput(found, [Tag(key, value) for key, value in of.texts("tags").items()])


def _outputs(folder: Path, problems: Problems) -> list[ModelOutput]:
    found = []
    for at in subfolders(folder / "outputs", problems):
        try:
            fields = meta.read(at, "destination_id", "step")
            found.append(ModelOutput(fields.text("destination_id") or at.name, fields.whole("step") or 0))
        except Unreadable as error:
            problems.note(at / meta.NAME, error)
    return found
