"""local: a folder of this machine or of a mount (NFS): `file:` URIs and plain paths.

Durable: the file and every folder on the way are synced before a write returns. Atomic: bytes go to
`.shoso/drafts` and get their name in one rename (link, for CREATE). The digest is kept in the extended
attribute `user.shoso.digest`, bound to size and time of change: a file that somebody changed in place has no
digest, one whose bits rotted has a wrong one. Where a file system has no such attributes, no digest is kept.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from shoso.core.keys import Key
from shoso.core.store import StoreInfo, Uploads, order
from shoso.core.streams import CHUNK, Source, closing, regroup
from shoso.core.types import (
    ALL,
    CREATE,
    OVERWRITE,
    Buffer,
    ByteRange,
    Capabilities,
    Entry,
    IfMatch,
    ObjectMeta,
    Prefix,
    Reading,
    WriteMode,
    span,
)
from shoso.errors import ConfigError, Kind, StoreError, store_error
from shoso.stores.local.files import Draft, attributes_work, digest_of, etag_of
from shoso.stores.local.tree import OWN, Tree, reserved
from shoso.stores.local.uploads import LocalUploads

P = ParamSpec("P")
T = TypeVar("T")

STALE_AFTER = 3600.0
"""Seconds after which a temporary file that no process holds is swept, when a store is opened."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Where the objects are, and how many threads wait for the disk."""

    path: Path
    threads: int = 16


