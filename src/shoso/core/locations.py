"""Locations: the URIs that are recorded for runs and opened as stores; parsed, compared and shown here.

As MLflow has it, the path of a URI is taken as it is written, percent signs and all; only `file:` is decoded.
"""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import ConfigError

DEFAULT_PORTS = {"sftp": 22, "ftp": 21, "ftps": 21}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_RELATIVE_FILE = re.compile(r"file:([^/].*)")
_PORT = r"\d*(?:[/?#]|$)"
_SECRET = re.compile(rf"(?<=://)(?!arn:)([^/@:\[]*):(?:[^/?#]*|(?!{_PORT}).*)(?=@)", re.DOTALL)
"""A password; one that isn't encoded, as it should be, may hold what ends it for everybody else."""
_USER = re.compile(r"[^:/?#]+://[^/?#]*@")
_TAIL = re.compile(r"[?#].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Location:
    """A folder in a storage: `file` for paths; `authority` is a bucket, a container or user and host.

    It holds no password, so that it may be shown, compared and kept.
    """

    scheme: str
    authority: str
    folder: str

    @property
    def name(self) -> str:
        """The location as a URI; characters that no text can hold are written out."""
        uri = f"{self.scheme}://{self.authority}/{self.folder}"
        return uri.encode(errors="backslashreplace").decode()

    def __contains__(self, other: object) -> bool:
        """Whether the other location is this one or lies below it, by whole segments."""
        return (
            isinstance(other, Location)
            and (self.scheme, self.authority) == (other.scheme, other.authority)
            and keys.contains(Key(self.folder), other.folder)
        )

    def below(self, root: Location) -> Key:
        """The key of this location as seen from `root`, which contains it. Raises INVALID_KEY."""
        return keys.parse(keys.below(Key(self.folder), Key(root.folder)))


def parse(uri: str) -> Location:
    """The location that a URI or path names. Raises ValueError for what names none, or one that climbs."""
    parts = _split(uri)
    if parts.scheme in {"", "file"}:
        return Location("file", "", _absolute(uri, parts).strip("/"))
    if parts.query or parts.fragment:
        raise ValueError(f"'{shown(uri)}' has a query or a fragment, which no storage has")
    folder = parts.path.strip("/")
    keys.parse(folder)
    return Location(parts.scheme, _authority(parts), folder)


def _split(uri: str) -> SplitResult:
    """The parts of a URI; the words of the library would show the password."""
    try:
        parts = urlsplit(uri)
        if parts.scheme in DEFAULT_PORTS:
            _ = parts.port
    except ValueError:
        message = (
            "its host or port can't be read; write scheme://host:port/path, the password percent-encoded"
        )
        raise ValueError(message) from None
    return parts


def _authority(parts: SplitResult) -> str:
    """User and host; without the password, and without the port that is meant anyway."""
    user, at, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    if parts.scheme not in DEFAULT_PORTS:
        return user + at + host
    if parts.port == DEFAULT_PORTS[parts.scheme]:
        host = host.rpartition(":")[0]
    return user + at + host.lower()


def local_path(uri: str) -> Path:
    """The absolute path that a plain path or a `file:` URI names. Raises ConfigError for anything else."""
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"}:
        raise ConfigError(shown(uri), f"'{parts.scheme}:' is no path.")
    return Path(_absolute(uri, parts))


def _absolute(uri: str, parts: SplitResult) -> str:
    if parts.scheme == "file" and parts.netloc not in {"", "localhost"}:
        raise ConfigError(shown(uri), "a file: URI names no host; write file:///path.")
    path = unquote(parts.path) if parts.scheme else uri
    return os.path.normpath(os.path.join(Path.cwd(), path))  # noqa: PTH118


def shown(uri: str) -> str:
    """The URI as it may be shown: without its password, and without its query, which may hold a token."""
    return _TAIL.sub("", _SECRET.sub(r"\1:***", uri)) if "://" in uri else uri


def has_password(uri: str) -> bool:
    """Whether a password stands in the URI."""
    return _SECRET.search(uri) is not None


def has_user(uri: str) -> bool:
    """Whether the URI says who logs in; the password may stand beside, or be left out."""
    return _USER.match(uri) is not None


def without_password(uri: str) -> str:
    """The URI as it may be kept: without the password; whoever opens it has one of their own."""
    return _SECRET.sub(r"\1", uri) if "://" in uri else uri


def is_local(location: str) -> bool:
    """Whether it is a path, or a `file:` URI."""
    return _SCHEME.match(location) is None or location[:5].lower() == "file:"


def has_scheme(location: str) -> bool:
    """Whether it is a URI, and no path."""
    return _SCHEME.match(location) is not None


def below(location: str, *segments: str) -> str:
    """The location of `segments` under `location`; a query string of it stays at the end."""
    cut = _TAIL.search(location) if _SCHEME.match(location) else None
    end = cut.start() if cut else len(location)
    head, tail = location[:end], location[end:]
    slash = "" if not head or head.endswith(("/", ":")) else "/"
    return head + slash + "/".join(segments) + tail


def absolute(location: str) -> str:
    """The location, with a relative path on this machine made absolute, as MLflow's server does."""
    if not _SCHEME.match(location):
        return location if location.startswith("/") else (Path.cwd() / location).as_posix()
    relative = _RELATIVE_FILE.fullmatch(location)
    return f"file://{(Path.cwd() / relative[1]).as_posix()}" if relative else location


def proxy_of(address: str) -> str | None:
    """The proxy on the way to a http(s) address, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""
    from urllib.request import getproxies, proxy_bypass  # with it comes all that a HTTP client needs

    parts = urlsplit(address)
    return None if proxy_bypass(parts.netloc.rpartition("@")[2]) else getproxies().get(parts.scheme)
