"""Which keys MLflow's server takes as they are, and how they are written in its URLs."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlparse, urlunparse

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import StoreError

ROOT = "/api/2.0/mlflow-artifacts/artifacts"


def is_taken(key: Key) -> bool:
    """Whether the server keeps the name as it is: it refuses '#', and parses all else as a URL once more.

    MLflow 3.17, utils/uri.py: validate_path_is_safe, _decode.
    """
    try:
        return "#" not in key and not key.startswith("file:") and urlunparse(urlparse(unquote(key))) == key
    except ValueError:
        return False


def path(key: Key) -> str:
    """The path of an object's URL."""
    return f"{ROOT}/{quote(key)}"


def joined(folder: Key, name: str) -> Key | None:
    """The key of a listed name; None for one that no key may have, and nobody could ask for."""
    try:
        return keys.join(folder, name) if name and "/" not in name else None
    except StoreError:
        return None
