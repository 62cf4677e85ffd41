"""Folders and small files of a store that somebody else wrote."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MIB = 1024 * 1024

VALUE_MAX = 16 * MIB
"""Bytes of a param or a tag; MLflow takes 8,000 characters."""

DEPTH_MAX = 100
"""Folders in a key: `a/b/c` has two."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LITTER = {".DS_Store", ".gitignore", ".gitkeep", "Thumbs.db"}


class Unreadable(Exception):
    """A file that can't be taken as what it should be; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that wasn't brought in: its path as seen from the store, or what it is, and why."""

    path: str
    message: str


class Problems:
    """All problems are counted; the first are kept. `root` is the store's folder."""

    KEPT = 1000

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0
        self.kept: list[Problem] = []

    def note(self, path: Path | str, why: object) -> None:
        """Keep a problem with a file or folder of the store, or with whatever the text names."""
        self.count += 1
        if len(self.kept) < self.KEPT:
            name = os.path.relpath(path, self.root) if isinstance(path, Path) else path
            self.kept.append(Problem(name.encode(errors="backslashreplace").decode(), str(why)))


def subfolders(folder: Path, problems: Problems) -> list[Path]:
    """The folders in a folder, by name; one that isn't there has none. A link is a problem, not a folder."""
    found = []
    for entry in _entries(folder, problems):
        if entry.is_symlink():
            problems.note(Path(entry.path), "It is a link, which isn't followed.")
        elif entry.is_dir(follow_symlinks=False):
            found.append(Path(entry.path))
    return found


def leaves(folder: Path, problems: Problems) -> Iterator[tuple[str, str]]:
    """The files in a folder at any depth: their paths from there, and to open; links are problems.

    Paths are texts: of a run there are hundreds, and a Path costs as much as the file.
    """
    waiting = [(str(folder), "", 0)]
    while waiting:
        at, prefix, depth = waiting.pop()
        for entry in _entries(at, problems):
            path, key = entry.path, prefix + entry.name
            if entry.is_file(follow_symlinks=False):
                if entry.name not in _LITTER:
                    yield key, path
            elif entry.is_symlink() or not entry.is_dir(follow_symlinks=False):
                problems.note(Path(path), "It is a link or no file, and isn't read.")
            elif depth == DEPTH_MAX:
                problems.note(Path(path), f"It lies more than {DEPTH_MAX} folders deep.")
            else:
                waiting.append((path, f"{key}/", depth + 1))


def opened(path: Path | str) -> IO[bytes]:
    """The file, open for reading. Raises Unreadable for a link, a device and what isn't there."""
    return os.fdopen(_descriptor(path)[0], "rb")


def text(path: Path | str, most: int = VALUE_MAX) -> str:
    """What a file says. Raises Unreadable for one that is too large, or isn't UTF-8."""
    file, size = _descriptor(path)
    try:
        if size > most:
            raise Unreadable(f"It has more than {most:,} bytes.")
        return decoded(os.read(file, size))
    except OSError as error:
        raise Unreadable(f"It can't be read: {error.strerror}.") from None
    finally:
        os.close(file)


def decoded(said: bytes) -> str:
    """Bytes as text that every database can keep. Raises Unreadable."""
    try:
        found = said.decode()
    except UnicodeDecodeError:
        raise Unreadable("It is not UTF-8.") from None
    if "\0" in found:
        raise Unreadable("It has a NUL character, which no database keeps.")
    return found


def _descriptor(path: Path | str) -> tuple[int, int]:
    """A descriptor of a file, and its size. Raises Unreadable."""
    try:
        file = os.open(path, _FLAGS)
    except OSError as error:
        raise Unreadable(f"It can't be opened: {error.strerror}.") from None
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise Unreadable("It is no file.")
    return file, status.st_size


def _named(entry: os.DirEntry[str], problems: Problems) -> bool:
    """Whether it has a name that a database, or JSON, can keep; where not, that is a problem."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        problems.note(Path(entry.path), "Its name is not UTF-8.")
        return False
    return True


def _entries(folder: Path | str, problems: Problems) -> list[os.DirEntry[str]]:
    try:
        if Path(folder).is_symlink():
            problems.note(Path(folder), "It is a link, which isn't followed.")
            return []
        with os.scandir(folder) as found:
            return [entry for entry in sorted(found, key=lambda entry: entry.name) if _named(entry, problems)]
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.note(Path(folder), f"The folder can't be read: {error.strerror}.")
        return []
