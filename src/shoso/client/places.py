"""URIs → where their bytes are: the one place where a client turns a URI into an open store.

runs:/ and models:/                      wherever the tracking server has recorded their artifacts
mlflow-artifacts:/, http:, https:        behind a server
s3: and every other scheme of `stores`   in a storage, with the caller's own credentials
paths and file:                          in a folder of the caller's
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from shoso import stores
from shoso.client.settings import ClientSettings
from shoso.client.uris import ModelUri, parse_model, parse_run
from shoso.core import keys, locations
from shoso.core.keys import ROOT, Key
from shoso.core.locations import shown
from shoso.core.store import Store, exists, is_folder
from shoso.errors import ConfigError, Kind, TrackingError
from shoso.layers import standard

if TYPE_CHECKING:  # a third of a command's start, which many a command that calls no server can do without
    from shoso.client.records import Records
    from shoso.client.served import Servers
    from shoso.client.server import Server

HOPS = 4
"""URIs that may lead from one to the next: a registered version to a logged model, and that to a location."""

_LAYOUT = re.compile(r"/((?:\d+/)?(?:[0-9a-f]{32}|models/m-[0-9a-f]{32})/artifacts)$")

FLAT = {"s3", "r2", "b2", "gs", "wasbs", "abfss"}
"""Storages without folders, in which a store may be opened at the top: it keeps nothing there of its own."""

_RECORDED = {"runs", "models", "mlflow-artifacts"}
"""What a tracking server has to tell of."""


@dataclass(frozen=True, slots=True)
class Place:
    """An object or a folder, in a store that is under the standard layers."""

    store: Store
    key: Key


@dataclass(frozen=True, slots=True)
class Record:
    """A recorded location, with the experiment and the folders that MLflow makes below an artifact root."""

    location: str
    experiment_id: str
    layout: str


class Places:
    """What URIs name, seen by a client of one tracking server, or of none.

    A store is opened once for each root, and lives until `close`. Raises ConfigError, TrackingError,
    StoreError.
    """

    def __init__(self, server: Server | None, settings: ClientSettings) -> None:
        self._server, self._settings = server, settings
        self._stores: dict[str, Store] = {}
        self._opening = asyncio.Lock()

    @cached_property
    def _records(self) -> Records | None:
        from shoso.client.records import Records

        return None if self._server is None else Records(self._server)

    @cached_property
    def _servers(self) -> Servers:
        from shoso.client.served import Servers

        return Servers(self._server, self._settings)

    async def open(self, uri: str) -> Place:
        """Where the bytes at `uri` are, or would be written."""
        return await self._follow(uri, HOPS)

    async def find(self, uri: str) -> Place:
        """Where to read: what a run has not may be the logged model of that name, as MLflow has it."""
        place = await self.open(uri)
        if not uri.startswith("runs:") or not (run := parse_run(uri)).path or await _holds(place):
            return place
        name, _, path = run.path.partition("/")
        model = await self._recorded(uri).model_of_run(run.run_id, name)
        return place if model is None else await self._of_model(ModelUri(model.model_id, Key(path)))

    async def recorded(self, location: str) -> Place:
        """A location that a server has recorded, of what isn't known; MLflow's layout is seen by its look."""
        return await self._below(_seen(location), ROOT)

    async def close(self) -> None:
        """Close every store; may be called again."""
        while self._stores:
            await self._stores.popitem()[1].close()

    async def _follow(self, uri: str, hops: int) -> Place:
        scheme = uri.partition(":")[0]
        if scheme == "runs":
            run = parse_run(uri)
            return await self._below(await self._recorded(uri).run(run.run_id), run.path)
        if scheme == "models":
            return await self._of_models(uri, hops)
        if scheme in {"mlflow-artifacts", "http", "https"}:
            served = self._servers.parse(uri)
            return Place(await self._at(served.address, self._servers.open), served.key)
        if locations.is_local(uri):
            return await self._of_folder(locations.local_path(uri))
        return await self._of_storage(uri)

    # -- runs and models ----------------------------------------------------------------------------------

    async def _of_models(self, uri: str, hops: int) -> Place:
        found = parse_model(uri)
        if isinstance(found, ModelUri):
            return await self._of_model(found)
        location = await self._recorded(uri).version(found)
        if not hops:
            raise TrackingError(Kind.INVALID, f"'{uri}' leads from one registered version to the next.")
        if location.startswith(("runs:", "models:")):
            place = await self._follow(location, hops - 1)
            return Place(place.store, keys.join(place.key, found.path))
        return await self._below(Record(location, "", ""), found.path)

    async def _of_model(self, model: ModelUri) -> Place:
        return await self._below(await self._recorded(model.model_id).model(model.model_id), model.path)

    def _recorded(self, uri: str) -> Records:
        if self._records is None:
            message = f"is not set, and '{uri}' is known to a tracking server only; set it to its address."
            raise ConfigError("MLFLOW_TRACKING_URI", message)
        return self._records

    async def _below(self, record: Record, path: Key) -> Place:
        """A path below a recorded location; where it has MLflow's layout, its neighbours share the store."""
        location = record.location
        if location.startswith(("mlflow-artifacts:", "http:", "https:")):
            place = await self._follow(location, 0)
            return Place(place.store, keys.join(place.key, path))
        root, key = _rooted(location, record)
        store = await self._at(root, self._open_storage)
        return Place(store, keys.join(key, path))

    # -- stores -------------------------------------------------------------------------------------------

    async def _of_storage(self, uri: str) -> Place:
        """A storage of the caller's: one without folders from its top on, any other from the folder above."""
        try:
            location = locations.parse(uri)
        except ValueError as error:
            raise TrackingError(Kind.INVALID, f"{error}.") from None
        if location.scheme not in stores.SCHEMES:
            known = ", ".join(f"{scheme}:" for scheme in sorted((stores.SCHEMES | _RECORDED) - {""}))
            message = f"'{shown(uri)}' has a scheme that Shoso doesn't know; use a path, or {known}."
            raise TrackingError(Kind.INVALID, message)
        folder = Key("") if location.scheme in FLAT else keys.parent(Key(location.folder))
        authority = uri.partition("://")[2].partition("/")[0]
        root = f"{location.scheme}://{authority}/{folder}"
        store = await self._at(root, self._open_storage)
        return Place(store, keys.parse(keys.below(Key(location.folder), folder)))

    async def _of_folder(self, path: Path) -> Place:
        """A file or folder of the caller's, in the folder that it is in; links on the way are followed."""
        folder, name = _parted(path)
        return Place(await self._at(folder, self._open_folder), keys.parse(name))

    async def _open_storage(self, root: str) -> Store:
        return standard(stores.open_store(root, self._settings.environment))

    async def _open_folder(self, root: str) -> Store:
        from shoso.stores.folder import open_folder

        return standard(open_folder(Path(root)))

    async def _at(self, root: str, begin: Callable[[str], Awaitable[Store]]) -> Store:
        """The store at that root, opened by `begin` if it isn't yet."""
        name = f"{begin.__name__}:{root}"
        async with self._opening:
            if name not in self._stores:
                self._stores[name] = await begin(root)
            return self._stores[name]


