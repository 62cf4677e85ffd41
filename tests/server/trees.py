"""A folder as it is: every entry with its kind, content and time of change, to compare before and after."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from shoso.core.digest import digest

Snapshot = dict[str, tuple[object, ...]]

OWN = ".shoso"
"""The store's own folder: drafts come and go in it, so that only its files are looked at."""


def snapshot(*folders: Path) -> Snapshot:
    """What lies in these folders."""
    return {str(path): _seen(path) for folder in folders for path in _below(folder) if _counts(path)}


def changes(before: Snapshot, after: Snapshot) -> set[str]:
    """The paths that came, went or changed."""
    return {path for path in before | after if before.get(path) != after.get(path)}


def drafts(root: Path) -> list[str]:
    """What the store at `root` has set aside."""
    folder = root / OWN / "drafts"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _below(folder: Path) -> list[Path]:
    return [Path(at, name) for at, folders, files in os.walk(folder) for name in (*folders, *files)]


def _counts(path: Path) -> bool:
    return OWN not in path.parts or (path.is_file() and path.name != "lock")


def _seen(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "link", str(path.readlink())
    if stat.S_ISDIR(status.st_mode):
        return ("folder",)
    return "file", status.st_ino, status.st_mtime_ns, digest(path.read_bytes())
