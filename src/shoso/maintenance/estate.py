"""The estate: a database, and the stores that hold what it records, as whoever keeps them up sees them.

It is opened by a server's own settings, whether a server runs or not. `mlflow-artifacts:/` locations are kept
at --artifacts-destination; where that isn't said, they are reached through the tracking server. One with a
host is of the server there, and in the destination only if --tracking-uri names that server. Any other
location is opened with the caller's own credentials, in a root of the server's if it lies in one, so that the
server's record of digests is heeded and kept up.
"""

from __future__ import annotations

import asyncio
import os.path
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from sqlalchemy import make_url

from shoso.client.places import Place, Places, root_of
from shoso.client.settings import ClientSettings, client_settings
from shoso.core import keys, locations, mounted
from shoso.core.keys import Key
from shoso.core.locations import Location
from shoso.core.store import Store
from shoso.errors import ConfigError, Kind, ShosoError, TrackingError
from shoso.layers import Policy, standard
from shoso.metadata import objects, tables
from shoso.metadata.connect import Database
from shoso.metadata.dialects import choose
from shoso.metadata.dialects.options import SETTING
from shoso.server.books import Books
from shoso.server.locations import PROXIED, proxied
from shoso.settings import ServerSettings, server_settings
from shoso.stores import SCHEMES, open_store

if TYPE_CHECKING:
    from shoso.client.server import Server

DESTINATION = "--artifacts-destination"

PROXY = "mlflow-artifacts:/"

TRASH = ".shoso-trash"
"""The folder, anywhere below a root, of what `gc` has moved aside: no listing of ours takes it in."""

_PORTS = {"http": 80, "https": 443}

_ENCODED = {ord(character): f"%{ord(character):02X}" for character in "%?#"}


@dataclass(frozen=True, slots=True)
class Root:
    """A store that the server keeps artifacts in; `uri` is how locations in it begin, when they are shown.

    `plain` is the same without the server's record of digests; `location` is None behind a server.
    """

    uri: str
    store: Store
    plain: Store
    location: Location | None = None

    def shown(self, key: str) -> str:
        """The location of that key."""
        if self.uri.partition(":")[0] in {"mlflow-artifacts", "file"}:  # others aren't decoded
            key = key.translate(_ENCODED)
        return locations.below(self.uri, key) if key else self.uri


@dataclass(frozen=True, slots=True)
class _Named:
    """A root as it was named: by which setting, and how."""

    setting: str
    uri: str


