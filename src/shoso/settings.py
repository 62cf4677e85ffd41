"""The only reader of the environment: flags and variables → frozen options.

A flag wins over its variable, a variable over the default. A value that can't be used is a ConfigError that
names the flag or variable; nothing deeper reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from shoso import stores
from shoso.core import locations
from shoso.core.options import Setting, address, boolean, names, one_of, seconds, text, whole
from shoso.errors import ConfigError
from shoso.metadata.dialects import options as databases

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")


def _port(value: str) -> int:
    port = whole(value)
    if not 0 <= port <= 65535:
        raise ValueError(f"{value} is not a port; use 0 to 65535")
    return port


def _count(value: str) -> int:
    count = whole(value)
    if count < 1:
        raise ValueError(f"{value} is not a number of processes; use 1 or more")
    return count


def _ttl(value: str) -> int:
    if not 1 <= (seconds := whole(value)) <= 604_800:
        raise ValueError(f"{value} is not between 1 and 604800 seconds")
    return seconds


def _prefix(value: str) -> str:
    if _PREFIX.fullmatch(value) is None or {".", ".."} & set(value.split("/")):
        raise ValueError(
            f"'{value}' must be a path like /mlflow: start with '/', and hold what a URL holds as is"
        )
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"'{value}' is no regular expression: {error}") from None
    return value


SERVER: tuple[Setting, ...] = (
    Setting(
        "backend_store_uri",
        "MLFLOW_BACKEND_STORE_URI",
        text,
        "sqlite:///mlflow.db",
        "The database of experiments, runs and models, e.g. sqlite:///mlflow.db or"
        " postgresql://user:password@host/mlflow.",
    ),
    Setting(
        "read_replica_backend_store_uri",
        "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
        text,
        "",
        "A copy of that database that follows it: searches and histories of metrics are read there.",
    ),
    Setting(
        "default_artifact_root",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT",
        text,
        "",
        "Where new experiments keep artifacts; by default mlflow-artifacts:/ when the server serves"
        " artifacts, else ./mlruns.",
    ),
    Setting(
        "artifacts_destination",
        "MLFLOW_ARTIFACTS_DESTINATION",
        text,
        "./mlartifacts",
        "Where mlflow-artifacts:/ locations are kept: a folder, or the URI of a storage.",
    ),
    Setting(
        "serve_artifacts",
        "MLFLOW_SERVE_ARTIFACTS",
        boolean,
        True,
        "Whether clients send and fetch artifacts through this server.",
    ),
    Setting(
        "artifacts_only",
        "MLFLOW_ARTIFACTS_ONLY",
        boolean,
        False,
        "Serve artifacts and no tracking.",
    ),
    Setting(
        "allow_artifact_root",
        "SHOSO_ALLOW_ARTIFACT_ROOT",
        names,
        (),
        "Further locations, comma-separated, that the server may open for experiments that name them; it"
        " opens nothing outside them, the destination and the default root.",
    ),
    Setting(
        "shared_filesystem",
        "SHOSO_SHARED_FILESYSTEM",
        boolean,
        False,
        "Say that every client sees the default artifact root under the same path, as on an NFS mount.",
    ),
    Setting(
        "direct_transfers",
        "SHOSO_DIRECT_TRANSFERS",
        boolean,
        False,
        "Let MLflow's clients send large files in parts, and fetch files, by URLs that the storage signs, or"
        " that lead here where it signs none.",
    ),
    Setting(
        "public_endpoint_url",
        "SHOSO_PUBLIC_ENDPOINT_URL",
        address,
        "",
        "The address by which clients reach what those URLs lead to: the storage, or this server.",
    ),
    Setting(
        "presigned_download_seconds",
        "MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS",
        _ttl,
        300,
        "Seconds for which a signed URL of a file is good.",
    ),
    Setting("host", "MLFLOW_HOST", text, "127.0.0.1", "The address to listen on."),
    Setting("port", "MLFLOW_PORT", _port, 5000, "The port to listen on; 0 takes a free one."),
    Setting("workers", "MLFLOW_WORKERS", _count, 1, "Server processes; one fills a core."),
    Setting("static_prefix", "MLFLOW_STATIC_PREFIX", _prefix, "", "A path before every route, e.g. /mlflow."),
    Setting(
        "allowed_hosts",
        "MLFLOW_SERVER_ALLOWED_HOSTS",
        names,
        (),
        "Host headers to accept, comma-separated, * matches any text; by default localhost and private"
        " addresses.",
    ),
    Setting(
        "cors_allowed_origins",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
        names,
        (),
        "Origins whose pages may call the API, comma-separated; localhost always may.",
    ),
    Setting(
        "x_frame_options",
        "MLFLOW_SERVER_X_FRAME_OPTIONS",
        one_of("SAMEORIGIN", "DENY", "NONE"),
        "SAMEORIGIN",
        "The X-Frame-Options header: SAMEORIGIN, DENY or NONE.",
    ),
    Setting(
        "log_format",
        "SHOSO_LOG_FORMAT",
        one_of("text", "json"),
        "text",
        "The access log on stderr: text for people, json for machines.",
    ),
    Setting(
        "request_silence",
        "SHOSO_REQUEST_SILENCE",
        seconds,
        120.0,
        "Seconds without a byte after which the sender or reader of a body is given up.",
    ),
    Setting(
        "truncate_long_values",
        "MLFLOW_TRUNCATE_LONG_VALUES",
        boolean,
        True,
        "Cut params over 6,000 and tags over 8,000 characters instead of refusing them.",
    ),
    Setting(
        "model_version_source",
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX",
        _pattern,
        "",
        "A regular expression that must be found in the source of a new model version; by default none.",
    ),
)


NOT_SERVED = {
    "--app-name": "access control isn't part of Shoso yet",
    "--gunicorn-opts": "Shoso brings its own server; use --workers",
    "--waitress-opts": "Shoso brings its own server; use --workers",
    "--uvicorn-opts": "Shoso sets uvicorn's options itself",
    "--expose-prometheus": "metrics aren't part of Shoso yet",
    "--registry-store-uri": "the model registry is in the database of --backend-store-uri",
    "--enable-workspaces": "Shoso has no workspaces",
    "--disable-workspaces": "Shoso has no workspaces",
    "--workspace-store-uri": "Shoso has no workspaces",
    "--disable-security-middleware": "Shoso's can't be switched off; widen --allowed-hosts",
    "--trace-archival-config": "Shoso keeps no traces",
    "--secrets-cache-max-size": "Shoso keeps no secrets",
    "--secrets-cache-ttl": "Shoso keeps no secrets",
    "--dev": "Shoso doesn't reload itself",
}
"""MLflow's flags that a team may bring along, by flag or variable, and what to say of them."""

