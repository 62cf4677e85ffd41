"""Whether a folder of this machine is the one that was written to: where nothing is mounted, it is empty.

Or it isn't there. Whoever took that for what is stored would let rows go whose artifacts lie on, say that all
is lost, and bring copies back to the wrong disk.
"""

from __future__ import annotations

import os

from shoso.core.locations import is_local, local_path
from shoso.errors import ConfigError

_GIVEN_UP = "If what was there is given up, make a folder .shoso in it"


def is_there(uri: str) -> bool:
    """Whether it is a folder that is there, or none of this machine's."""
    return not is_local(uri) or local_path(uri).is_dir()


def is_bare(uri: str) -> bool:
    """Whether it is a folder of this machine with nothing in it, not even what a store keeps for itself.

    One that can't be read isn't: whoever opens it says why.
    """
    if not is_local(uri):
        return False
    try:
        with os.scandir(local_path(uri)) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def require_there(setting: str, uri: str) -> None:
    """Raise ConfigError for a folder that isn't there."""
    if not is_there(uri):
        raise ConfigError(setting, f"'{uri}' isn't there; is it mounted on this machine?")


def empty(setting: str, uri: str) -> ConfigError:
    """The error of a bare folder in which objects are recorded to be."""
    message = (
        f"'{uri}' is empty, and artifacts were stored there; is it mounted on this machine? {_GIVEN_UP}."
    )
    return ConfigError(setting, message)


def require_root(root: str) -> None:
    """Raise ConfigError where the folder isn't there below which artifacts are recorded to be."""
    if not is_there(root):
        message = (
            f"isn't there, and artifacts are recorded below it; is it mounted on this machine? {_GIVEN_UP}."
        )
        raise ConfigError(str(local_path(root)), message)
