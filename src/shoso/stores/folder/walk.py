"""What lies in a folder, in the order of keys, one folder in memory at a time.

As `os.walk` sees it, which `mlflow.log_artifacts` uses: links to files are listed as what they lead to, links
to folders are passed over. What can't be read (a link that leads nowhere, a pipe, a name that is no key) is
listed all the same: whoever reads it is told why.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from shoso.core.keys import Key
from shoso.core.store import order
from shoso.core.types import Entry, ObjectMeta, Prefix
from shoso.stores.disk.reading import etag_of
from shoso.stores.folder.names import RECORD, own

_Found = tuple[str, os.DirEntry[str]]


BATCH = 1000


def batches(path: str, prefix: Key, after: str | None) -> Iterator[list[Entry]]:
    """All objects below `prefix`, which is the folder `path`, in lists of a thousand or more."""
    held: list[Entry] = []
    for found in walk(path, prefix, after):
        held += found
        if len(held) >= BATCH:
            yield held
            held = []
    if held:
        yield held


def walk(path: str, prefix: Key, after: str | None) -> Iterator[list[Entry]]:
    """All objects below `prefix`, which is the folder `path`; a list for the files between two folders."""
    batch: list[Entry] = []
    for name, entry in _sorted(path):
        key = Key(f"{prefix}/{entry.name}" if prefix else entry.name)
        if not name.endswith("/"):
            if (after is None or key > after) and (meta := _meta(key, entry)):
                batch.append(meta)
        elif after is None or after < key + "/" or after.startswith(key + "/"):
            yield batch
            batch = []
            yield from walk(entry.path, key, after)
    yield batch


def level(path: str, prefix: Key, after: str | None) -> list[Entry]:
    """One level: objects, and the folders with objects in them."""
    shown: list[Entry] = []
    for name, entry in _sorted(path):
        key = Key(f"{prefix}/{entry.name}" if prefix else entry.name)
        folder = name.endswith("/")
        found = (_holds(entry.path) and Prefix(key)) if folder else _meta(key, entry)
        if found and (after is None or order(found) > after):
            shown.append(found)
    return shown


def records(path: str, prefix: Key, deep: bool = True) -> Iterator[tuple[Key, str]]:
    """The records of uploads in the folder `path`, which is `prefix`, and below it: folder and name."""
    for entry in _entries(path):
        if entry.name.endswith(RECORD):
            yield prefix, entry.name
        elif deep and entry.is_dir(follow_symlinks=False):
            yield from records(entry.path, Key(f"{prefix}/{entry.name}" if prefix else entry.name))


def meta_of(key: Key, status: os.stat_result, digest: str | None = None) -> ObjectMeta:
    """What a file tells of itself."""
    return ObjectMeta(key, status.st_size, status.st_mtime, etag_of(status), digest)


def _sorted(path: str) -> list[_Found]:
    """The entries by name, folders with a slash: so a deep listing is sorted. No links to folders."""
    found: list[_Found] = []
    for entry in _entries(path):
        name = entry.name
        if own(name):
            continue
        if entry.is_dir(follow_symlinks=False):
            found.append((name + "/", entry))
        elif not (entry.is_symlink() and _leads_to_folder(entry)):
            found.append((name, entry))
    found.sort(key=_name)
    return found


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _name(found: _Found) -> str:
    return found[0]


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as scan:
            return list(scan)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _holds(path: str) -> bool:
    """Whether there is an object below, so that the folder is one."""
    return any(not name.endswith("/") or _holds(entry.path) for name, entry in _sorted(path))


def _meta(key: Key, entry: os.DirEntry[str]) -> ObjectMeta | None:
    """The file; None where it went away meanwhile."""
    try:
        status = entry.stat()
        if stat.S_ISREG(status.st_mode):
            return meta_of(key, status)
    except OSError:  # a link that leads nowhere
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
    return ObjectMeta(key, 0, status.st_mtime)