CLIENT = frozenset({"SHOSO_CREDENTIAL_HOSTS", "SHOSO_MLFLOW_PLUGIN", "SHOSO_OUTBOX", "SHOSO_STATE"})
"""The variables of Shoso's clients, which may be set where a server starts."""

_VARIABLES = {"--disable-security-middleware": "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"}
"""Where MLflow's variable isn't MLFLOW_ and the flag."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What `shoso server` runs with; each field is described in `SERVER`. URIs may hold passwords."""

    backend_store_uri: str = field(repr=False)
    read_replica_backend_store_uri: str = field(repr=False)
    default_artifact_root: str
    artifacts_destination: str = field(repr=False)
    serve_artifacts: bool
    artifacts_only: bool
    allow_artifact_root: tuple[str, ...] = field(repr=False)
    shared_filesystem: bool
    direct_transfers: bool
    public_endpoint_url: str
    presigned_download_seconds: int
    host: str
    port: int
    workers: int
    static_prefix: str
    allowed_hosts: tuple[str, ...]
    cors_allowed_origins: tuple[str, ...]
    x_frame_options: str
    log_format: str
    request_silence: float
    truncate_long_values: bool
    model_version_source: str
    database: databases.Options
    """How a database that is a server is connected to; see `metadata.dialects.options`."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the stores read their settings and credentials from; not shown."""

    @property
    def artifact_root(self) -> str:
        """Where new experiments keep artifacts; a relative path is made absolute here, on the server."""
        if not self.default_artifact_root:
            return "mlflow-artifacts:/" if self.serve_artifacts else str(Path("./mlruns").absolute())
        return locations.absolute(self.default_artifact_root)


