"""The names that a store of files keeps for itself, and those that are nobody's to see."""

from __future__ import annotations

import re

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import StoreError

OWN = ".shoso"
"""The folder at the root for what is under way; no key reaches it, no listing shows it.

So is a folder of that name at any depth: the root of another store, which a client opened there.
"""

DRAFTS = f"{OWN}/drafts"

UPLOADS = f"{OWN}/uploads"

MLFLOW_TEMPORARY = ".artifact.uploading."
"""How MLflow names its temporary files; it leaves them behind when it's killed. Never shown."""


_NFS_DELETED = re.compile(r"(?:.*/)?\.nfs[0-9a-f]{24}(?:/.*)?", re.DOTALL)
"""What an NFS client calls a file that was deleted while somebody has it open, until they close it."""


def reserved(key: Key) -> bool:
    """Whether no object may have that name."""
    if OWN in key:
        first, *rest = key.split("/")
        if first == OWN or OWN in rest[:-1]:
            return True
    if ".nfs" in key and _NFS_DELETED.fullmatch(key):
        return True
    return MLFLOW_TEMPORARY in key and any(part.startswith(MLFLOW_TEMPORARY) for part in key.split("/"))


_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.=-]*")
"""What nearly every name is, and none of ours."""


def visible(folder: str, name: str, is_folder: bool) -> bool:
    """Whether a client could ask for it; somebody else may have put any bytes there, and at any depth."""
    if _PLAIN.fullmatch(name) and "/." not in f"/{folder}" and 4 * len(folder) + len(name) < keys.MAX_BYTES:
        return True
    if is_folder and f"/{name}".endswith(f"/{OWN}"):
        return False
    try:
        key = keys.parse(f"{folder}/{name}" if folder else name)
    except StoreError:
        return False
    return not reserved(key) or folder.split("/", 1)[0] == OWN
