"""Bringing in what another store holds, with its ids and times: parse → metadata → reply."""

from __future__ import annotations

from shoso.metadata.intake import Intake
from shoso.server.registry import check_source
from shoso.server.routes import OWN, Route, call
from shoso.server.services import Services
from shoso.server.tracking import check_place
from shoso.wire import imports as wire
from shoso.wire.replies import Empty


def routes() -> list[Route]:
    """The calls of `shoso import`."""
    ids = wire.ImportIds
    return [
        *call(
            "POST", "/imports/experiments", place, wire.ImportExperiments, wire.ExperimentsPlaced, roots=OWN
        ),
        *call("POST", "/imports/known", known, ids, wire.Known, roots=OWN),
        *call("POST", "/imports", add, wire.Import, wire.Imported, roots=OWN),
        *call("POST", "/imports/finished", finish, ids, Empty, roots=OWN),
    ]


async def place(services: Services, request: wire.ImportExperiments) -> wire.ExperimentsPlaced:
    """Find or make experiments of another store, by name, each under its own id where that is free."""
    return await _intake(services).place(request.experiments)


async def known(services: Services, request: wire.ImportIds) -> wire.Known:
    """Say which runs and logged models are there whole."""
    return await _intake(services).known(request)


async def add(services: Services, request: wire.Import) -> wire.Imported:
    """Add runs and models of another store as they were there; to what is there, what it lacks."""
    return await _intake(services).add(request)


async def finish(services: Services, request: wire.ImportIds) -> Empty:
    """Say that nothing more of these runs and logged models comes."""
    await _intake(services).finish(request)
    return Empty()


def _intake(services: Services) -> Intake:
    def check(location: str) -> None:
        if location:
            check_place(services, "artifact_location", location)

    def check_version(source: str) -> None:
        if source:  # that of a deleted version isn't kept
            check_source(services, source)

    return Intake(services.database, services.settings.artifact_root, check, check_version)
