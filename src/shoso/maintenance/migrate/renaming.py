"""Renaming: a location below one place becomes the same path below another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.core.locations import Location
from shoso.errors import ConfigError, ShosoError
from shoso.server.locations import PROXIED, proxied

_SPECIAL = re.compile(r"[%?#]")
"""What means something else in a proxied location, which is decoded once."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """From `source` to `target`, both URIs or paths, as they are written into rows."""

    source: str
    target: str

    @property
    def reverse(self) -> Renaming:
        """The way back."""
        return Renaming(self.target, self.source)

    def inside(self, location: str) -> Key | None:
        """The path of a location below the source; None for one that isn't there."""
        return _below(location, self.source)

    def below_target(self, location: str) -> Key | None:
        """The same for the target."""
        return _below(location, self.target)

    def new(self, location: str) -> str | None:
        """What a location below the source becomes; one that isn't there, None."""
        path = self.inside(location)
        return None if path is None else at(self.target, path)


def end(option: str, uri: str) -> str:
    """A place as it is written into rows: absolute, and without a slash at its end. Raises ConfigError."""
    if locations.has_password(uri):
        raise ConfigError(option, f"holds a password, which would be recorded; leave it out: {_login(uri)}.")
    try:
        whole = locations.absolute(uri)
        if _location(whole) is None:
            locations.parse(whole)
    except (ShosoError, ValueError) as error:
        raise ConfigError(option, f"{error}.".replace("..", ".")) from None
    bare = whole.rstrip("/")
    if bare.endswith(":") and bare[:-1] in PROXIED:
        return f"{bare}/"
    return whole if bare.endswith(":") or not bare else bare


def _login(uri: str) -> str:
    """Where a password belongs that isn't in the URI, and what names another place for it."""
    scheme = uri.partition(":")[0].lower()
    if scheme in {"ftp", "ftps"}:
        return "it belongs into ~/.netrc, or the file that NETRC names"
    if scheme == "sftp":
        return "log in by a key, with IdentityFile in ~/.ssh/config or the file that SHOSO_SFTP_CONFIG names"
    if scheme in PROXIED:
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return "that storage takes its credentials from the environment (see its guide)"


def at(place: str, path: Key) -> str:
    """The location of that path below a place."""
    if not path:
        return place
    scheme = place.partition(":")[0]
    if locations.is_local(place):
        return locations.below(place, quote(path) if ":" in place and scheme == "file" else path)
    return locations.below(
        place, _SPECIAL.sub(lambda one: quote(one[0]), path) if scheme in PROXIED else path
    )


def _below(location: str, place: str) -> Key | None:
    found, root = _location(location), _location(place)
    return found.below(root) if found is not None and root is not None and found in root else None


def _location(uri: str) -> Location | None:
    """The location that a row names, whichever server a proxied one is behind; None for what names none."""
    try:
        if uri.partition(":")[0] in PROXIED:
            return Location("mlflow-artifacts", "", proxied(uri))
        return locations.parse(uri)
    except (ShosoError, ValueError):
        return None


def refuse_overlap(first: str, second: str) -> ConfigError:
    """The error of two places of which one lies in the other."""
    message = (
        f"'{locations.shown(second)}' and --from '{locations.shown(first)}' are one place, or one lies in"
        " the other: artifacts would be copied into themselves. Name two that are apart."
    )
    return ConfigError("--to", message)


def overlap(first: Key, second: Key) -> bool:
    """Whether one lies in the other, or both are one."""
    return keys.contains(first, second) or keys.contains(second, first)
