"""What a client is set up by: variables → frozen options. `current`, `active` and `context` read
the few that a script may change on its way.

The names are MLflow's, with the meaning they have there; what is Shoso's own begins with SHOSO_.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shoso.core.options import Setting, boolean, from_environment, names, switch, text, whole
from shoso.http.options import STORE_SETTINGS, HttpOptions, http_options, silence


def _size(value: str) -> int:
    if (size := whole(value)) < 1:
        raise ValueError(f"{value} is not a number of bytes; use 1 or more")
    return size


MLFLOW_PLUGIN = Setting(
    "mlflow_plugin",
    "SHOSO_MLFLOW_PLUGIN",
    switch,
    True,
    "Whether MLflow's own client moves artifacts Shoso's way, where both are installed: on or off.",
)

CLIENT: tuple[Setting, ...] = (
    MLFLOW_PLUGIN,
    Setting(
        "tracking_uri",
        "MLFLOW_TRACKING_URI",
        text,
        "",
        "The address of the tracking server, e.g. https://mlflow.example.com.",
    ),
    Setting(
        "upload_minimum",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE",
        _size,
        None,
        "Bytes from which a file is sent in parts; by default as it suits the storage.",
    ),
    Setting(
        "upload_part",
        "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE",
        _size,
        None,
        "Bytes of a part that is sent; by default as it suits the storage.",
    ),
    Setting(
        "download_minimum",
        "MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE",
        _size,
        None,
        "Bytes from which a file is fetched in parts; by default as it suits the storage.",
    ),
    Setting(
        "download_part",
        "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE",
        _size,
        None,
        "Bytes of a part that is fetched; by default as it suits the storage.",
    ),
    Setting(
        "progress_bar",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
        boolean,
        True,
        "Whether transfers of artifacts show how far they are.",
    ),
    Setting(
        "credential_hosts",
        "SHOSO_CREDENTIAL_HOSTS",
        names,
        (),
        "Hosts, comma-separated, that are shown the tracking server's credentials too, where it says that a"
        " run's artifacts are there.",
    ),
    Setting(
        "outbox",
        "SHOSO_OUTBOX",
        Path,
        None,
        "A folder where what is logged is kept until the server has it, so that none that is down stops a"
        " training; by default it is sent at once.",
    ),
    Setting(
        "state",
        "SHOSO_STATE",
        Path,
        None,
        "The folder with the journals of transfers under way; by default shoso in $XDG_STATE_HOME, else in"
        " ~/.local/state.",
    ),
)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a client works with; each field is described in `CLIENT`. A URI may hold a password.

    Sizes in bytes, None for Shoso's choice; `silence` in seconds, None for no limit.
    """

    mlflow_plugin: bool
    tracking_uri: str = field(repr=False)
    upload_minimum: int | None
    upload_part: int | None
    download_minimum: int | None
    download_part: int | None
    progress_bar: bool
    credential_hosts: tuple[str, ...]
    outbox: Path | None
    state: Path
    http: HttpOptions
    silence: float | None
    environment: Mapping[str, str] = field(repr=False)
    """What the stores read their settings and credentials from; not shown."""


def client_settings(environment: Mapping[str, str] | None = None) -> ClientSettings:
    """The settings of a client, by default those of this process. Raises ConfigError."""
    given = dict(os.environ if environment is None else environment)
    values = from_environment(CLIENT, given)
    values["state"] = values["state"] or _state(given)
    return ClientSettings(**values, http=http_options(given), silence=silence(given), environment=given)


def every_setting() -> tuple[Setting, ...]:
    """The variables of a client, beside those of the storages it goes to itself."""
    return (*CLIENT, *STORE_SETTINGS)


def _state(environment: Mapping[str, str]) -> Path:
    """By the XDG Base Directory Specification, which ignores a relative path."""
    given = Path(environment.get("XDG_STATE_HOME", ""))
    home = Path(environment.get("HOME") or Path.home())
    return (given if given.is_absolute() else home / ".local" / "state") / "shoso"
