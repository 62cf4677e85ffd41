"""What lies in a folder, in the order of keys; of one folder at a time the names are in memory.

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

BATCH = 1000
"""Objects that are shown at once."""


def batches(path: str, prefix: Key, after: str | None) -> Iterator[list[Entry]]:
    """All objects below `prefix`, which is the folder `path`, in lists of a thousand up to two."""
    held: list[Entry] = []
    for found in walk(path, prefix, after):
        held += found
        if len(held) >= BATCH:
            yield held
            held = []
    if held:
        yield held


def walk(path: str, prefix: Key, after: str | None) -> Iterator[list[Entry]]:
    """All objects below `prefix`, which is the folder `path`; in lists of a thousand at most."""
    batch: list[Entry] = []
    for name in _sorted(path):
        key, folder = _key(prefix, name)
        if not folder and (after is None or key > after) and (meta := _meta(key, f"{path}/{name}")):
            batch.append(meta)
        if folder or len(batch) == BATCH:
            yield batch
            batch = []
        if folder and (after is None or after < key + "/" or after.startswith(key + "/")):
            yield from walk(f"{path}/{name[:-1]}", key, after)
    yield batch


def level(path: str, prefix: Key, after: str | None) -> list[Entry]:
    """One level: objects, and the folders with objects in them."""
    shown: list[Entry] = []
    for name in _sorted(path):
        key, folder = _key(prefix, name)
        found = (_holds(f"{path}/{name}") and Prefix(key)) if folder else _meta(key, f"{path}/{name}")
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
    return ObjectMeta(key, status.st_size, status.st_mtime, version_of(status), digest)


def version_of(status: os.stat_result) -> str:
    """Changes with every write to the file, also where its time was set back behind one."""
    return f"{etag_of(status)}-{status.st_ctime_ns:x}"


def _key(prefix: Key, name: str) -> tuple[Key, bool]:
    """The key of what has that name, and whether it is a folder."""
    return Key(f"{prefix}/{name}".strip("/")), name.endswith("/")


def _sorted(path: str) -> list[str]:
    """The names, those of folders with a slash: so a deep listing is sorted. No links to folders."""
    found: list[str] = []
    for entry in _entries(path):
        name = entry.name
        if own(name):
            continue
        if entry.is_dir(follow_symlinks=False):
            found.append(name + "/")
        elif not (entry.is_symlink() and _leads_to_folder(entry)):
            found.append(name)
    found.sort()
    return found


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as scan:
            yield from scan
    except (FileNotFoundError, NotADirectoryError):
        return


def _holds(path: str) -> bool:
    """Whether there is an object below, so that the folder is one."""
    return any(not name.endswith("/") or _holds(f"{path}/{name}") for name in _sorted(path))


def _meta(key: Key, path: str) -> ObjectMeta | None:
    """The file; None where it went away meanwhile."""
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            return meta_of(key, status)
    except OSError:  # a link that leads nowhere
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
    return ObjectMeta(key, 0, status.st_mtime)
