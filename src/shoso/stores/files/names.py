"""The names that a store of files keeps for itself, and those that are nobody's to see."""

from __future__ import annotations

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import StoreError

OWN = ".shoso"
"""The folder at the root for what is under way; no key reaches it, no listing shows it."""

DRAFTS = f"{OWN}/drafts"

UPLOADS = f"{OWN}/uploads"

MLFLOW_TEMPORARY = ".artifact.uploading."
"""How MLflow names its temporary files; it leaves them behind when it's killed. Never shown."""


def reserved(key: Key) -> bool:
    """Whether no object may have that name."""
    if key.split("/", 1)[0] == OWN:
        return True
    return MLFLOW_TEMPORARY in key and any(part.startswith(MLFLOW_TEMPORARY) for part in key.split("/"))


def visible(folder: str, name: str) -> bool:
    """Whether a client could ask for it; somebody else may have put any bytes there, and at any depth."""
    try:
        key = keys.parse(f"{folder}/{name}" if folder else name)
    except StoreError:
        return False
    return not reserved(key) or folder.split("/", 1)[0] == OWN
