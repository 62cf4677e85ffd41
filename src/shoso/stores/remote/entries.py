"""Objects and folders as they travel ↔ as the stores know them."""

from __future__ import annotations

from shoso.core.keys import Key
from shoso.core.types import Entry, ObjectMeta, Prefix
from shoso.wire import objects


def seen(entry: objects.ObjectEntry) -> Entry:
    """An object, or a folder."""
    return Prefix(Key(entry.key)) if entry.size is None else known(entry, entry.size)


def known(entry: objects.ObjectEntry, size: int) -> ObjectMeta:
    """An object."""
    return ObjectMeta(Key(entry.key), size, entry.modified, entry.etag, entry.digest, entry.content_type)
