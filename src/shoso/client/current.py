"""Which tracking server this process logs to."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from shoso.core.locations import shown
from shoso.errors import ConfigError

VARIABLE = "MLFLOW_TRACKING_URI"

_chosen: str | None = None


def set_tracking_uri(uri: str | Path | None) -> None:
    """Log to this server from the next run on; children of this process too. None unsets it.

    Raises ConfigError for what is no server's address.
    """
    global _chosen  # noqa: PLW0603  one for the process is the point
    if uri is None or uri == "":
        _chosen = None
        os.environ.pop(VARIABLE, None)
        return
    _chosen = checked("set_tracking_uri", str(uri))
    os.environ[VARIABLE] = _chosen


def get_tracking_uri() -> str:
    """The address set here, else the one in MLFLOW_TRACKING_URI. Raises ConfigError where there is none."""
    uri = _chosen or os.environ.get(VARIABLE, "")
    if not uri:
        raise missing()
    return checked(VARIABLE, uri)


def missing() -> ConfigError:
    """The error of a process that was told of no server."""
    return ConfigError(
        VARIABLE,
        "there is no tracking server to log to. Start one with `shoso server`, then call"
        ' shoso.set_tracking_uri("http://127.0.0.1:5000") or set this variable.',
    )


def is_tracking_uri_set() -> bool:
    """Whether there is a server to log to."""
    return bool(_chosen or os.environ.get(VARIABLE))


def checked(setting: str, uri: str) -> str:
    """The URI, if it's a server's. Raises ConfigError."""
    scheme = urlsplit(uri).scheme if "://" in uri or uri[:5] == "file:" else ""
    if scheme in {"http", "https"}:
        return uri
    hint = f" `shoso server --backend-store-uri {shown(uri)}` serves that one." if scheme == "sqlite" else ""
    raise ConfigError(
        setting,
        f"'{shown(uri)}' is no server's address, such as http://127.0.0.1:5000; `shoso server` starts one."
        f"{hint}",
    )
