"""Where the server is and who logs in: from the URI, the settings and `.netrc`."""

from __future__ import annotations

import enum
import netrc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from shoso.core import locations
from shoso.core.locations import DEFAULT_PORTS, shown
from shoso.errors import ConfigError, StoreError

IMPLICIT_PORT = 990
"""Where TLS is spoken from the first byte, without AUTH TLS before it (RFC 4217, appendix A)."""

ANONYMOUS = ("anonymous", "anonymous@")
"""RFC 1635."""


class Tls(enum.Enum):
    """None at all, asked for by AUTH TLS, or from the first byte."""

    NONE = "none"
    EXPLICIT = "explicit"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True)
class FtpOptions:
    """The server, the folder on it, the login, and how long in seconds it may be silent."""

    host: str
    port: int
    root: str
    user: str
    password: str = field(repr=False)
    tls: Tls = Tls.NONE
    ca_file: str = ""
    connections: int = 8
    silence: float | None = None

    @property
    def name(self) -> str:
        """The URI as it may be shown."""
        scheme = "ftp" if self.tls is Tls.NONE else "ftps"
        user = "" if self.user == ANONYMOUS[0] else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{user}{host}{port}{self.root}"


def options(uri: str, settings: Mapping[str, Any]) -> FtpOptions:
    """The options that a URI and the settings make. Raises ConfigError."""
    parts, root = _parsed(uri)
    host = parts.hostname or "localhost"
    user, password = _login(uri, parts, host, settings["netrc"])
    tls, port = Tls.NONE, parts.port or DEFAULT_PORTS["ftp"]
    if parts.scheme == "ftps":
        implicit = port == IMPLICIT_PORT if settings["implicit"] is None else settings["implicit"]
        tls = Tls.IMPLICIT if implicit else Tls.EXPLICIT
    return FtpOptions(
        host,
        port,
        root,
        user,
        password,
        tls,
        settings["ca_file"],
        settings["connections"],
        settings["silence"],
    )


def _parsed(uri: str) -> tuple[SplitResult, str]:
    """The URI's parts, and its path as a folder from the server's root, as MLflow takes it."""
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018  # raises
    except ValueError:
        # What was taken for a port may be a piece of a password: nothing of it is shown.
        what = "is no address; write ftp://user@host:port/path, and special characters of a password with %."
        raise ConfigError("the FTP URI", what) from None
    try:
        return parts, "/" + locations.parse(uri).folder
    except (StoreError, ValueError) as error:
        raise ConfigError(shown(uri), f"{str(error).rstrip('.')}.") from None


def _login(uri: str, parts: SplitResult, host: str, netrc_file: str) -> tuple[str, str]:
    """User and password: those of the URI, else those of `.netrc`, else anonymous."""
    user, password = unquote(parts.username or ""), parts.password
    if password is None:
        known, secret = _from_netrc(host, netrc_file)
        if known and user in {"", known}:
            user, password = known, secret
    if not user:
        user, default = ANONYMOUS
        password = default if password is None else password
    elif parts.password is not None:
        password = unquote(parts.password)
    if any(character in user + (password or "") for character in "\r\n\0"):
        raise ConfigError(shown(uri), "has a line break in its user or password, which FTP can't send.")
    return user, password or ""


def _from_netrc(host: str, file: str) -> tuple[str, str]:
    path = Path(file).expanduser()
    try:
        found = netrc.netrc(str(path)).authenticators(host)
    except netrc.NetrcParseError as error:
        # Its message quotes the file, which is full of passwords.
        raise ConfigError(str(path), f"can't be read as a netrc file: see its line {error.lineno}.") from None
    except (OSError, UnicodeDecodeError):
        return "", ""
    return (found[0] or "", found[2] or "") if found else ("", "")
