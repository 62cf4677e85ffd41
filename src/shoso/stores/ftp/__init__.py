"""ftp: a folder on an FTP server: `ftp://user@host:port/path`, over TLS `ftps://…`; the path is absolute.

Atomic: bytes go to `.shoso/drafts` on the server and get their name in one rename, when the server has said
226 for them and the sizes agree. Durable as far as the server is: FTP has no sync. FTP (RFC 959, 3659) has
neither exclusive names nor versions nor room for a digest: no CREATE, no IfMatch, no etags, no digests.
Passive mode only. ftps: is TLS that is asked for (AUTH TLS, RFC 4217); on port 990, TLS from the first byte.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from shoso.core.locations import has_password
from shoso.core.options import Setting, boolean, from_environment, silence, text, whole

if TYPE_CHECKING:
    from shoso.stores.files.store import FileStore

_log = logging.getLogger("shoso.stores.ftp")

SILENCE = 120.0
"""Seconds after which a server that says nothing is given up."""


def _several(value: str) -> int:
    """A whole number above 0."""
    if (number := whole(value)) < 1:
        raise ValueError(f"'{value}' is below 1")
    return number


SETTINGS = (
    silence(SILENCE),
    Setting(
        "ca_file",
        "SSL_CERT_FILE",
        text,
        "",
        "A PEM file with the certificates that are trusted on ftps:; by default those of the system.",
    ),
    Setting(
        "implicit",
        "SHOSO_FTPS_IMPLICIT",
        boolean,
        None,
        "Whether ftps: speaks TLS from the first byte, without AUTH TLS; by default on port 990 only.",
    ),
    Setting(
        "connections",
        "SHOSO_FTP_CONNECTIONS",
        _several,
        8,
        "Calls to an FTP server that may be under way at once; each takes a connection, or two for a moment.",
    ),
    Setting(
        "netrc",
        "NETRC",
        text,
        "~/.netrc",
        "The file with the logins for FTP servers whose URI has no password.",
    ),
)


@cache
def _warn(name: str) -> None:
    """Once for each server and folder."""
    _log.warning(
        "The password for %s stands in its URI, where process lists and files of settings show it;"
        " write it into ~/.netrc instead.",
        name,
    )


def open_store(uri: str, environment: Mapping[str, str]) -> FileStore:
    """The store at an `ftp:` or `ftps:` URI; it connects with the first call. Raises ConfigError."""
    import aioftp  # noqa: F401  # missing, it's to be named before the rest is imported

    from shoso.core.store import StoreInfo
    from shoso.stores.files.store import FileStore
    from shoso.stores.ftp.address import options
    from shoso.stores.ftp.system import FtpSystem

    chosen = options(uri, from_environment(SETTINGS, environment))
    if has_password(uri):
        _warn(chosen.name)
    info = StoreInfo(uri.partition(":")[0].lower(), chosen.name, chosen.silence)
    return FileStore(info, FtpSystem(chosen))