def server_settings(flags: Mapping[str, Any], environment: Mapping[str, str]) -> ServerSettings:
    """The settings of a server; `flags` holds None for a flag that wasn't given. Raises ConfigError."""
    _refuse_unknown(environment)
    values = {setting.field: _value(setting, flags, environment) for setting in SERVER}
    database = databases.read_options(environment)
    settings = ServerSettings(**values, database=database, environment=dict(environment))
    if settings.artifacts_only and not settings.serve_artifacts:
        raise ConfigError("--artifacts-only", "serves nothing with --no-serve-artifacts; leave one out.")
    _require_reachable_root(settings)
    return settings


_ROOT = "--default-artifact-root"


def _require_reachable_root(settings: ServerSettings) -> None:
    """Refuse a default root that clients would look for in vain, or would find a password in."""
    if settings.artifacts_only:
        return
    root = settings.artifact_root
    if locations.has_password(root):
        message = (
            "holds a password, which every client would be told and the database would keep; leave it out:"
            " clients and server have their own (see the guide of that storage)."
        )
        raise ConfigError(_ROOT, message)
    if locations.is_local(root) and not settings.shared_filesystem and not _is_loopback(settings.host):
        message = (
            f"'{root}' is a path of this machine, and --host {settings.host} serves others, whose clients"
            " would write to their own disks. Leave it out, so that artifacts go through the server; or name"
            " a storage by its URI; or, where all machines mount that path, add --shared-filesystem."
        )
        raise ConfigError(_ROOT, message)
    _require_s3_endpoint(root, settings.environment.get("MLFLOW_S3_ENDPOINT_URL", "").rstrip("/"))


def _require_s3_endpoint(root: str, endpoint: str) -> None:
    """Refuse an endpoint by which MLflow's clients would make another key of the root: they put it before."""
    if endpoint and locations.below(root, "").startswith(endpoint + "/"):
        message = (
            "lies inside MLFLOW_S3_ENDPOINT_URL, which clients would put before it once more; write"
            " s3://bucket/path."
        )
        raise ConfigError(_ROOT, message)
    scheme, _, rest = root.partition("://")
    bucket, host = rest.partition("/")[0], endpoint.partition("://")[2]
    if scheme == "s3" and ("/" in host or host.startswith(f"{bucket}.")):
        message = (
            "holds more than the address of the storage, and clients would put all of it before the bucket of"
            f" {_ROOT}; write one like https://host:9000."
        )
        raise ConfigError("MLFLOW_S3_ENDPOINT_URL", message)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuse variables that would be ignored: a misspelt one of ours, or one of MLflow's not served."""
    if ours := [name for name in environment if name.startswith("SHOSO_")]:
        _require_known(ours)
    for flag, why in NOT_SERVED.items():
        name = _VARIABLES.get(flag, "MLFLOW_" + flag[2:].replace("-", "_").upper())
        if environment.get(name, "").strip().lower() not in {"", "0", "false"}:
            raise ConfigError(name, f"is MLflow's, and {why}. Unset it.")


def _require_known(names: Iterable[str]) -> None:
    """Raise ConfigError for the first that no setting has: the stores are asked for theirs, and loaded."""
    known = {setting.variable for setting in (*SERVER, *stores.settings(), *databases.SETTINGS)} | CLIENT
    for name in names:
        if name not in known:
            ours = ", ".join(sorted(variable for variable in known if variable.startswith("SHOSO_")))
            raise ConfigError(name, f"is no setting of Shoso; there are {ours}. Mend or unset it.")


def _value(setting: Setting, flags: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    given = flags.get(setting.field)
    source, value = (setting.flag, given) if given is not None else (setting.variable, None)
    if value is None:
        value = environment.get(setting.variable)
    if value is None or value == "":
        return setting.default
    if not isinstance(value, str):
        return value
    return setting.value(source, value)