class Estate:
    """What a server of these settings has: its `database`, its roots, and where a recorded location is."""

    def __init__(
        self, database: Database, settings: ServerSettings, client: ClientSettings, *, doubtful: bool = False
    ) -> None:
        """`doubtful`: nobody named the destination; it is believed if there is no server, and it is there."""
        self.database = database
        self.settings = settings
        self.client = client
        self._books = Books()
        self._books.open(database)
        self._server = _server(client)
        self._places = Places(self._server, client)
        there = self._server is None and mounted.is_there(settings.artifacts_destination)
        named = _roots(settings, destination=settings.serve_artifacts and (there or not doubtful))
        self._named = {_parsed(one): one for one in named}
        self._destination = next((at for at, one in self._named.items() if one.setting == DESTINATION), None)
        self._stores: dict[Location, Store] = {}
        self._plain: dict[Location, Store] = {}
        self._opening = asyncio.Lock()

    @classmethod
    def open(cls, flags: Mapping[str, Any], environment: Mapping[str, str]) -> Estate:
        """By the server's flags and variables, and `tracking_uri`. Raises ConfigError; makes no database."""
        settings = server_settings(flags, environment)
        tracking = {"MLFLOW_TRACKING_URI": uri} if (uri := flags.get("tracking_uri")) else {}
        client = client_settings({**environment, **tracking})
        _require_tables(settings)
        database = Database.open(
            settings.backend_store_uri, artifact_root=settings.artifact_root, options=settings.database
        )
        named = flags.get("artifacts_destination") or environment.get("MLFLOW_ARTIFACTS_DESTINATION")
        return cls(database, settings, client, doubtful=not named)

    async def roots(self) -> Sequence[Root]:
        """The stores that the server keeps artifacts in, none inside of another.

        Raises ConfigError, StoreError.
        """
        outer = _outer([*self._named])
        roots = [Root(self._shown(at), await self._store(at), self._plain[at], at) for at in outer]
        if self._destination is None and self._server is not None:
            place = await self._places.open(PROXY)
            roots.append(Root(PROXY, place.store, place.store))
        return roots

    def within(self, location: str, roots: Sequence[Root]) -> tuple[int, Key] | None:
        """In which of the `roots` a recorded location lies, and as what key; None for none of them.

        A folder is found by every path that leads to it, whatever links there are on the way.
        """
        try:
            found = self._found(locations.shown(location))
        except (ShosoError, ValueError):
            return None
        if not isinstance(found, Location):
            return next(((at, found) for at, root in enumerate(roots) if root.location is None), None)
        return _within(roots, found) or _within(roots, _real(found), _real)

    async def place(self, location: str) -> Place:
        """Where a recorded location is. Raises ConfigError, TrackingError, StoreError."""
        if location.partition(":")[0] in PROXIED:
            return await self._served(location)
        if not locations.is_local(location) and location.partition(":")[0] not in SCHEMES:
            message = f"'{locations.shown(location)}' is in no storage that Shoso opens."
            raise TrackingError(Kind.UNSUPPORTED, message)
        found = _read(location)
        for root in self._named:
            if found in root:
                return Place(await self._store(root), found.below(root))
        return await self._places.recorded(location)

    async def require_mounted(self, location: str) -> None:
        """Raise ConfigError for what is in no named root, and below a folder that isn't there, or is empty.

        Named roots are looked at when they are opened.
        """
        if locations.is_local(location) and self._named_root(location) is None:
            await asyncio.to_thread(mounted.require_root, root_of(location))

    def root_around(self, uri: str) -> str:
        """The named root that a folder of this machine lies in, as it was named; of none, the folder."""
        named = self._named_root(uri) if locations.is_local(uri) else None
        return named.uri if named else uri

    def _named_root(self, location: str) -> _Named | None:
        found = _read(location)
        return next((named for root, named in self._named.items() if found in root), None)

    def is_served(self, location: str) -> bool:
        """Whether that is reached through a server, which alone knows where it keeps it."""
        behind = self._destination is None and self._server is not None
        return behind and location.partition(":")[0] in PROXIED

    @property
    def files(self) -> list[str]:
        """The files that are the database itself; none for one that is served."""
        url = make_url(self.settings.backend_store_uri)
        if url.get_backend_name() != "sqlite" or not url.database:
            return []
        return [f"{Path(url.database).absolute()}{end}" for end in ("", "-journal", "-wal", "-shm")]

    async def copy(self, uri: str) -> Place:
        """A copy of a root, by any URI that a client opens; nothing is written there. Raises as `place`."""
        await asyncio.to_thread(mounted.require_there, "--from", uri)
        return await self._places.open(uri)

    async def close(self) -> None:
        """Write what is still to be recorded, and let go of everything."""
        await self._books.close()
        await self._places.close()
        if self._server is not None:
            await self._server.close()
        for store in self._stores.values():
            await store.close()
        await self.database.close()

    async def _served(self, location: str) -> Place:
        """In the destination, or through the tracking server."""
        if self._destination is not None:
            self.require_own(location)
            return Place(await self._store(self._destination), proxied(location))
        if self._server is None:
            message = (
                f"isn't named, and '{locations.shown(location)}' is kept there. Name the folder or storage"
                " that the server was started with, or the server itself with --tracking-uri."
            )
            raise ConfigError(DESTINATION, message)
        return await self._places.open(location)

    def require_own(self, location: str) -> None:
        """Raise ConfigError for what another server keeps: nothing in the destination is meant by it."""
        host = _host(location)
        own = [_host(uri) for uri in (self.client.tracking_uri, self.settings.artifact_root)]
        if host is None or any(one is not None and _is_same(host, one) for one in own):
            return
        message = (
            f"doesn't name {host.netloc.rpartition('@')[2]}, the server that keeps"
            f" '{locations.shown(location)}'. If {DESTINATION} is that server's, name it here, too."
        )
        raise ConfigError("--tracking-uri", message)

    def _shown(self, root: Location) -> str:
        return PROXY if root == self._destination else locations.shown(self._named[root].uri)

    async def _store(self, root: Location) -> Store:
        """The store of one of the settings' roots, opened once."""
        async with self._opening:
            if root not in self._stores:
                await self._require_mounted(root)
                self._stores[root] = await asyncio.to_thread(self._open, root)
            return self._stores[root]

    async def _require_mounted(self, root: Location) -> None:
        """Raise ConfigError for a bare folder in which something is recorded to be."""
        named = self._named[root]
        bare = await asyncio.to_thread(mounted.is_bare, named.uri)
        if bare and await self.database.read(objects.is_root, root.name):
            raise mounted.bare(named.setting, named.uri)

    def _open(self, root: Location) -> Store:
        named = self._named[root]
        mounted.require_there(named.setting, named.uri)
        try:
            store = open_store(named.uri, self.settings.environment)
        except ShosoError as error:
            raise ConfigError(named.setting, error.message) from None
        self._plain[root] = standard(store)
        return standard(store, Policy(book=self._books.of(root.name)))

    def _found(self, location: str) -> Location | Key:
        """A recorded location; of what is behind a server the key there."""
        if location.partition(":")[0] not in PROXIED:
            return locations.parse(location)
        key = proxied(location)
        return replace(at, folder=keys.join(Key(at.folder), key)) if (at := self._destination) else key


