"""The names that the folder keeps for what is under way, beside the file that it's going to be.

.<name>.<id>.shoso-part           a download, or the parts of one, each at its place
.<name>.<id>.shoso-parts          which parts there are
.<name>.<id>.<other>.shoso-part   a part that couldn't go to its place, e.g. one put again
"""

from __future__ import annotations

import re
import secrets

from shoso.core import digest, keys
from shoso.core.keys import Key

DRAFT = ".shoso-part"
RECORD = ".shoso-parts"

_STEM = 64
"""Bytes of the target's name that are repeated, to be recognised; some disks take names of 143 only."""

_ID = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")
_RECORD = re.compile(rf"\..*\.({_ID.pattern}){RECORD}", re.DOTALL)
_DRAFT = re.compile(rf"(\..*\.{_ID.pattern})(?:\.[0-9a-f]{{8}})?{DRAFT}", re.DOTALL)


def own(name: str) -> bool:
    """Whether that is a file of ours: under way, nobody's to see."""
    return name.endswith((DRAFT, RECORD)) and name.startswith(".")


def reserved(key: Key) -> bool:
    """Whether no object may have that name."""
    return ".shoso-part" in key and any(own(segment) for segment in key.split("/"))


def temporary(name: str) -> str:
    """A new name for the draft of the file `name`."""
    return f".{_stem(name)}.{secrets.token_hex(8)}{DRAFT}"


def new_id(key: Key) -> str:
    """A new upload's id, which is good for that key only."""
    return f"{secrets.token_hex(8)}-{_bound(key)}"


def known(upload_id: str, key: Key) -> bool:
    """Whether that may be the id of an upload of ours, of that key."""
    return _ID.fullmatch(upload_id) is not None and upload_id.endswith(_bound(key))


def stem(key: Key, upload_id: str) -> str:
    """What the names of an upload's files begin with."""
    return f".{_stem(keys.name(key))}.{upload_id}"


def id_of(record: str) -> str:
    """The upload that a record is of; "" for what is none of ours."""
    found = _RECORD.fullmatch(record)
    return found[1] if found else ""


def record_of(draft: str) -> str | None:
    """The name of the record that a draft may belong to."""
    found = _DRAFT.fullmatch(draft)
    return found and found[1] + RECORD


def _stem(name: str) -> str:
    return name.encode()[:_STEM].decode(errors="ignore")


def _bound(key: Key) -> str:
    return digest.digest(key.encode())[:16]
