"""Artifact locations → stores: the only place where a recorded URI becomes something that is opened.

A run or model may record any location; the server reads, lists and deletes only below its own roots: the
artifacts destination, the default artifact root and those of `--allow-artifact-root`. So nobody reaches other
files or buckets by writing a location of theirs into an experiment.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.core.locations import Location
from shoso.core.options import PUBLIC_ENDPOINT
from shoso.core.store import Store
from shoso.errors import ConfigError, Kind, ShosoError, TrackingError
from shoso.layers import Policy, standard
from shoso.server.books import Books
from shoso.server.moving import Moves, Moving, Spot
from shoso.settings import ServerSettings
from shoso.stores import SCHEMES, open_store

_log = logging.getLogger("shoso.server")

_DEFAULT = "--default-artifact-root"

PROXIED = {"mlflow-artifacts", "http", "https"}
PROXY_PATH = "/mlflow-artifacts/artifacts/"


@dataclass(frozen=True, slots=True)
class Place:
    """An object or folder in a store."""

    store: Store
    key: Key


class Locations:
    """The stores that this server opens, and where a location lies in them. Raises ConfigError."""

    def __init__(self, settings: ServerSettings, books: Books | None = None) -> None:
        self._books = books
        self._environment = dict(settings.environment)
        self._environment[PUBLIC_ENDPOINT.variable] = settings.public_endpoint_url
        self._roots: list[tuple[Location, Moving]] = []
        self.moves = Moves(self._spot)
        self._unopened: tuple[Location, str] | None = None
        self._serves = settings.serve_artifacts
        if self._serves:
            self._open("--artifacts-destination", settings.artifacts_destination)
        if settings.artifacts_only:
            return
        if _scheme(settings.artifact_root) in {*SCHEMES, None} - PROXIED:
            self._open_default(settings.artifact_root)
        for root in settings.allow_artifact_root:
            if _scheme(root) in PROXIED:
                message = f"'{locations.shown(root)}' is a server's; name the storage behind it."
                raise ConfigError("--allow-artifact-root", message)
            self._open("--allow-artifact-root", root)

    @property
    def first(self) -> Store | None:
        """The store whose clients' address `--public-endpoint-url` is: the first that was opened."""
        return self._roots[0][1] if self._roots else None

    @property
    def destination(self) -> Store:
        """The store behind mlflow-artifacts:/ locations; only asked for where artifacts are served."""
        return self._roots[0][1]

    def holds(self, uri: str) -> bool:
        """Whether the location lies below a root of ours, also one that only clients can open."""
        try:
            location = locations.parse(uri)
        except (ShosoError, ValueError):
            return False
        roots = [*self._roots, *([self._unopened] if self._unopened else [])]
        return any(location in root for root, _ in roots)

    def locate(self, uri: str, path: str = "") -> Place:
        """Where `path` below the location `uri` is. Raises FORBIDDEN for a location outside our roots."""
        spot = self._spot(uri)
        return Place(spot.store, keys.join(spot.folder, path))

    def _spot(self, uri: str) -> Spot:
        if _scheme(uri) in PROXIED and self._serves:
            return Spot(self._roots[0][1], proxied(uri))
        try:
            location = locations.parse(uri)
        except (ShosoError, ValueError):
            raise _outside(uri) from None
        for root, store in self._roots:
            if location in root:
                return Spot(store, location.below(root))
        if self._unopened and location in self._unopened[0]:
            message = f"This server can't open that location, but your client may. {self._unopened[1]}"
            raise TrackingError(Kind.UNSUPPORTED, message)
        raise _outside(uri)

    async def close(self) -> None:
        """Close every store."""
        for _, store in self._roots:
            await store.close()

    def _open_default(self, uri: str) -> None:
        """The default root; where it is a storage, it is the clients' to open, and we only help with it."""
        root = parsed(_DEFAULT, uri)
        try:
            self._open(_DEFAULT, uri)
        except ConfigError as error:
            if locations.is_local(uri):
                raise
            _log.warning("%s Clients are told that location all the same.", error)
            self._unopened = (root, error.message)

    def _open(self, setting: str, uri: str) -> None:
        root = parsed(setting, uri)
        if root not in [there for there, _ in self._roots]:
            try:
                store = open_store(uri, self._environment)
            except ShosoError as error:
                raise ConfigError(setting, error.message) from None
            book = self._books.of(root.name) if self._books else None
            self._roots.append((root, Moving(standard(store, Policy(book=book)), self.moves)))
            self._environment[PUBLIC_ENDPOINT.variable] = ""


def parsed(setting: str, uri: str) -> Location:
    """The location that a setting names. Raises ConfigError that names it."""
    try:
        return locations.parse(uri)
    except ShosoError as error:
        raise ConfigError(setting, error.message) from None
    except ValueError as error:
        raise ConfigError(setting, f"{error}.") from None


def _scheme(uri: str) -> str | None:
    """The scheme of a location, "" for a path; None for what is no URI."""
    try:
        return urlsplit(uri).scheme
    except ValueError:
        return None


def proxied(uri: str) -> Key:
    """The key of a proxied location in the destination; http(s) names it behind the proxy's own path.

    The location is decoded once, as the path of the client's request is, which is made from it.
    """
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts":
        return keys.parse(unquote(parts.path).strip("/"))
    _, found, below = f"{parts.path}/".partition(PROXY_PATH)  # the root may end without a slash
    if not found:
        raise _outside(uri)
    return keys.parse(unquote(below.removesuffix("/")))


def _outside(uri: str) -> TrackingError:
    scheme = _scheme(uri) or "file"
    return TrackingError(
        Kind.FORBIDDEN,
        f"This server doesn't open that '{scheme}:' location: it lies outside --artifacts-destination,"
        " --default-artifact-root and --allow-artifact-root. Add it there, or use an MLflow client that can"
        " reach it itself.",
    )
