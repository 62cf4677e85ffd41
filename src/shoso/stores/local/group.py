"""Small objects on their way to the disk together: written where nobody sees them, synced, then named.

A step is for one thread at a time, but for `sync`, which is shared: the disk writes out its cache once for
all who wait for it at that moment. A thread can't be interrupted: what is abandoned waits for the step's end.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn, ParamSpec, TypeVar

from shoso.core import digest, keys
from shoso.core.keys import Key
from shoso.core.types import ObjectMeta, SmallObject
from shoso.errors import StoreError
from shoso.stores.disk.calls import Calls
from shoso.stores.disk.drafts import write_at
from shoso.stores.files.names import DRAFTS
from shoso.stores.local.files import marked, meta_of
from shoso.stores.local.tree import Tree, new_draft

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Member:
    """An object, its file and the name that has as long as it is a draft; what became of it."""

    object: SmallObject
    file: int = -1
    draft: str = ""
    outcome: ObjectMeta | StoreError | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """An open file or folder, how it is made durable, and the objects that are lost where it can't be."""

    descriptor: int
    sync: Callable[[int], None]
    members: list[Member] = field(default_factory=list)


class Group:
    """Objects that share their syncs. Every method but `refuse` blocks."""

    def __init__(self, tree: Tree, calls: Calls, objects: Sequence[SmallObject]) -> None:
        self._tree, self._calls = tree, calls
        self._members = [Member(each) for each in objects]
        self._folders: list[Place] = []
        self._open = ExitStack()
        self._lock = threading.Lock()
        self._abandoned = False

    @property
    def outcomes(self) -> list[ObjectMeta | StoreError]:
        """What became of each, in order."""
        return [each.outcome for each in self._members if each.outcome is not None]

    def write(self) -> list[Place]:
        """Write them; the files to sync. What fails, fails alone."""
        with self._at_work(), self._tree.folder(DRAFTS, create=True) as drafts:
            for each in self._members:
                each.outcome = self._attempt(each, self._write, drafts, each)
        return [Place(each.file, os.fsync, [each]) for each in self._fine()]

    def sync(self, places: Sequence[Place]) -> None:
        """Make these durable; in as many threads as there are shares."""
        for place in places:
            try:
                place.sync(place.descriptor)
            except OSError as error:
                for each in place.members:
                    each.outcome = self._attempt(each, _fail, error)

    def name(self) -> list[Place]:
        """Give their names to those that are durable; the folders to sync."""
        folders: dict[Key, list[Member]] = {}
        for each in self._fine():
            folders.setdefault(keys.parent(_key(each)), []).append(each)
        with self._at_work(), self._tree.commit_lock(exclusive=False), self._tree.folder(DRAFTS) as drafts:
            for folder, inside in folders.items():
                self._name(drafts, folder, inside)
        return [place for place in self._folders if place.members]

    def refuse(self) -> None:
        """Take no further work: what a thread is at now is its last. The one method that doesn't block."""
        self._abandoned = True

    def discard(self) -> None:
        """Let go of all files and folders, and remove what got no name; refuse all further work."""
        self.refuse()
        with self._lock:
            for each in self._members:
                self._drop(each)
            self._open.close()

    def _fine(self) -> list[Member]:
        return [each for each in self._members if isinstance(each.outcome, ObjectMeta)]

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock:
            self._require_wanted()
            yield

    def _require_wanted(self) -> None:
        if self._abandoned:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    def _write(self, drafts: int, each: Member) -> ObjectMeta:
        self._require_wanted()
        key, data, claimed = _key(each), each.object.data, each.object.meta.digest
        actual = digest.digest(data)
        if claimed not in {None, actual}:
            raise digest.mismatch(key, claimed or "", actual)
        each.draft, each.file = new_draft(drafts)
        try:
            write_at(each.file, data, 0)
            os.posix_fadvise(
                each.file, 0, 0, os.POSIX_FADV_DONTNEED
            )  # see docs/decisions/0004-local-files.md
            return meta_of(key, marked(each.file, actual), actual)
        except BaseException:
            self._drop(each)
            raise

    def _name(self, drafts: int, folder: Key, members: Sequence[Member]) -> None:
        """Rename what lies in one folder; what that fails for goes the long way, which knows why."""
        settle = self._tree.mount.settle
        place = Place(-1, settle)
        with suppress(OSError):
            place = Place(self._open.enter_context(self._tree.folder(folder, create=True)), settle)
            self._folders.append(place)
        for each in members:
            self._require_wanted()
            if self._renamed(drafts, each, place):
                place.members.append(each)
            else:
                self._move(each)

    def _renamed(self, drafts: int, each: Member, place: Place) -> bool:
        if place.descriptor < 0:
            return False
        try:
            os.replace(each.draft, keys.name(_key(each)), src_dir_fd=drafts, dst_dir_fd=place.descriptor)
        except OSError:
            return False
        each.draft = ""
        return True

    def _move(self, each: Member) -> None:
        failure = self._attempt(each, self._tree.move, each.draft, _key(each), True)
        if failure is None:
            each.draft = ""
        else:
            each.outcome = failure

    def _attempt(
        self, each: Member, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | StoreError:
        return self._calls.attempt("write", _key(each), work, *args, **kwargs)

    def _drop(self, each: Member) -> None:
        file, each.file = each.file, -1
        if file >= 0:
            with suppress(OSError):  # over NFS, closing may report a full disk once more
                os.close(file)
        if each.draft:
            self._tree.discard(each.draft)
            each.draft = ""


def _fail(error: OSError) -> NoReturn:
    raise error


def _key(each: Member) -> Key:
    return each.object.meta.key
