"""sftp: a folder of a machine that is reached by SSH: `sftp://user@host:port/path`.

What OpenSSH's own client would use is used: `~/.ssh/config` (HostName, User, Port, IdentityFile, ProxyJump,
UserKnownHostsFile, Ciphers …), the agent, the identity files, `known_hosts`. A host key that isn't recorded
there is refused, always.

- Durable: file and folder are synced by `fsync@openssh.com` where the server offers it.
- Atomic: a rename gives a file its name; `posix-rename@openssh.com` replaces, the plain rename refuses what
  is there (OpenSSH links and unlinks), so that CREATE has one winner.
- Etags: SFTP 3 tells sizes, and times in whole seconds. So each of our files carries 31 random bits in its
  time of access, at a date after 2038 that nothing moves (see versions.py); a file without has no etag.
- Digests: SFTP 3 has no place for one.
- Links: no path is followed through a symbolic link; asked of the server (REALPATH) with each call, so that a
  link planted between the question and the call would still be followed.

Sources: draft-ietf-secsh-filexfer-02, OpenSSH's PROTOCOL (extensions),
draft-ietf-secsh-filexfer-extensions-00 (copy-data).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shoso.core.locations import has_password, shown
from shoso.core.options import Setting, from_environment, silence, text
from shoso.core.store import Store, StoreInfo
from shoso.errors import ConfigError

SILENCE = 120.0
"""Seconds after which a server that answers nothing is given up."""

SETTINGS = (
    silence(SILENCE),
    Setting(
        "config",
        "SHOSO_SFTP_CONFIG",
        text,
        "",
        "An OpenSSH client configuration to read instead of ~/.ssh/config.",
    ),
)

_log = logging.getLogger("shoso.store")


@dataclass(frozen=True, slots=True)
class SftpOptions:
    """Where the objects are, and how to get there; `port` and `user` None for what the configuration says."""

    host: str
    path: str
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    config: str = ""
    silence: float | None = SILENCE

    @property
    def name(self) -> str:
        """The URI without the password."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"sftp://{user}{self.host}{port}{self.path}"


def open_store(uri: str, environment: Mapping[str, str]) -> Store:
    """The store at an `sftp:` URI. Raises ConfigError."""
    options = _options(uri, environment)
    if options.password is not None:
        _log.warning(
            "%s has a password in it, which everybody sees who sees the URI: use a key, by IdentityFile in"
            " ~/.ssh/config or an agent.",
            shown(uri),
        )
    from shoso.stores.files.store import FileStore
    from shoso.stores.sftp.system import SftpSystem

    return FileStore(StoreInfo("sftp", options.name, options.silence), SftpSystem(options))


def _options(uri: str, environment: Mapping[str, str]) -> SftpOptions:
    parts = urlsplit(uri)
    if parts.query or parts.fragment:
        raise ConfigError(
            shown(uri), "an sftp: URI has no query and no fragment; write sftp://user@host/path."
        )
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(shown(uri), "its port is no number between 0 and 65535.") from None
    settings = from_environment(SETTINGS, environment)
    if settings["config"] and not Path(settings["config"]).expanduser().is_file():
        raise ConfigError("SHOSO_SFTP_CONFIG", f"there is no file {settings['config']}.")
    return SftpOptions(
        host=parts.hostname or "localhost",
        path="/" + parts.path.strip("/"),
        port=port,
        user=unquote(parts.username or "") or None,
        password=unquote(parts.password) if parts.password is not None and has_password(uri) else None,
        **settings,
    )
