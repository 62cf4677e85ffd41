"""What the handlers work with: settings, the database, the stores."""

from __future__ import annotations

from dataclasses import dataclass

from shoso.metadata.connect import Database
from shoso.server.books import Books
from shoso.server.direct import Direct, open_direct
from shoso.server.locations import Locations
from shoso.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Services:
    """Opened when the server starts, closed when it ends."""

    settings: ServerSettings
    locations: Locations
    direct: Direct
    opened: Database | None
    books: Books | None

    @property
    def database(self) -> Database:
        """The database; a server of artifacts only has none, and no route that asks for it."""
        assert self.opened is not None  # noqa: S101  (Access refuses the routes before)
        return self.opened

    async def close(self) -> None:
        """Finish what is under way and let go."""
        if self.books is not None:
            await self.books.close()
        if self.opened is not None:
            await self.opened.close()
        await self.locations.close()


def open_services(settings: ServerSettings) -> Services:
    """Open database and stores. Raises ConfigError with the setting and the fix."""
    books = None if settings.artifacts_only else Books()
    locations = Locations(settings, books)
    direct = open_direct(settings, locations)
    if books is None:
        return Services(settings, locations, direct, None, None)
    database = open_database(settings)
    books.open(database)
    locations.moves.open(database)
    return Services(settings, locations, direct, database, books)


def open_database(settings: ServerSettings) -> Database:
    """The settings' database, and its replica. Raises ConfigError with the setting and the fix."""
    return Database.open(
        settings.backend_store_uri,
        artifact_root=settings.artifact_root,
        options=settings.database,
        replica=settings.read_replica_backend_store_uri,
    )
