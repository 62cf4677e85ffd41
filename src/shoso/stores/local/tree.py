"""A folder entered through descriptors: no path is ever resolved by name, no symlink ever followed.

Every step opens one segment relative to the folder before it (openat with O_NOFOLLOW), so that a symlink
planted below the root, even in the middle of a call, leads nowhere. The root itself may be one. What the
store keeps for itself is made with the first write: a folder that is only read stays as it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from shoso.core.keys import Key
from shoso.stores.files.names import DRAFTS, OWN, visible
from shoso.stores.local.mounts import mount_of, refresh

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RACES = 10

_LOOKS = (0.0, 0.005, 0.02, 0.1, 0.4)
"""Seconds before each further look for a file that seems to be missing on a file server."""

_LONGEST_PAUSE = 0.05
"""Seconds between two requests for a lock on a file server."""

P = ParamSpec("P")
T = TypeVar("T")


def again(work: Callable[P, T]) -> Callable[P, T]:
    """Look once more where a file server says that what was just found is gone (ESTALE).

    Another machine removed or replaced it between two steps; the second look finds what is there now.
    """

    @wraps(work)
    def looked(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_RACES):
            try:
                return work(*args, **kwargs)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
        return work(*args, **kwargs)

    return looked


class Found(NamedTuple):
    """An entry of a folder: its name, whether it is a folder, its status."""

    name: str
    folder: bool
    status: os.stat_result


class Tree:
    """The folder at `path`, made where missing."""

    def __init__(self, path: Path) -> None:
        _make_root(path)
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.mount = mount_of(self._root)

    def close(self) -> None:
        """Let go of the root; may be called again."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    @contextmanager
    def folder(self, key: Key | str, create: bool = False) -> Iterator[int]:
        """A descriptor of the folder `key`. Raises FileNotFoundError, NotADirectoryError, store errors."""
        current = os.dup(self._root)
        try:
            for segment in segments(key):
                inner = self._enter(current, segment, create)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    @contextmanager
    def parent(self, key: Key | str, create: bool = False) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that holds `key`, and the name in it."""
        [*_, name] = segments(key) or [""]
        with self.folder(key.rpartition("/")[0], create) as folder:
            yield folder, name

    @again
    def open_file(self, key: Key | str) -> int:
        """A descriptor of the regular file `key`. Raises FileNotFoundError also for a folder."""
        with self.parent(key) as (folder, name):
            return self.open_inside(folder, name)

    def open_inside(self, folder: int, name: str) -> int:
        """A descriptor of a regular file in an open folder. Raises FileNotFoundError also for a folder."""
        found = self._found_file(folder, name)
        if stat.S_ISREG(os.fstat(found).st_mode):
            return found
        os.close(found)
        raise FileNotFoundError(errno.ENOENT, "not a file", name)

    def _found_file(self, folder: int, name: str) -> int:
        """Open a file of the folder; on a file server, what seems to be missing is looked for again.

        What the kernel remembers may be old. And an NFS client replaces a file that its machine has open in
        two steps: the old one becomes `.nfs…`, and until the new one comes, nothing has the name.
        """
        for pause in _LOOKS if self.mount.remote else ():
            try:
                return os.open(name, _FILE, dir_fd=folder)
            except FileNotFoundError:
                expected = not pause or any(other.startswith(".nfs") for other in os.listdir(folder))
                time.sleep(pause if expected else 0)
                refresh(folder)
                if not expected:
                    break
        return os.open(name, _FILE, dir_fd=folder)

    def _enter(self, folder: int, segment: str, create: bool) -> int:
        try:
            return self._entered(folder, segment, create)
        except FileNotFoundError:
            if not self.mount.remote:
                raise
            refresh(folder)
            return self._entered(folder, segment, create)

    def _entered(self, folder: int, segment: str, create: bool) -> int:
        for _ in range(_RACES):
            try:
                return _open_folder(folder, segment)
            except FileNotFoundError:
                if not create:
                    raise
                self._make(folder, segment)
        raise FileNotFoundError(errno.ENOENT, "the folder is removed as fast as it is made", segment)

    def _make(self, folder: int, name: str) -> None:
        """Make a folder durably; one that is there is fine."""
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
            self.mount.settle(folder)

    def holds(self, key: Key | str) -> bool:
        """Whether there is a regular file of that name."""
        try:
            os.close(self.open_file(key))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    @again
    def entries(self, key: Key | str) -> list[Found]:
        """The folder's files and folders, in the order of a deep listing; nothing for a missing folder.

        Raises PermissionError with the key as its file name.
        """
        try:
            with self.folder(key) as folder:
                found = self._scan(key, folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError as error:
            error.filename = str(key)  # of a listing, nobody else knows how deep it was
            raise
        return sorted((entry for entry in found if entry), key=lambda e: e.name + "/" * e.folder)

    def _scan(self, key: Key | str, folder: int) -> list[Found | None]:
        if self.mount.remote:
            refresh(folder)
        with os.scandir(folder) as scan:
            return [
                _found(entry)
                for entry in scan
                if visible(key, entry.name, entry.is_dir(follow_symlinks=False))
            ]

    @again
    def remove(self, key: Key) -> None:
        """Remove the file `key` and the folders that this leaves empty; also a folder that holds no file."""
        try:
            with self.parent(key) as (folder, name):
                unlink(folder, name)
        except (FileNotFoundError, NotADirectoryError):
            return
        self.prune(key)

    def prune(self, key: str) -> None:
        """Remove the folders on the way to `key` that hold nothing, up to the first that does."""
        while key := key.rpartition("/")[0]:
            try:
                with self.parent(key) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    return

    @contextmanager
    def commit_lock(self, exclusive: bool) -> Iterator[None]:
        """Held by whatever changes objects, alone by what depends on the one there; between processes too."""
        lock = self._open_lock()
        try:
            how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
            if self.mount.remote:
                _lock_remotely(lock, how)
            else:
                fcntl.flock(lock, how)
            yield
        finally:
            os.close(lock)

    @again
    def _open_lock(self) -> int:
        with self.folder(OWN, create=True) as own:
            return os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=own)

    @again
    def draft(self) -> tuple[str, int]:
        """See new_draft."""
        with self.folder(DRAFTS, create=True) as drafts:
            return new_draft(drafts)

    @again
    def move(
        self, draft: str, key: Key | str, replace: bool, among: str = DRAFTS, durable: bool = True
    ) -> None:
        """Give the draft (a file of the folder `among`) the name `key`, at once and durably.

        Raises FileExistsError where something is there and `replace` is off, or a folder is in the way; then
        no folder is left that was made on the way.
        """
        for attempt in range(_RACES):
            try:
                with self.parent(key, create=True) as (folder, name):
                    self._name(among, draft, folder, name, replace)
                    if durable:
                        self.mount.settle(folder)
            except OSError as error:
                # If the folder was emptied and removed between opening it and the rename, make it again. Who
                # cleans up before that removes what others make, and they in turn: none of them gets on.
                if error.errno not in {errno.ENOENT, errno.ESTALE} or attempt == _RACES - 1:
                    self.prune(key)
                    raise
            else:
                return

    def _name(self, among: str, draft: str, folder: int, name: str, replace: bool) -> None:
        with self.folder(among) as drafts:
            if replace:
                os.replace(draft, name, src_dir_fd=drafts, dst_dir_fd=folder)
            else:
                _link(drafts, draft, folder, name)
                os.unlink(draft, dir_fd=drafts)

    def discard(self, draft: str) -> None:
        """Remove a draft; one that can't be removed now is swept later."""
        with suppress(OSError), self.folder(DRAFTS) as drafts:
            os.unlink(draft, dir_fd=drafts)

    def sweep(self, older_than: float) -> None:
        """Remove the drafts that no living process holds, last touched before `older_than`."""
        with suppress(FileNotFoundError), self.folder(DRAFTS) as drafts:
            for name in os.listdir(drafts):
                _sweep(drafts, name, older_than)


