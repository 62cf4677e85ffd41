"""The folder on the disk: read as the system reads it, written without ever leaving it.

Files are read as `mlflow.log_artifacts` reads them: a link to a file is that file, a link to a folder is no
folder. What is written goes through no link below the root, opened segment by segment (openat with
O_NOFOLLOW): a link that leads elsewhere is refused, not followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import CHUNK
from shoso.stores.disk.space import reserve
from shoso.stores.folder import names
from shoso.stores.folder.record import Record, decoded

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_RACES = 10


class Tree:
    """The folder at `path`, made with the first write."""

    def __init__(self, path: Path) -> None:
        self.path = str(path.absolute())
        self._swept: set[str] = set()

    def at(self, key: Key) -> str:
        """The path of a key, for reading."""
        return f"{self.path}/{key}" if key else self.path

    def open_file(self, key: Key) -> int:
        """A regular file, open for reading. Raises OSError, ENXIO for what is no file and no folder."""
        file = os.open(self.at(key), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = os.fstat(file).st_mode
        if stat.S_ISREG(mode):
            return file
        os.close(file)
        number = errno.ENOENT if stat.S_ISDIR(mode) else errno.ENXIO
        raise OSError(number, os.strerror(number), key)

    @contextmanager
    def folder(self, key: str, create: bool = False) -> Iterator[int]:
        """A descriptor of the folder `key`, for writing. Raises ELOOP where a link is on the way."""
        if create:
            os.makedirs(self.path, exist_ok=True)
        current = os.open(self.path, _FOLDER)
        try:
            for segment in key.split("/") if key else ():
                inner = _enter(current, segment, create)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    @contextmanager
    def target(self, key: Key) -> Iterator[int]:
        """The folder that `key` is written to, made where missing; swept when it's first seen."""
        above = keys.parent(key)
        with self.folder(above, create=True) as folder:
            if above not in self._swept:
                self._swept.add(above)
                sweep(folder)
            yield folder

    def draft(self, key: Key, name: str, size: int | None) -> tuple[int, int]:
        """A new file of that name in the folder of `key`: descriptors of the folder and of the file."""
        for attempt in range(_RACES):
            try:
                with self.target(key) as folder:
                    file = create(folder, name, size)
                    return os.dup(folder), file
            except FileNotFoundError:  # the folder was emptied and removed after it was opened: make it again
                if attempt == _RACES - 1:
                    raise
        raise AssertionError

    def remove(self, key: Key) -> None:
        """Remove a file, or a folder that is empty, and the folders that this leaves empty."""
        above = keys.parent(key)
        with suppress(FileNotFoundError, NotADirectoryError), self.folder(above) as folder:
            _remove(folder, keys.name(key))
            self.prune(above)

    def prune(self, key: str) -> None:
        """Remove the folder `key` and those above it, up to the first that holds something; not the root."""
        while key:
            above = keys.parent(Key(key))
            try:
                with self.folder(above) as folder:
                    os.rmdir(keys.name(Key(key)), dir_fd=folder)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                    return
            key = above


def create(folder: int, name: str, size: int | None = None) -> int:
    """A new file with room for `size` bytes, locked so that no sweep takes it."""
    for _ in range(_RACES):
        file = os.open(name, _NEW, 0o666, dir_fd=folder)
        try:
            lock(file)
            if os.fstat(file).st_nlink:
                reserve(file, size or 0)
                return file
        except BaseException:
            os.close(file)
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
        os.close(file)  # swept between its making and its locking
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def lock(file: int) -> None:
    """Say that a process is at this file, where the file system has locks.

    Only a sweep can have the lock, for a moment and to remove the file: it is waited for, and the file is
    gone then.
    """
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)


def name_draft(folder: int, draft: str, name: str, replace: bool) -> None:
    """Give a draft its name. Raises FileExistsError where something is there and `replace` is off."""
    if replace:
        os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        os.unlink(draft, dir_fd=folder)


def read(folder: int, name: str) -> Record:
    """What is in a record. Raises ValueError for one that is none of ours.

    Raises FileNotFoundError also where the draft is gone: it has become the file, or will never be one.
    """
    os.stat(name.removesuffix("s"), dir_fd=folder, follow_symlinks=False)
    text = b""
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    try:
        while data := os.pread(file, CHUNK, len(text)):
            text += data
    finally:
        os.close(file)
    return decoded(text)


def sweep(folder: int) -> None:
    """Remove the drafts that no process holds and no record tells of, and the records of nothing."""
    there = {name for name in os.listdir(folder) if names.own(name)}
    records = {name for name in there if name.endswith(names.RECORD)}
    kept = {name for name in records if _tells(folder, name)}
    for name in records - kept:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
    for name in there - records:
        if names.record_of(name) not in kept:
            _sweep(folder, name)


def _tells(folder: int, record: str) -> bool:
    try:
        read(folder, record)
    except (FileNotFoundError, ValueError):
        return False
    return True


def _sweep(folder: int, name: str) -> None:
    with suppress(OSError):
        file = os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=folder)
        finally:
            os.close(file)


def _enter(folder: int, segment: str, create: bool) -> int:
    for _ in range(_RACES):
        try:
            return os.open(segment, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        except FileNotFoundError:
            if not create:
                raise
            with suppress(FileExistsError):
                os.mkdir(segment, dir_fd=folder)
        except NotADirectoryError:
            if stat.S_ISLNK(os.stat(segment, dir_fd=folder, follow_symlinks=False).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), segment) from None
            raise
    raise FileNotFoundError(errno.ENOENT, "the folder is removed as fast as it is made", segment)


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        with suppress(OSError):  # it holds something
            os.rmdir(name, dir_fd=folder)