def _outer(roots: Sequence[Location]) -> list[Location]:
    """Those that don't lie in another one, whatever links lead there."""
    kept: list[Location] = []
    for at in sorted(roots, key=lambda each: len(_real(each).folder)):
        if not any(_real(at) in _real(other) for other in kept):
            kept.append(at)
    return [at for at in roots if at in kept]


def _within(
    roots: Sequence[Root], found: Location, seen: Callable[[Location], Location] = lambda at: at
) -> tuple[int, Key] | None:
    for number, root in enumerate(roots):
        if root.location is not None and found in (top := seen(root.location)):
            return number, found.below(top)
    return None


def _real(location: Location) -> Location:
    """The location without links on the way."""
    if location.scheme != "file":
        return location
    return replace(location, folder=os.path.realpath(f"/{location.folder}").strip("/"))


def _roots(settings: ServerSettings, *, destination: bool) -> list[_Named]:
    """The server's roots; the default one only where it is a storage or a path that somebody named."""
    found = [_Named(DESTINATION, settings.artifacts_destination)] if destination else []
    if settings.default_artifact_root and settings.artifact_root.partition(":")[0] not in PROXIED:
        found.append(_Named("--default-artifact-root", settings.artifact_root))
    return [*found, *(_Named("--allow-artifact-root", uri) for uri in settings.allow_artifact_root)]


def _host(uri: str) -> SplitResult | None:
    """The parts of a URI that names a server; None for any other. Raises INVALID."""
    if uri.partition(":")[0] not in PROXIED:
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise TrackingError(Kind.INVALID, f"'{locations.shown(uri)}': {error}.") from None
    return parts if parts.netloc else None


def _is_same(one: SplitResult, other: SplitResult) -> bool:
    """Whether they name one host, and one port if both name any."""
    ports = {part.port or _PORTS.get(part.scheme) for part in (one, other)} - {None}
    return one.hostname == other.hostname and len(ports) <= 1


def _server(client: ClientSettings) -> Server | None:
    """A tracking URI may be a database's, too; that one is told by --backend-store-uri."""
    if not client.tracking_uri.startswith(("http://", "https://")):
        return None
    from shoso.client.server import Server

    return Server(client.tracking_uri, client)


def _require_tables(settings: ServerSettings) -> None:
    """Refuse a database that isn't there: to keep one up makes none. Raises ConfigError."""
    dialect = choose(settings.backend_store_uri, settings.database)
    try:
        dialect.inspect(lambda conn: tables.require(conn, SETTING, dialect.shown))
    finally:
        dialect.close()


def _parsed(named: _Named) -> Location:
    try:
        return locations.parse(named.uri)
    except ShosoError as error:
        raise ConfigError(named.setting, error.message) from None
    except ValueError as error:
        raise ConfigError(named.setting, f"{error}.") from None


def _read(location: str) -> Location:
    try:
        return locations.parse(location)
    except ValueError as error:
        raise TrackingError(Kind.INVALID, f"{error}.") from None