def new_draft(drafts: int) -> tuple[str, int]:
    """The name and a descriptor of a new file set aside, locked so that no sweep takes it."""
    name = secrets.token_hex(16)
    created = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=drafts)
    fcntl.flock(created, fcntl.LOCK_EX)
    return name, created


def segments(key: str) -> list[str]:
    """The names on the way; a second bolt behind `keys.parse`: those that climb are refused here too."""
    names = key.split("/") if key else []
    if not {"", ".", ".."}.isdisjoint(names):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), key)
    return names


def _make_root(path: Path) -> None:
    """Make a folder and those above it, durably."""
    if path.is_dir():
        return
    _make_root(path.parent)
    path.mkdir(exist_ok=True)
    above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(above)
    finally:
        os.close(above)


def _found(entry: os.DirEntry[str]) -> Found | None:
    """The entry; nothing for a symlink, a device, or what went away meanwhile."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    folder = stat.S_ISDIR(status.st_mode)
    return Found(entry.name, folder, status) if folder or stat.S_ISREG(status.st_mode) else None


def _open_folder(folder: int, segment: str) -> int:
    try:
        return os.open(segment, _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(segment, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), segment) from None
        raise


def _lock_remotely(lock: int, how: int) -> None:
    """Ask for the lock until it's free: an NFS client that waits by itself asks in steps of whole seconds."""
    pause = 0.001
    while True:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311  (no secret)
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            return


def _link(drafts: int, draft: str, folder: int, name: str) -> None:
    """Name the draft, if nothing has that name yet.

    When the reply to a link that was made is lost, an NFS client asks again and finds its own: see link(2).
    """
    try:
        os.link(draft, name, src_dir_fd=drafts, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not os.path.samestat(there, os.stat(draft, dir_fd=drafts, follow_symlinks=False)):
            raise


def unlink(folder: int, name: str) -> None:
    """Remove a file of an open folder, or a folder in it that holds no file. Raises FileNotFoundError."""
    try:
        os.unlink(name, dir_fd=folder)
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        _remove_hollow(folder, name)


def _remove_hollow(folder: int, name: str, levels: int = 100) -> None:
    """Remove a folder that holds nothing but (so many levels of) empty folders; leave any other as it is."""
    inner = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for child in os.listdir(inner):
            if levels and stat.S_ISDIR(os.stat(child, dir_fd=inner, follow_symlinks=False).st_mode):
                _remove_hollow(inner, child, levels - 1)
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST}:
            raise
    finally:
        os.close(inner)


def _sweep(folder: int, name: str, older_than: float) -> None:
    with suppress(OSError):
        found = os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        try:
            if os.fstat(found).st_mtime < older_than:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=folder)
        finally:
            os.close(found)
