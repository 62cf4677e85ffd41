"""Registered models: folders in `mlruns/models`, with a folder for each version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from shoso.maintenance.filestore import meta
from shoso.maintenance.filestore.experiments import REGISTRY, without_password
from shoso.maintenance.filestore.files import Problems, Unreadable, leaves, subfolders, text
from shoso.maintenance.filestore.runs import valid
from shoso.maintenance.filestore.values import texts
from shoso.wire.entities import Tag
from shoso.wire.imports import ImportedRegisteredModel, ImportedVersion
from shoso.wire.requests import TagInput

_VERSION = re.compile(r"version-([1-9][0-9]{0,9})")


def registered_models(root: Path, problems: Problems) -> Iterator[ImportedRegisteredModel]:
    """The registered models, each with its versions; what is damaged is a problem."""
    for folder in subfolders(root / REGISTRY, problems):
        try:
            yield _read(folder, problems)
        except Unreadable as error:
            problems.note(folder / meta.NAME, error)


def _read(folder: Path, problems: Problems) -> ImportedRegisteredModel:
    fields = meta.read(folder, "name")
    if fields.text("name") != folder.name:
        raise Unreadable(f"Its name is '{fields.text('name')[:100]}', not its folder's.")
    found: ImportedRegisteredModel = valid(
        {
            "name": folder.name,
            "creation_time": fields.whole("creation_timestamp"),
            "last_updated_time": fields.whole("last_updated_timestamp"),
            "description": fields.optional("description"),
        },
        ImportedRegisteredModel,
    )
    return replace(
        found,
        tags=[TagInput(key, value) for key, value in texts(folder / "tags", problems)],
        aliases=[*_aliases(folder / "aliases", problems)],
        versions=[*_versions(folder, problems)],
    )


def _aliases(folder: Path, problems: Problems) -> Iterator[Tag]:
    for name, path in leaves(folder, problems):
        try:
            yield Tag(name, str(int(text(path, 100))))
        except Unreadable as error:
            problems.note(Path(path), error)
        except ValueError:
            problems.note(Path(path), "It doesn't hold the number of a version.")


def _versions(folder: Path, problems: Problems) -> Iterator[ImportedVersion]:
    for at in subfolders(folder, problems):
        if found := _VERSION.fullmatch(at.name):
            try:
                yield _version(at, int(found[1]), problems)
            except Unreadable as error:
                problems.note(at / meta.NAME, error)


def _version(folder: Path, number: int, problems: Problems) -> ImportedVersion:
    fields = meta.read(folder, "source", "version")
    if fields.whole("version") != number:
        raise Unreadable("Its version isn't that of its folder's name.")
    found: ImportedVersion = valid(
        {
            "version": number,
            "creation_time": fields.whole("creation_timestamp"),
            "last_updated_time": fields.whole("last_updated_timestamp"),
            "description": fields.optional("description"),
            "user_id": fields.optional("user_id"),
            "current_stage": fields.text("current_stage") or "None",
            "source": without_password(fields.text("source")),
            "storage_location": without_password(fields.text("storage_location")) or None,
            "run_id": fields.optional("run_id"),
            "run_link": fields.optional("run_link"),
            "status": fields.text("status") or "READY",
            "status_message": fields.optional("status_message"),
        },
        ImportedVersion,
    )
    return replace(found, tags=[TagInput(key, value) for key, value in texts(folder / "tags", problems)])
