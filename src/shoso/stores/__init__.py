"""Scheme → store, each imported when it's first asked for.

A store is a package whose `__init__` is light: `SETTINGS`, the variables it heeds, and `open_store(uri,
environment)`, which imports what it needs. What is missing then comes with the extra named here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from urllib.parse import urlsplit

from shoso.core.locations import shown
from shoso.core.options import Setting
from shoso.core.store import Store
from shoso.errors import ConfigError

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a store's code is, the schemes it opens, and the extra that installs what it needs."""

    module: str
    schemes: tuple[str, ...]
    extra: str = ""


BACKENDS = (
    Backend("shoso.stores.local", ("", "file")),
    Backend("shoso.stores.hdfs", ("hdfs", "viewfs"), "hdfs"),
    Backend("shoso.stores.sftp", ("sftp",), "sftp"),
    Backend("shoso.stores.remote", ("http", "https")),
    Backend("shoso.stores.gcs", ("gs",), "gcs"),
    Backend("shoso.stores.azure", ("wasbs", "abfss"), "azure"),
    Backend("shoso.stores.s3", ("s3", "r2", "b2"), "s3"),
    Backend("shoso.stores.ftp", ("ftp", "ftps"), "ftp"),
)

_BY_SCHEME = {scheme: backend for backend in BACKENDS for scheme in backend.schemes}

SCHEMES = frozenset(_BY_SCHEME)
"""The schemes of the URIs that `open_store` opens; "" is a plain path."""


def open_store(uri: str, environment: Mapping[str, str] = NOTHING) -> Store:
    """The store at `uri`, by the settings in `environment`. Raises ConfigError, which shows no secret."""
    try:
        scheme = urlsplit(uri).scheme
    except ValueError:
        raise ConfigError(shown(uri), "is no path and no URI.") from None
    if (backend := _BY_SCHEME.get(scheme)) is None:
        known = ", ".join(f"{scheme}:" for scheme in sorted(_BY_SCHEME) if scheme)
        raise ConfigError(
            shown(uri), f"'{scheme}:' isn't a scheme that Shoso stores artifacts in; use a path, or {known}."
        )
    try:
        store: Store = import_module(backend.module).open_store(uri, environment)
    except ModuleNotFoundError as error:
        if not backend.extra or (error.name or "").startswith("shoso"):
            raise
        hint = f"'{scheme}:' needs the package {error.name}: pip install 'shoso[{backend.extra}]'."
        raise ConfigError(shown(uri), hint) from None
    return store


@cache
def settings() -> tuple[Setting, ...]:
    """The variables that any of the stores heeds, each once."""
    return tuple({setting.variable: setting for setting in _every_setting()}.values())


def _every_setting() -> Iterator[Setting]:
    for backend in BACKENDS:
        yield from getattr(import_module(backend.module), "SETTINGS", ())
