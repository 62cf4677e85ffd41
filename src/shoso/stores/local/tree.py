"""A folder entered through descriptors: no path is ever resolved by name, no symlink ever followed.

Every step opens one segment relative to the folder before it (openat with O_NOFOLLOW), so that a symlink
planted below the root, even in the middle of a call, leads nowhere. The root itself may be one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import Kind, StoreError, store_error

OWN = ".shoso"
"""The folder at the root for what is under way; no key reaches it, no listing shows it."""

MLFLOW_TEMPORARY = ".artifact.uploading."
"""How MLflow names its temporary files; it leaves them behind when it's killed. Never shown."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RACES = 10


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of a folder: its name, whether it is a folder, size in bytes, the rest of its etag."""

    name: str
    folder: bool
    status: os.stat_result


class Tree:
    """The folder at `path`, made where missing."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._own = _enter(self._root, OWN, create=True)
        self._drafts = _enter(self._own, "drafts", create=True)

    def close(self) -> None:
        """Let go of the root; may be called again."""
        for folder in {self._root, self._own, self._drafts} - {-1}:
            os.close(folder)
        self._root = self._own = self._drafts = -1

    @contextmanager
    def folder(self, key: Key | str, create: bool = False) -> Iterator[int]:
        """A descriptor of the folder `key`. Raises FileNotFoundError, NotADirectoryError, store errors."""
        current = os.dup(self._root)
        try:
            for segment in key.split("/") if key else ():
                inner = _enter(current, segment, create)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    @contextmanager
    def parent(self, key: Key | str, create: bool = False) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that holds `key`, and the name in it."""
        above, _, name = key.rpartition("/")
        with self.folder(above, create) as folder:
            yield folder, name

    def open_file(self, key: Key | str) -> int:
        """A descriptor of the regular file `key`. Raises FileNotFoundError also for a folder."""
        with self.parent(key) as (folder, name):
            try:
                found = os.open(name, _FILE, dir_fd=folder)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise _symlink(str(key)) from None
                raise
        if stat.S_ISREG(os.fstat(found).st_mode):
            return found
        os.close(found)
        raise FileNotFoundError(errno.ENOENT, "not a file", key)

    def entries(self, key: Key | str) -> list[Found]:
        """The folder's files and folders, in the order of a deep listing; nothing for a missing folder."""
        try:
            with self.folder(key) as folder, os.scandir(folder) as scan:
                found = [_found(entry) for entry in scan if _shown(entry.name, at_root=not key)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted((entry for entry in found if entry), key=lambda e: e.name + "/" * e.folder)

    def remove(self, key: Key) -> None:
        """Remove the file `key` and the folders that this leaves empty; also a folder that holds no file."""
        try:
            with self.parent(key) as (folder, name):
                _unlink(folder, name)
        except (FileNotFoundError, NotADirectoryError):
            return
        above = key.rpartition("/")[0]
        while above and self._remove_empty(above):
            above = above.rpartition("/")[0]

    def _remove_empty(self, key: str) -> bool:
        try:
            with self.parent(key) as (folder, name):
                os.rmdir(name, dir_fd=folder)
        except OSError:
            return False
        return True

    @contextmanager
    def commit_lock(self, exclusive: bool) -> Iterator[None]:
        """Held by every commit, alone by one that depends on what is there; between processes too."""
        lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=self._own)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(lock)

    def draft(self) -> tuple[str, int]:
        """The name and a descriptor of a new file set aside, locked so that no sweep takes it."""
        name = secrets.token_hex(16)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        created = os.open(name, flags, 0o666, dir_fd=self._drafts)
        fcntl.flock(created, fcntl.LOCK_EX)
        return name, created

    def move(self, draft: str, key: Key, replace: bool) -> None:
        """Give the draft the name `key`, at once and durably.

        Raises FileExistsError where something is there and `replace` is off, or a folder is in the way.
        """
        for attempt in range(_RACES):
            try:
                with self.parent(key, create=True) as (folder, name):
                    self._name(draft, folder, name, replace)
                    os.fsync(folder)
            except FileNotFoundError:
                # The folder was emptied and removed between opening it and the rename: make it again.
                if attempt == _RACES - 1:
                    raise
            else:
                return

    def _name(self, draft: str, folder: int, name: str, replace: bool) -> None:
        if replace:
            os.replace(draft, name, src_dir_fd=self._drafts, dst_dir_fd=folder)
        else:
            os.link(draft, name, src_dir_fd=self._drafts, dst_dir_fd=folder, follow_symlinks=False)
            os.unlink(draft, dir_fd=self._drafts)

    def discard(self, draft: str) -> None:
        """Remove a draft that may be gone."""
        try:
            os.unlink(draft, dir_fd=self._drafts)
        except FileNotFoundError:
            return

    def sweep(self, older_than: float) -> int:
        """Remove the drafts that no living process holds, last touched before `older_than`; their number."""
        return sum(_sweep(self._drafts, name, older_than) for name in os.listdir(self._drafts))


def reserved(key: Key) -> bool:
    """Whether no object may have that name."""
    return key.split("/", 1)[0] == OWN or MLFLOW_TEMPORARY in key


def _shown(name: str, at_root: bool) -> bool:
    if (at_root and name == OWN) or name.startswith(MLFLOW_TEMPORARY):
        return False
    return _addressable(name)


def _addressable(name: str) -> bool:
    """Whether a client could ask for it; somebody else may have put any bytes there."""
    try:
        keys.parse(name)
    except StoreError:
        return False
    return True


def _found(entry: os.DirEntry[str]) -> Found | None:
    """The entry; nothing for a symlink, a device, or what went away meanwhile."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    folder = stat.S_ISDIR(status.st_mode)
    return Found(entry.name, folder, status) if folder or stat.S_ISREG(status.st_mode) else None


def _enter(folder: int, segment: str, create: bool) -> int:
    for _ in range(_RACES):
        try:
            return os.open(segment, _FOLDER, dir_fd=folder)
        except FileNotFoundError:
            if not create:
                raise
            _make_folder(folder, segment)
        except NotADirectoryError:
            if stat.S_ISLNK(os.stat(segment, dir_fd=folder, follow_symlinks=False).st_mode):
                raise _symlink(segment) from None
            raise
    raise FileNotFoundError(errno.ENOENT, "the folder is removed as fast as it is made", segment)


def _make_folder(folder: int, name: str) -> None:
    """Make a folder durably; one that is there is fine."""
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return
    os.fsync(folder)


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        _remove_hollow(folder, name)


def _remove_hollow(folder: int, name: str) -> None:
    """Remove a folder that holds nothing but empty folders; leave any other as it is."""
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for child in os.listdir(inner):
            if stat.S_ISDIR(os.stat(child, dir_fd=inner, follow_symlinks=False).st_mode):
                _remove_hollow(inner, child)
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST}:
            raise
    finally:
        os.close(inner)


def _sweep(folder: int, name: str, older_than: float) -> bool:
    try:
        found = os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        return False
    try:
        if os.fstat(found).st_mtime >= older_than:
            return False
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    finally:
        os.close(found)
    return True


def _symlink(name: str) -> StoreError:
    return store_error(
        Kind.INVALID_KEY,
        f"Invalid path: '{name}' is a symbolic link; Shoso follows none below an artifact root. Move the"
        " files there, or mount the folder.",
        key=name,
    )