class LocalStore:
    """Objects as files."""

    def __init__(self, options: LocalOptions) -> None:
        try:
            self.tree = Tree(options.path)
            with self.tree.folder(OWN) as own:
                digests = attributes_work(own)
            self.tree.sweep(time.time() - STALE_AFTER)
        except OSError as error:
            raise ConfigError(
                str(options.path), f"can't be used as an artifact folder: {error.strerror}."
            ) from error
        self.info = StoreInfo("file", str(options.path))
        self.capabilities = Capabilities(digests=digests, connections=512)
        self._threads = ThreadPoolExecutor(options.threads, thread_name_prefix="shoso-local")
        self._uploads = LocalUploads(self)

    @property
    def uploads(self) -> Uploads:
        """Objects in parts."""
        return self._uploads

    async def run(self, op: str, key: Key, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work` in a thread; its OSErrors come back as this store's errors."""
        if reserved(key):
            raise self.error(Kind.INVALID_KEY, op, key, "is a name that the store keeps for itself")
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: work(*args, **kwargs)
            )
        except OSError as error:
            raise self._translate(error, op, key) from error

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return await self.run("stat", key, self._stat, key)

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        file = await self.run("read", key, self._open, key, wanted, if_match)
        return Reading(file.meta, file.start, file.stop, self._body(file), file.close)

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store. The type isn't kept: a file has its name."""
        draft = Draft(self.tree, source)
        held: list[Buffer] = []
        appending: asyncio.Future[None] | None = None
        try:
            async with closing(regroup(source.open())) as groups:
                async for group in groups:
                    if appending is not None:
                        await appending
                    if held:
                        appending = asyncio.ensure_future(self.run("write", key, draft.append, held))
                    held = group
            if appending is not None:
                await appending
            return await self.run("write", key, self._commit, draft, held, key, mode)
        except BaseException:
            if appending is not None:
                await asyncio.wait([appending])
            await self.run("write", key, draft.discard)
            raise

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; one folder is held in memory at a time."""
        for found in await self.run("list", prefix, self.tree.entries, prefix):
            key = Key(f"{prefix}/{found.name}" if prefix else found.name)
            if not found.folder:
                entry = _meta(key, found.status)
                if after is None or key > after:
                    yield entry
            elif not deep:
                if after is None or order(Prefix(key)) > after:
                    yield Prefix(key)
            elif after is None or after < key + "/" or after.startswith(key + "/"):
                async for inner in self.list(key, deep, after):
                    yield inner

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store."""
        failures: list[StoreError] = []
        for key in keys:
            try:
                await self.run("delete", key, self.tree.remove, key)
            except StoreError as error:
                failures.append(error)
        if failures:
            raise failures[0] if len(failures) == 1 else self._several(failures)

    async def close(self) -> None:
        """See Store."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        self.tree.close()

    # -- in threads ---------------------------------------------------------------------------------------

    def _stat(self, key: Key) -> ObjectMeta:
        file = self.tree.open_file(key)
        try:
            return _meta(key, os.fstat(file), digest_of(file))
        finally:
            os.close(file)

    def _open(self, key: Key, wanted: ByteRange, if_match: str | None) -> _OpenFile:
        file = self.tree.open_file(key)
        try:
            meta = _meta(key, os.fstat(file), digest_of(file))
            self._match(meta, if_match)
            start, stop = span(wanted, meta.size)
            opened = _OpenFile(file, meta, start, stop)
            opened.first = opened.read(start)
        except BaseException:
            os.close(file)
            raise
        return opened

    def _match(self, meta: ObjectMeta, if_match: str | None) -> None:
        if if_match is not None and if_match != meta.etag:
            raise self.error(Kind.CHANGED, "read", meta.key, "has changed since")

    def _commit(self, draft: Draft, held: Sequence[Buffer], key: Key, mode: WriteMode) -> ObjectMeta:
        draft.append(held)
        status, digest = draft.seal(key)
        with self.tree.commit_lock(exclusive=isinstance(mode, IfMatch)):
            if isinstance(mode, IfMatch):
                self._require(key, mode.etag)
            draft.move(key, replace=mode is not CREATE)
        return _meta(key, status, digest)

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
        return store_error(kind, f"'{key}' {what}.", op=op, key=key, store=name)

    def _translate(self, error: OSError, op: str, key: Key) -> StoreError:
        if isinstance(error, StoreError):
            return error
        kind, what = _KINDS.get(error.errno or 0, (Kind.UNEXPECTED, f"failed ({error.strerror})"))
        if error.errno == errno.ENOTDIR and op in _WRITING:
            kind, what = Kind.EXISTS, "can't be written: a file stands where one of its folders would be"
        return self.error(kind, op, key, what)

    def _several(self, failures: Sequence[StoreError]) -> StoreError:
        first = failures[0]
        message = f"{len(failures)} objects couldn't be deleted, the first: {first.message}"
        return store_error(first.kind, message, op="delete", key=first.key, store=self.info.name)

    async def _body(self, file: _OpenFile) -> AsyncIterator[Buffer]:
        """The file's bytes, the next buffer being read while the last one is used."""
        data, position = file.first, file.start
        while data:
            position += len(data)
            if position < file.stop:
                file.coming = asyncio.ensure_future(self.run("read", file.meta.key, file.read, position))
            yield data
            data = await file.coming if position < file.stop and file.coming else b""
        if position < file.stop:
            raise self.error(Kind.CHANGED, "read", file.meta.key, "was cut short while it was read")


class _OpenFile:
    """A file being read: its first bytes, which came with opening it, and the read under way."""

    __slots__ = ("_file", "coming", "first", "meta", "start", "stop")

    def __init__(self, file: int, meta: ObjectMeta, start: int, stop: int) -> None:
        self._file = file
        self.meta, self.start, self.stop = meta, start, stop
        self.first = b""
        self.coming: asyncio.Future[bytes] | None = None

    def read(self, position: int) -> bytes:
        """The next bytes at `position`; none past the end."""
        return os.pread(self._file, min(CHUNK, self.stop - position), position)

    async def close(self) -> None:
        """Let go of the file once no thread reads it; may be called again."""
        if self.coming is not None:
            await asyncio.wait([self.coming])
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _meta(key: Key, status: os.stat_result, digest: str | None = None) -> ObjectMeta:
    return ObjectMeta(key, status.st_size, status.st_mtime, etag_of(status), digest)


_WRITING = {"write", "begin", "put", "finish"}
_KINDS: dict[int, tuple[Kind, str]] = {
    errno.ENOENT: (Kind.NOT_FOUND, "is not there"),
    errno.ENOTDIR: (Kind.NOT_FOUND, "is not there: a file stands where one of its folders would be"),
    errno.EEXIST: (Kind.EXISTS, "is there already"),
    errno.EISDIR: (Kind.EXISTS, "is a folder"),
    errno.ENOTEMPTY: (Kind.EXISTS, "is a folder"),
    errno.ENAMETOOLONG: (Kind.INVALID_KEY, "has a name that is too long for the file system"),
    errno.EILSEQ: (Kind.INVALID_KEY, "has a name that the file system doesn't take"),
    errno.ELOOP: (Kind.INVALID_KEY, "is a symbolic link"),
    errno.EACCES: (Kind.FORBIDDEN, "may not be touched by the user that Shoso runs as"),
    errno.EPERM: (Kind.FORBIDDEN, "may not be touched by the user that Shoso runs as"),
    errno.EROFS: (Kind.FORBIDDEN, "is on a file system that is mounted read-only"),
    errno.ENOSPC: (Kind.NO_SPACE, "doesn't fit: the disk is full"),
    errno.EDQUOT: (Kind.NO_SPACE, "doesn't fit: the disk quota is used up"),
    errno.EFBIG: (Kind.TOO_LARGE, "is larger than the file system takes"),
    errno.EMFILE: (Kind.UNAVAILABLE, "can't be opened: raise the limit of open files (ulimit -n)"),
    errno.ENFILE: (Kind.UNAVAILABLE, "can't be opened: this machine has too many files open"),
}
