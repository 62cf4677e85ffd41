"""Experiments: folders named by a number, in the store itself or, deleted, in `.trash`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shoso.core import locations
from shoso.maintenance.filestore import meta
from shoso.maintenance.filestore.files import Problems, Unreadable, subfolders
from shoso.maintenance.filestore.values import texts
from shoso.wire.imports import ImportedExperiment
from shoso.wire.requests import TagInput

ACTIVE, DELETED = "active", "deleted"

TRASH, REGISTRY = ".trash", "models"

RESERVED = {"tags", "datasets", "traces", "models"}
"""The folders in an experiment's that are no runs."""

_ID = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class StoredExperiment:
    """An experiment and its folder."""

    folder: Path
    found: ImportedExperiment


def experiments(root: Path, problems: Problems) -> Iterator[StoredExperiment]:
    """The experiments of the store; those that are damaged are problems."""
    for folder in [*subfolders(root, problems), *subfolders(root / TRASH, problems)]:
        if folder == root / TRASH or folder == root / REGISTRY:
            continue
        if not _ID.fullmatch(folder.name):
            if not folder.name.startswith("."):
                problems.note(folder, "It is no experiment: its name is no number.")
            continue
        try:
            yield StoredExperiment(folder, _read(root, folder, problems))
        except Unreadable as error:
            problems.note(folder / meta.NAME, error)


def stage(text: str) -> str:
    """A lifecycle stage. Raises Unreadable."""
    if text not in {ACTIVE, DELETED}:
        raise Unreadable(f"'lifecycle_stage' is '{text[:100]}', which is none.")
    return text


def without_password(uri: str) -> str:
    """A location as it was recorded. Raises Unreadable."""
    if locations.has_password(uri):
        raise Unreadable("Its artifact location holds a password, which would be shown to everybody.")
    return uri


def location(root: Path, recorded: str) -> str:
    """An artifact location; a relative path is one of the folder that the store is in. Raises Unreadable."""
    uri = without_password(recorded)
    if not uri or not locations.is_local(uri):
        return uri
    if uri.startswith("file:"):
        return locations.absolute(uri)
    return (root.parent / uri).as_posix()


def _read(root: Path, folder: Path, problems: Problems) -> ImportedExperiment:
    fields = meta.read(folder, "artifact_location", "name")
    if fields.text("experiment_id") != folder.name:
        raise Unreadable(
            f"Its experiment_id is '{fields.text('experiment_id')[:100]}', not its folder's name."
        )
    if not (name := fields.text("name")):
        raise Unreadable("It has no name.")
    in_trash = folder.parent != root
    return ImportedExperiment(
        experiment_id=int(folder.name),
        name=name,
        artifact_location=location(root, fields.text("artifact_location")),
        lifecycle_stage=DELETED if in_trash else stage(fields.text("lifecycle_stage") or ACTIVE),  # type: ignore[arg-type]
        creation_time=fields.whole("creation_time"),
        last_update_time=fields.whole("last_update_time"),
        tags=[TagInput(key, value) for key, value in texts(folder / "tags", problems)],
    )
