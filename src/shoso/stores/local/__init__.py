"""local: a folder of this machine or of a mount (NFS): `file:` URIs and plain paths.

Durable: the file and every folder on the way are synced before a write returns. Atomic: bytes go to
`.shoso/drafts` and get their name in one rename (link, for CREATE). The digest is kept in the extended
attribute `user.shoso.digest`, bound to size and time of change: a file that somebody changed in place has no
digest, one whose bits rotted has a wrong one. Where a file system has no such attributes, no digest is kept.

On NFS other machines change the folder, too: what turns out to be stale is looked for again, what the kernel
remembers is refreshed before it is believed, and where locks end at the machine, IfMatch is not offered.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from shoso.core.keys import ROOT, Key
from shoso.core.locations import local_path
from shoso.core.options import from_environment, silence
from shoso.core.store import Batches, Listings, StoreInfo, Uploads, order
from shoso.core.streams import Source
from shoso.core.types import (
    ALL,
    CREATE,
    OVERWRITE,
    Buffer,
    ByteRange,
    Capabilities,
    Digests,
    Entry,
    IfMatch,
    Move,
    ObjectMeta,
    Prefix,
    Reading,
    WriteMode,
    span,
)
from shoso.errors import ConfigError, Kind, StoreError, store_error
from shoso.stores.disk.calls import Calls
from shoso.stores.disk.drafts import Draft
from shoso.stores.disk.reading import OpenFile
from shoso.stores.files.errors import KINDS, known, several
from shoso.stores.files.names import reserved
from shoso.stores.local.batches import LocalBatches
from shoso.stores.local.files import Aside, attributes_work, digest_of, meta_of, seal
from shoso.stores.local.listings import LocalListings
from shoso.stores.local.moving import Moving
from shoso.stores.local.removing import Removing
from shoso.stores.local.tree import Tree, again
from shoso.stores.local.uploads import LocalUploads

SILENCE = 120.0
"""Seconds after which a disk that answers nothing is given up, e.g. a mount whose server is gone."""

SETTINGS = (silence(SILENCE),)

FIRST, MOST = 16, 512
"""Entries of a listing that are found in one hop to a thread: few at first, for whoever wants a few."""

STALE_AFTER = 3600.0
"""Seconds after which a temporary file that no process holds is swept, when a store is opened."""

FINISHED_FOR = 86400.0
"""Seconds for which a finished upload may be finished again; then it is forgotten, when a store is opened."""


def open_store(uri: str, environment: Mapping[str, str]) -> LocalStore:
    """The store at a path or `file:` URI. Raises ConfigError."""
    return LocalStore(LocalOptions(local_path(uri), **from_environment(SETTINGS, environment)))


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Where the objects are, how many threads wait for the disk, and how long in seconds."""

    path: Path
    threads: int = 16
    silence: float | None = SILENCE