def is_root(uri: str, place: Place) -> bool:
    """Whether it is a whole store, or all that a run or a model has."""
    scheme = uri.partition(":")[0]
    if scheme == "runs":
        return not parse_run(uri).path
    if scheme == "models":
        return not parse_model(uri).path
    return place.key == ROOT


def root_of(location: str) -> str:
    """What is above MLflow's layout in a recorded location; all of it, where it hasn't that."""
    return _rooted(location, _seen(location))[0]


def _seen(location: str) -> Record:
    """What a location says of itself by its look."""
    layout = _LAYOUT.search(location.rstrip("/"))
    return Record(location, "", layout[1] if layout else "")


def _rooted(location: str, record: Record) -> tuple[str, Key]:
    """The root above MLflow's layout, and the key of the location there; without it, the location itself."""
    whole = location.rstrip("/")
    for layout in (f"{record.experiment_id}/{record.layout}", record.layout):
        if record.layout and whole.endswith(f"/{layout}"):
            return whole.removesuffix(layout), keys.parse(layout)
    return location, ROOT


def _parted(path: Path) -> tuple[str, str]:
    """The folder that something is in, and its name; what is a link to a folder is that folder."""
    real = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    return str(real.parent), real.name


async def _holds(place: Place) -> bool:
    """Whether there is an object of that key, or anything below it."""
    return await exists(place.store, place.key) or await is_folder(place.store, place.key)
