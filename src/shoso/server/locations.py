"""Artifact locations → stores: the only place where a recorded URI becomes something that is opened.

A run or model may record any location; the server reads, lists and deletes only below its own roots, the
artifacts destination and the default artifact root. So nobody reaches other files or buckets by writing a
location of theirs into an experiment.
"""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.errors import ConfigError, Kind, ShosoError, TrackingError
from shoso.layers import standard
from shoso.settings import ServerSettings
from shoso.stores import local_path, open_store

PROXIED = {"mlflow-artifacts", "http", "https"}
_PROXY_PATH = "/mlflow-artifacts/artifacts/"


@dataclass(frozen=True, slots=True)
class Place:
    """An object or folder in a store."""

    store: Store
    key: Key


class Locations:
    """The stores that this server opens, and where a location lies in them. Raises ConfigError."""

    def __init__(self, settings: ServerSettings) -> None:
        self._roots: list[tuple[Path, Store]] = []
        self._serves = settings.serve_artifacts
        if self._serves:
            self._open(settings.artifacts_destination)
        if urlsplit(settings.artifact_root).scheme in {"", "file"} and not settings.artifacts_only:
            self._open(settings.artifact_root)

    @property
    def destination(self) -> Store:
        """The store behind mlflow-artifacts:/ locations; only asked for where artifacts are served."""
        return self._roots[0][1]

    def locate(self, uri: str, path: str = "") -> Place:
        """Where `path` below the location `uri` is. Raises FORBIDDEN for a location outside our roots."""
        parts = urlsplit(uri)
        if parts.scheme in PROXIED and self._serves:
            return Place(self.destination, keys.join(_proxied(parts.path), path))
        try:
            below = Path(os.path.normpath(local_path(uri)))
        except ShosoError:
            raise _outside(uri) from None
        for root, store in self._roots:
            if below == root or root in below.parents:
                return Place(store, keys.join(_relative(below, root), path))
        raise _outside(uri)

    async def close(self) -> None:
        """Close every store."""
        for _, store in self._roots:
            await store.close()

    def _open(self, uri: str) -> None:
        try:
            path = Path(os.path.normpath(local_path(uri)))
        except ConfigError as error:
            raise ConfigError("--artifacts-destination", error.message) from None
        if path not in [root for root, _ in self._roots]:
            self._roots.append((path, standard(open_store(str(path)))))


def _proxied(path: str) -> Key:
    """The key in the destination; a http(s) location names it behind the proxy's own path."""
    return keys.parse(path.partition(_PROXY_PATH)[2] or path.strip("/"))


def _outside(uri: str) -> TrackingError:
    scheme = urlsplit(uri).scheme or "file"
    return TrackingError(
        Kind.FORBIDDEN,
        f"This server doesn't open that '{scheme}:' location: it lies outside --artifacts-destination and"
        " --default-artifact-root. Use an MLflow client that can reach it itself.",
    )


def _relative(path: Path, root: Path) -> Key:
    return keys.ROOT if path == root else keys.parse(path.relative_to(root).as_posix())
