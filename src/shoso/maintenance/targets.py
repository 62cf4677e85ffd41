"""Where experiments, runs and models are brought to: a Shoso server, or a database that none need serve."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from shoso.client.server import Server
from shoso.client.settings import ClientSettings
from shoso.core import locations
from shoso.errors import ConfigError, Kind, TrackingError
from shoso.metadata import import_models, tables
from shoso.metadata.connect import Database
from shoso.metadata.dialects import choose
from shoso.metadata.dialects.options import Options
from shoso.metadata.intake import Intake
from shoso.wire.imports import (
    ExperimentsPlaced,
    Import,
    Imported,
    ImportedExperiment,
    ImportExperiments,
    ImportIds,
    Known,
)
from shoso.wire.replies import Empty

ROOT = "mlflow-artifacts:/"
"""The default root of a server's, and of a database that is told no other."""

_STANDARD = Options()
_SERVERS = {"http", "https"}
_NO_SUCH_CALL = {Kind.NO_ROUTE, Kind.NOT_FOUND, Kind.WRONG_METHOD, Kind.UNSUPPORTED}


class Seen(Protocol):
    """What a dry run needs of either. `server` is the one that serves it, if there is one."""

    server: Server | None

    async def known(self, asked: ImportIds) -> Known: ...
    async def close(self) -> None: ...


class Target(Seen, Protocol):
    """What an import needs of either."""

    async def place(self, given: Sequence[ImportedExperiment]) -> ExperimentsPlaced: ...
    async def add(self, request: Import) -> Imported: ...
    async def finish(self, which: ImportIds) -> None: ...


async def open_target(
    uri: str, settings: ClientSettings, artifact_root: str = "", options: Options = _STANDARD
) -> Target:
    """The server at that address, or the database of that URI. Raises ConfigError, TrackingError.

    `options` are how a database is connected to: as a server does, with its certificates and time-outs.
    """
    if urlsplit(uri).scheme not in _SERVERS:
        return DatabaseTarget(uri, artifact_root or ROOT, options)
    if artifact_root:
        raise ConfigError("--artifact-root", "is for a database; a server knows its own.")
    server = Server(uri, settings)
    target = ServerTarget(server)
    try:
        await target.known(ImportIds())
    except TrackingError as error:
        await server.close()
        if error.kind not in _NO_SUCH_CALL:
            raise
        message = (
            f"{server.name} is no Shoso server that can import, and MLflow's API keeps no ids and times. Name"
            " its database: shoso import … --to sqlite:///mlflow.db."
        )
        raise ConfigError("--to", message) from None
    return target


async def look_at(uri: str, settings: ClientSettings, options: Options = _STANDARD) -> Seen:
    """The same to look at alone: a database is neither made nor changed. Raises as `open_target`."""
    if urlsplit(uri).scheme in _SERVERS:
        return await open_target(uri, settings)
    return await asyncio.to_thread(SeenDatabase, uri, options)


class ServerTarget:
    """Through a server's own calls; see `wire.imports`."""

    def __init__(self, server: Server) -> None:
        self.server: Server | None = server
        self._ask = server.ask_own

    async def place(self, given: Sequence[ImportedExperiment]) -> ExperimentsPlaced:
        """See metadata.intake."""
        return await self._ask("imports/experiments", ExperimentsPlaced, ImportExperiments(given))

    async def known(self, asked: ImportIds) -> Known:
        """See metadata.intake."""
        return await self._ask("imports/known", Known, asked)

    async def add(self, request: Import) -> Imported:
        """See metadata.intake."""
        return await self._ask("imports", Imported, request)

    async def finish(self, which: ImportIds) -> None:
        """See metadata.intake."""
        await self._ask("imports/finished", Empty, which)

    async def close(self) -> None:
        """Cut off what is under way."""
        if self.server is not None:
            await self.server.close()


class DatabaseTarget(Intake):
    """Straight into a database, which is made where there is none. Raises ConfigError."""

    def __init__(self, uri: str, artifact_root: str, options: Options) -> None:
        self.server: Server | None = None
        self._opened = Database.open(uri, artifact_root=artifact_root, options=options, setting="--to")
        super().__init__(self._opened, artifact_root, _check)

    async def close(self) -> None:
        """Write what waits, and let go of it."""
        await self._opened.close()


class SeenDatabase:
    """A database that is only read; one that isn't there yet has nothing. Raises ConfigError."""

    def __init__(self, uri: str, options: Options) -> None:
        self.server: Server | None = None
        self._dialect = choose(uri, options, "--to")
        self._empty = self._dialect.inspect(lambda conn: tables.is_empty(conn, "--to", self._dialect.shown))

    async def known(self, asked: ImportIds) -> Known:
        """See metadata.intake."""
        if self._empty:
            return Known()
        return await asyncio.to_thread(self._dialect.inspect, lambda conn: import_models.known(conn, asked))

    async def close(self) -> None:
        """Let go of it."""
        self._dialect.close()


def _check(location: str) -> None:
    if locations.has_password(location):
        raise TrackingError(Kind.INVALID, "An artifact location can't hold a password.")
