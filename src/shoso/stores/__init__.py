"""Scheme → store, each imported when it's first asked for."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from shoso.core.store import Store
from shoso.errors import ConfigError


def open_store(uri: str) -> Store:
    """The store at `uri`: a path, `file:` or `http(s):` of a Shoso server. Raises ConfigError."""
    scheme = urlsplit(uri).scheme
    if scheme in {"http", "https"}:
        from shoso.stores.remote import RemoteOptions, RemoteStore

        return RemoteStore(RemoteOptions(uri))
    from shoso.stores.local import LocalOptions, LocalStore

    return LocalStore(LocalOptions(local_path(uri)))


def local_path(uri: str) -> Path:
    """The absolute path that a plain path or a `file:` URI names. Raises ConfigError for anything else."""
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"}:
        raise ConfigError(
            uri, f"'{parts.scheme}:' isn't a scheme that Shoso stores artifacts in; use a path."
        )
    if parts.scheme == "file" and parts.netloc not in {"", "localhost"}:
        raise ConfigError(uri, "a file: URI names no host; write file:///path.")
    return Path(unquote(parts.path) if parts.scheme else uri).absolute()
