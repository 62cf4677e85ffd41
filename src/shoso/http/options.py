"""The variables that MLflow's clients heed on their way to a server, with the meaning they have there.

Sources: MLflow 3.17's utils/rest_utils.py, utils/request_utils.py and utils/credentials.py.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shoso.core.options import (
    TRANSFER_TIMEOUT,
    Setting,
    boolean,
    from_environment,
    seconds,
    seconds_or_none,
    text,
    whole,
)
from shoso.errors import ConfigError

SILENCE = 120.0
CREDENTIALS = "~/.mlflow/credentials"

_INSECURE = "MLFLOW_TRACKING_INSECURE_TLS"
_TRUSTED = "MLFLOW_TRACKING_SERVER_CERT_PATH"

NOT_SENT = {
    "MLFLOW_TRACKING_AUTH": "Shoso knows no plugins of MLflow's; use a password or a token",
    "MLFLOW_TRACKING_AWS_SIGV4": "Shoso signs no calls to a tracking server; use a password or a token",
    "MLFLOW_WORKSPACE": "Shoso has no workspaces",
}
"""MLflow's variables without which a server would answer otherwise, and what to say of them."""


def _token(value: str) -> str:
    if not (token := value.strip()).isascii() or not token.isprintable():
        raise ValueError("it holds a character that no header can hold")
    return token


def _retries(value: str) -> int:
    if not 0 <= (retries := whole(value)) <= 10:
        raise ValueError(f"{value} is not between 0 and 10")
    return retries


def _factor(value: str) -> float:
    if not 0 <= (factor := _number(value)) <= 120:
        raise ValueError(f"{value} is not between 0 and 120")
    return factor


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"'{value}' is not a number") from None


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "username",
        "MLFLOW_TRACKING_USERNAME",
        text,
        "",
        f"The user of the server, with the password; else the one in {CREDENTIALS}.",
    ),
    Setting(
        "password",
        "MLFLOW_TRACKING_PASSWORD",
        text,
        "",
        f"The password of that user; else the one in {CREDENTIALS}.",
    ),
    Setting(
        "token",
        "MLFLOW_TRACKING_TOKEN",
        _token,
        "",
        "The token that is sent (`Authorization: Bearer`) where there is no user with a password.",
    ),
    Setting(
        "insecure",
        _INSECURE,
        boolean,
        False,
        "Whether to believe any certificate of the server, for tests only.",
    ),
    Setting(
        "server_certificate",
        _TRUSTED,
        text,
        "",
        "A PEM file, or a folder of them, with the authorities that may vouch for the server.",
    ),
    Setting(
        "bundle",
        "REQUESTS_CA_BUNDLE",
        text,
        "",
        f"The same, for every program that uses requests; {_TRUSTED} wins. By default those of the system.",
    ),
    Setting(
        "client_certificate",
        "MLFLOW_TRACKING_CLIENT_CERT_PATH",
        text,
        "",
        "A PEM file with the certificate that the client shows, and its key.",
    ),
    Setting(
        "timeout",
        "MLFLOW_HTTP_REQUEST_TIMEOUT",
        seconds,
        SILENCE,
        "Seconds without a byte after which a call to the server is given up.",
    ),
    Setting(
        "retries",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
        _retries,
        7,
        "How often a call that may succeed later is made again, 0 to 10.",
    ),
    Setting(
        "backoff",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR",
        _factor,
        2.0,
        "Seconds that the pauses between attempts begin with, 0 to 120; each is twice the last, 120 at most.",
    ),
    Setting(
        "jitter",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER",
        _factor,
        1.0,
        "Seconds at most by which chance makes a pause longer.",
    ),
    Setting(
        "respect_retry_after",
        "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER",
        boolean,
        True,
        "Whether to pause for as long as the server asks.",
    ),
    Setting(
        "redirects",
        "MLFLOW_ALLOW_HTTP_REDIRECTS",
        boolean,
        True,
        "Whether to follow the server elsewhere; another host gets no credentials.",
    ),
)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Who we are to a server, whom we believe, and how patient we are; each field is in `SETTINGS`."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    insecure: bool = False
    server_certificate: str = ""
    bundle: str = ""
    client_certificate: str = ""
    timeout: float = SILENCE
    retries: int = 7
    backoff: float = 2.0
    jitter: float = 1.0
    respect_retry_after: bool = True
    redirects: bool = True


STORE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "silence",
        TRANSFER_TIMEOUT,
        seconds_or_none,
        "",
        "Seconds without a byte after which a call to the store is given up (-1 for none); by default"
        " MLFLOW_HTTP_REQUEST_TIMEOUT.",
    ),
    *SETTINGS,
)
"""What a store behind a server heeds."""


def http_options(environment: Mapping[str, str]) -> HttpOptions:
    """The options that the variables, and MLflow's file of credentials, make. Raises ConfigError."""
    for name, why in NOT_SENT.items():
        if environment.get(name, "").strip().lower() not in {"", "0", "false"}:
            raise ConfigError(name, f"is MLflow's, and {why}. Unset it.")
    values = from_environment(SETTINGS, environment)
    if values["insecure"] and values["server_certificate"]:
        raise ConfigError(_INSECURE, f"leaves no use for {_TRUSTED}; unset one of them.")
    for name, value in _filed(environment).items():
        values[name] = values[name] or value
    return HttpOptions(**values)


def silence(environment: Mapping[str, str]) -> float | None:
    """Seconds that a store behind a server may stay silent; None for as long as it likes."""
    given: float | str | None = from_environment(STORE_SETTINGS[:1], environment)["silence"]
    return http_options(environment).timeout if isinstance(given, str) else given


def _filed(environment: Mapping[str, str]) -> dict[str, str]:
    """User and password in MLflow's file of credentials, as far as they are there."""
    path = Path(environment.get("HOME") or Path.home(), CREDENTIALS.removeprefix("~/"))
    if not os.path.lexists(path):
        return {}
    import configparser

    config = configparser.ConfigParser()
    try:
        config.read(path)
        if not config.has_section("mlflow"):
            return {}
        section = config["mlflow"]
        return {name: section.get(f"mlflow_tracking_{name}", "") for name in ("username", "password")}
    except (configparser.Error, OSError, UnicodeDecodeError) as error:  # whose words may show the password
        message = f"it can't be read ({type(error).__name__}); it's an INI file, and % in it is %%."
        raise ConfigError(CREDENTIALS, message) from None
