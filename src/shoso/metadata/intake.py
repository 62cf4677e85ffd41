"""Bringing in what another store holds, a request at a time: what one item does wrong is that item's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shoso.errors import Kind, ShosoError
from shoso.metadata import import_models, imports
from shoso.metadata.connect import Database
from shoso.wire.imports import (
    ExperimentsPlaced,
    Import,
    Imported,
    ImportedExperiment,
    ImportedModel,
    ImportedRegisteredModel,
    ImportedRun,
    ImportIds,
    Known,
    PlacedExperiment,
    Refused,
)

T = TypeVar("T")

_ITS_OWN = {Kind.INVALID, Kind.REJECTED, Kind.NOT_FOUND, Kind.DUPLICATE}
"""Errors of one item; any other would be that of the next item, too."""

Check = Callable[[str], None]
"""Raises TrackingError(INVALID) for an artifact location that may not be recorded."""


class Intake:
    """Adds to a database; new experiments without a location get one below `artifact_root`.

    `check` is asked about every location, `check_source` about the sources of registered versions.
    """

    def __init__(
        self, database: Database, artifact_root: str, check: Check, check_source: Check | None = None
    ) -> None:
        self._database = database
        self._root = artifact_root
        self._check = check
        self._check_source = check_source or check

    async def place(self, given: Sequence[ImportedExperiment]) -> ExperimentsPlaced:
        """Find or make the experiments, one by one: a new id must not be that of one that comes later."""
        in_order = sorted(given, key=lambda one: one.experiment_id)
        outcomes = [await _tried(f"experiment {one.name}", self._placed(one)) for one in in_order]
        placed = [one for one in outcomes if isinstance(one, PlacedExperiment)]
        return ExperimentsPlaced(placed, [one for one in outcomes if isinstance(one, Refused)])

    async def known(self, asked: ImportIds) -> Known:
        """Those that are there whole."""
        return await self._database.read(import_models.known, asked)

    async def add(self, request: Import) -> Imported:
        """Add runs, logged models and registered models; see `imports`."""
        outcomes = await self._runs(request.runs)
        outcomes += await asyncio.gather(
            *(_tried(f"model {model.model_id}", self._model(model)) for model in request.models)
        )
        outcomes += await asyncio.gather(
            *(
                _tried(f"registered model {one.name}", self._registered(one))
                for one in request.registered_models
            )
        )
        return summed(outcomes)

    async def finish(self, which: ImportIds) -> None:
        """Say that these are whole."""
        await self._database.write(imports.finish, which)

    async def _placed(self, given: ImportedExperiment) -> PlacedExperiment:
        self._check(given.artifact_location)
        return await self._database.write(imports.place, given, self._root)

    async def _runs(self, given: Sequence[ImportedRun]) -> list[Imported | Refused]:
        """All runs in one write; if one of them spoils it, each in its own."""
        try:
            return [await self._added(given)] if given else []
        except ShosoError as error:
            if error.kind not in _ITS_OWN:
                raise
        return [await _tried(f"run {run.run_id}", self._added([run])) for run in given]

    async def _added(self, given: Sequence[ImportedRun]) -> Imported:
        for uri in {run.artifact_uri for run in given if run.part == 0}:
            self._check(uri)
        return await self._database.write(imports.add_runs, given)

    async def _model(self, given: ImportedModel) -> Imported:
        self._check(given.artifact_location)
        return await self._database.write(import_models.add_model, given)

    async def _registered(self, given: ImportedRegisteredModel) -> Imported:
        for version in given.versions:
            self._check_source(version.source)
            self._check(version.storage_location or "")
        return await self._database.write(import_models.add_registered, given)


_COUNTED = ("runs", "params", "tags", "points", "models", "versions")


def summed(outcomes: Sequence[Imported | Refused]) -> Imported:
    """All of them together."""
    taken = [one for one in outcomes if isinstance(one, Imported)]
    refused = [one for one in outcomes if isinstance(one, Refused)]
    refused += [each for one in taken for each in one.refused]
    sums = {name: sum(getattr(one, name) for one in taken) for name in _COUNTED}
    return Imported(**sums, refused=refused)


async def _tried(what: str, work: Awaitable[T]) -> T | Refused:
    """What the work gives; an error of its own is a refusal."""
    try:
        return await work
    except ShosoError as error:
        if error.kind not in _ITS_OWN:
            raise
        return Refused(what, error.message, whole=True)
