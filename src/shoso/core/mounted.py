"""Whether a folder of this machine is the one that was written to: where nothing is mounted, it is empty.

Or it isn't there. Whoever took that for what is stored would let rows go whose artifacts lie on, say that all
is lost, and write what comes next to the wrong disk.
"""

from __future__ import annotations

import os

from shoso.core.locations import is_local, local_path
from shoso.errors import ConfigError

_ASK = "is it mounted on this machine? If what was there is given up, make a folder .shoso in it."


def is_there(uri: str) -> bool:
    """Whether it is a folder that is there, or none of this machine's.

    One that may not be looked at is taken to be there: whoever opens it says why.
    """
    try:
        return not is_local(uri) or local_path(uri).is_dir()
    except PermissionError:
        return True
    except OSError:  # say of a mount whose server is gone
        return False


def is_bare(uri: str) -> bool:
    """Whether a folder of this machine isn't there, or has nothing in it, not even what a store keeps there.

    One that can't be read isn't bare: whoever opens it says why.
    """
    if not is_local(uri):
        return False
    try:
        with os.scandir(local_path(uri)) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
    except OSError:
        return False


def require_there(setting: str, uri: str) -> None:
    """Raise ConfigError for a folder that isn't there."""
    if not is_there(uri):
        raise ConfigError(setting, f"'{uri}' isn't there; is it mounted on this machine?")


def bare(setting: str, uri: str) -> ConfigError:
    """The error of a bare folder in which objects are recorded to be."""
    return ConfigError(setting, f"'{uri}' {_state(uri)}, and artifacts were stored there; {_ASK}")


def require_root(root: str) -> None:
    """Raise ConfigError for a bare folder below which artifacts are recorded to be."""
    if is_bare(root):
        message = f"{_state(root)}, and artifacts are recorded below it; {_ASK}"
        raise ConfigError(str(local_path(root)), message)


def _state(uri: str) -> str:
    return "is empty" if is_there(uri) else "isn't there"