class LocalStore:
    """Objects as files."""

    signer = None

    def __init__(self, options: LocalOptions) -> None:
        self.info = StoreInfo("file", str(options.path), options.silence)
        try:
            self.tree = Tree(options.path)
        except OSError as error:
            raise _unusable(options.path, error) from error
        self.calls = Calls(self.info, options.threads, self)
        self._uploads = LocalUploads(self)
        self._batches = LocalBatches(self)
        self._listings = LocalListings(self.calls, self._files)
        try:
            digests = Digests.ALL if self._prepared() else Digests.NONE
            if_match = self.tree.mount.shared_locks
            self.capabilities = Capabilities(if_match=if_match, digests=digests, connections=512, move=True)
        except OSError as error:
            self.tree.close()
            raise _unusable(options.path, error) from error

    def _prepared(self) -> bool:
        """Whether digests can be kept; what others left behind is swept."""
        self.tree.sweep(time.time() - STALE_AFTER)
        self._uploads.sweep(time.time() - FINISHED_FOR)
        with self.tree.folder("") as root:
            return attributes_work(root)

    @property
    def uploads(self) -> Uploads:
        """Objects in parts."""
        return self._uploads

    @property
    def batches(self) -> Batches:
        """Many small objects at once."""
        return self._batches

    @property
    def listings(self) -> Listings:
        """What lies in many folders."""
        return self._listings

    # -- the verbs ----------------------------------------------------------------------------------------

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return await self.calls.run("stat", key, self._stat, key)

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        return await self.opened("read", key, key, wanted, if_match)

    async def opened(
        self, op: str, key: Key, place: str, wanted: ByteRange = ALL, if_match: str | None = None
    ) -> Reading:
        """The file at `place` as a reading of `key`."""
        return await self.calls.opened(op, key, lambda: self._open(key, place, wanted, if_match))

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store. The type isn't kept: a file has its name."""
        berth = Aside(self.tree)
        draft = Draft(key, source, berth, durable=True)
        try:
            rest = await self.calls.take("write", key, source, draft)
            return await self.calls.run("write", key, self._commit, draft, berth, rest, key, mode)
        except BaseException:
            await self.calls.abandon(draft)
            raise

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; of the folders on the way to an entry the names are held in memory."""
        walk, size = self._walk(prefix, deep, after), FIRST
        while found := await self.calls.run("list", prefix, _some, walk, size):
            for entry in found:
                yield entry
            size = min(MOST, 2 * size)

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store."""
        failures = await self.calls.run("delete", ROOT, Removing(self).all, keys)
        if failures:
            raise several(failures, self.info.name)

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store."""
        failures = await self.calls.run("move", ROOT, Moving(self).all, moves)
        if failures:
            raise several(failures, self.info.name, "move")

    async def close(self) -> None:
        """See Store."""
        await self.calls.close()
        self.tree.close()

    # -- in threads ---------------------------------------------------------------------------------------

    def _files(self, folder: Key) -> Iterator[ObjectMeta]:
        for found in self.tree.entries(folder):
            key = Key(f"{folder}/{found.name}")
            if found.folder:
                yield from self._files(key)
            else:
                yield meta_of(key, found.status)

    def _walk(self, prefix: Key, deep: bool, after: str | None) -> Iterator[Entry]:
        for found in self.tree.entries(prefix):
            key = Key(f"{prefix}/{found.name}" if prefix else found.name)
            if not found.folder:
                if after is None or key > after:
                    yield meta_of(key, found.status)
            elif not deep:
                if after is None or order(Prefix(key)) > after:
                    yield Prefix(key)
            elif after is None or after < key + "/" or after.startswith(key + "/"):
                yield from self._walk(key, deep, after)

    @again
    def _stat(self, key: Key) -> ObjectMeta:
        file = self.tree.open_file(key)
        try:
            return meta_of(key, os.fstat(file), digest_of(file))
        finally:
            os.close(file)

    @again
    def _open(self, key: Key, place: str, wanted: ByteRange, if_match: str | None) -> OpenFile:
        file = self.tree.open_file(place)
        try:
            meta = meta_of(key, os.fstat(file), digest_of(file))
            self._match(meta, if_match)
            return OpenFile(file, meta, *span(wanted, meta.size))
        except BaseException:
            os.close(file)
            raise

    def _match(self, meta: ObjectMeta, if_match: str | None) -> None:
        if if_match is not None and if_match != meta.etag:
            raise self.error(Kind.CHANGED, "read", meta.key, "has changed since")

    def _commit(
        self, draft: Draft, berth: Aside, rest: Sequence[Buffer], key: Key, mode: WriteMode
    ) -> ObjectMeta:
        draft.append(rest)
        sealed = seal(draft)
        with draft.at_work(), self.tree.commit_lock(exclusive=isinstance(mode, IfMatch)):
            if isinstance(mode, IfMatch):
                self._require(key, mode.etag)
            berth.move(key, replace=mode is not CREATE)
        draft.close()
        return sealed.meta(key)

    def _require(self, key: Key, etag: str) -> None:
        try:
            there = self._stat(key).etag
        except FileNotFoundError:
            there = None
        if there != etag:
            raise self.error(Kind.CHANGED, "write", key, "has changed since")

    # -- errors -------------------------------------------------------------------------------------------

    def error(self, kind: Kind, op: str, key: Key, what: str) -> StoreError:
        """The error in this store's name."""
        name = self.info.name
        return store_error(kind, f"'{key or name}' {what}.", op=op, key=key, store=name)

    def refuse(self, op: str, key: Key) -> None:
        """See Rules."""
        if reserved(key):
            raise self.error(Kind.INVALID_KEY, op, key, "is a name that the store keeps for itself")

    def translate(self, error: OSError, op: str, key: Key) -> StoreError:
        """See Rules."""
        number = error.errno or 0
        kind, what = known(error, op, _KINDS)
        if number == errno.EIO and self.tree.mount.remote:
            kind, what = _KINDS[errno.ETIMEDOUT]
        if number in _DENIED and self.tree.mount.remote and os.geteuid() == 0:
            what = f"may not be touched: {_SQUASHED}"
        listed = op == "list" and isinstance(error, PermissionError) and error.filename
        return self.error(kind, op, Key(error.filename) if listed else key, what)


def _unusable(path: Path, error: OSError) -> ConfigError:
    fix = ""
    if error.errno in _DENIED:
        fix = f"; {_SQUASHED}" if os.geteuid() == 0 else "; let the user that Shoso runs as write there"
    return ConfigError(str(path), f"can't be used as an artifact folder: {error.strerror}{fix}.")


_DENIED = {errno.EACCES, errno.EPERM}
_SQUASHED = "an NFS server takes root for nobody (root_squash); run Shoso as the user who owns the folder"
_KINDS: Mapping[int, tuple[Kind, str]] = {
    **KINDS,
    errno.ENXIO: (Kind.NOT_FOUND, "is not there: what has its name is no file"),
    errno.ENODEV: (Kind.NOT_FOUND, "is not there: what has its name is no file"),
    errno.EACCES: (Kind.FORBIDDEN, "may not be touched by the user that Shoso runs as"),
    errno.EPERM: (Kind.FORBIDDEN, "may not be touched by the user that Shoso runs as"),
    errno.ETIMEDOUT: (Kind.UNAVAILABLE, "can't be reached: the file server gave no answer, or an I/O error"),
    errno.ENOLCK: (Kind.UNAVAILABLE, "can't be locked; mount the folder with NFS 4.2, or NFS 3 with nolock"),
    errno.EMFILE: (Kind.UNAVAILABLE, "can't be opened: raise the limit of open files (ulimit -n)"),
    errno.ENFILE: (Kind.UNAVAILABLE, "can't be opened: this machine has too many files open"),
}


def _some(walk: Iterator[Entry], most: int) -> list[Entry]:
    return [*islice(walk, most)]
