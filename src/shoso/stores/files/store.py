"""A store over any `FileSystem`: the Store verbs, written once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import ParamSpec, TypeVar

from shoso.core.keys import Key, join
from shoso.core.store import StoreInfo, Uploads, exists
from shoso.core.streams import BytesSource, Source, closing, regroup
from shoso.core.types import (
    ALL,
    CREATE,
    OVERWRITE,
    Buffer,
    ByteRange,
    Capabilities,
    Entry,
    Move,
    ObjectMeta,
    Prefix,
    Reading,
    WriteMode,
    span,
)
from shoso.errors import Kind, NotFound, StoreError, Unavailable, store_error
from shoso.stores.files.drafts import Draft, Drafts
from shoso.stores.files.errors import several, sign, translated
from shoso.stores.files.folders import Folders, above
from shoso.stores.files.listing import Level, behind, walk
from shoso.stores.files.names import reserved, visible
from shoso.stores.files.system import FileSystem, Found, OpenFile, Status
from shoso.stores.files.uploads import FileUploads

SWEEP_EVERY = 86400.0
"""Seconds between two sweeps; the first comes with the first write."""

P = ParamSpec("P")
T = TypeVar("T")


class FileStore:
    """Objects as files of a remote file system.

    IfMatch is never honoured: no protocol compares and renames in one step, and a lock that its holder may
    take to the grave is no replacement.
    """

    batches = None
    listings = None
    signer = None

    def __init__(self, info: StoreInfo, system: FileSystem) -> None:
        self.info, self.system = info, system
        traits = system.traits
        self.capabilities = Capabilities(
            create=traits.exclusive,
            if_match=False,
            digests=traits.digests,
            connections=traits.connections,
            move=True,
        )
        self._at_once = asyncio.Semaphore(traits.connections)
        self.folders = Folders(system, self._at_once)
        self.drafts = Drafts(system, self.folders)
        self._uploads = FileUploads(self)
        self._closed = False
        self._sweep_due = 0.0

    @property
    def uploads(self) -> Uploads:
        """Objects in parts."""
        return self._uploads

    async def run(
        self, op: str, key: Key, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `work`, one step of a call, gives before the server has been silent for too long.

        The layer of limits gives a whole call as long, but the end of an upload none: it has many steps.
        """
        with self.named(op, key):
            async with asyncio.timeout(self.info.silence):
                return await work(*args, **kwargs)

    @contextmanager
    def named(self, op: str, key: Key) -> Iterator[None]:
        """OSErrors within come out as this store's errors."""
        if reserved(key):
            raise self.error(Kind.INVALID_KEY, op, key, "is a name that the store keeps for itself")
        if self._closed:
            raise self.error(Kind.UNAVAILABLE, op, key, "can't be reached: the store is closed")
        try:
            yield
        except StoreError as error:
            sign(error, op, key, self.info.name)
            raise
        except OSError as error:
            raise translated(error, op, key, self.info.name) from error

    # -- the verbs ----------------------------------------------------------------------------------------

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        status = await self.run("stat", key, self.system.status, key)
        if status.folder:
            raise self.error(Kind.NOT_FOUND, "stat", key, "is not there: what has its name is a folder")
        return _meta(key, status)

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        return await self.opened("read", key, key, wanted, if_match)

    async def opened(
        self, op: str, key: Key, place: str, wanted: ByteRange = ALL, if_match: str | None = None
    ) -> Reading:
        """The file at `place` as a reading of `key`."""
        file = await self.run(op, key, self.system.open, place)
        try:
            meta = _meta(key, file.status)
            self._match(op, meta, if_match)
            start, stop = span(wanted, meta.size)
        except BaseException:
            await file.close()
            raise
        return Reading(meta, start, stop, self._body(op, key, file, start, stop), file.close)

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store. The type isn't kept: a file has its name."""
        async with self.filled("write", key, source) as draft:
            status = await self.run("write", key, draft.seal)
            try:
                await self.run("write", key, draft.move, key, replace=mode is not CREATE)
            except Unavailable:
                if not await self._is(key, status):
                    raise
        return replace(_meta(key, status), digest=draft.digest)

    @asynccontextmanager
    async def filled(self, op: str, key: Key, source: Source) -> AsyncIterator[Draft]:
        """A draft that holds the source; removed on the way out, unless it has got a name."""
        draft = Draft(self.drafts, key, source)
        try:
            async with closing(regroup(source.open())) as groups:
                async for group in groups:
                    await self.run(op, key, draft.append, group)
            yield draft
        except BaseException:
            await self.drafts.abandon(draft)
            raise
        self._sweep()

    async def join(self, key: Key, places: Sequence[str]) -> ObjectMeta:
        """These files, one after another, as the object; joined on the server, which may take long."""
        draft = Draft(self.drafts, key, BytesSource(b""))
        try:
            with self.named("finish", key):
                status = await draft.join(places)
            await self.run("finish", key, draft.move, key, replace=True)
        except BaseException:
            await self.drafts.abandon(draft)
            raise
        return _meta(key, status)

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; a few folders are held in memory at a time."""
        if deep:
            async with closing(walk(self._level, prefix, after)) as found:
                async for meta in found:
                    yield meta
        else:
            for entry in behind(await self._level(prefix), after):
                yield entry

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; files first, all at once, then the folders that this leaves empty."""
        outcomes = await asyncio.gather(*(self._deleted(key) for key in keys))
        failures = [outcome for outcome in outcomes if outcome is not None]
        if failures:
            raise several(failures, self.info.name)
        if keys:
            await self.run("delete", keys[0], self.folders.prune, {above(key) for key in keys})

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store; files first, then the folders that this leaves empty, also before it broke off."""
        failures: list[StoreError] = []
        for key, target in moves:
            try:
                await self._move(key, target)
            except StoreError as error:
                failures.append(error)
        if moves:
            await self.run("move", moves[0][0], self.folders.prune, {above(key) for key, _ in moves})
        if failures:
            raise several(failures, self.info.name, "move")

    async def close(self) -> None:
        """See Store."""
        if not self._closed:
            self._closed = True
            await self.drafts.close()
            await self.system.close()

    def error(self, kind: Kind, op: str, key: Key, what: str) -> StoreError:
        """The error in this store's name."""
        return store_error(kind, f"'{key}' {what}.", op=op, key=key, store=self.info.name)

    # -- their parts --------------------------------------------------------------------------------------

    async def _move(self, key: Key, target: Key) -> None:
        """Rename a file; a folder of that name isn't one, whatever the server would do."""
        try:
            await self.stat(key)
            return await self.run("move", target, self.folders.move, key, target, replace=True)
        except NotFound as missing:
            if not await exists(self, target):
                raise missing from None

    async def _is(self, key: Key, status: Status) -> bool:
        """Whether this very file has the name: the reply to a rename may be lost after it was made."""
        try:
            there = await self.run("write", key, self.system.status, key)
        except StoreError:
            return False
        return status.version is not None and there.version == status.version

    def _sweep(self) -> None:
        """Clear away what was left behind, now and then: a store that only reads changes nothing."""
        now = time.monotonic()
        if now >= self._sweep_due:
            self._sweep_due = now + SWEEP_EVERY
            self.drafts.start(self._swept_by_age())

    def _match(self, op: str, meta: ObjectMeta, if_match: str | None) -> None:
        if if_match is not None and if_match != meta.etag:
            raise self.error(Kind.CHANGED, op, meta.key, "has changed since")

    async def _swept_by_age(self) -> None:
        await self.drafts.sweep()
        await self._uploads.sweep()

    async def _body(self, op: str, key: Key, file: OpenFile, start: int, stop: int) -> AsyncIterator[Buffer]:
        position = start
        async with closing(file.read(start, stop)) as buffers:
            while position < stop and (data := await self.run(op, key, anext, buffers, b"")):
                position += len(data)
                yield data
        if position < stop:
            raise self.error(Kind.CHANGED, op, key, "was cut short while it was read")

    async def _level(self, folder: Key) -> Level:
        """One level, in the order of keys; nothing for a missing folder."""
        try:
            with self.named("list", folder):
                found = await self._limited(self._entries, folder)
        except StoreError as error:
            if error.kind is Kind.INVALID_KEY and reserved(folder):
                return []
            raise
        shown = (entry for entry in found if visible(folder, entry.name, entry.status.folder))
        return [_entry(join(folder, entry.name), entry.status) for entry in sorted(shown, key=_order)]

    async def _entries(self, folder: str) -> Sequence[Found]:
        try:
            return await self.system.entries(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []

    async def remove_all(self, places: Iterable[str]) -> None:
        """Remove these files, many at once; missing is fine. Raises OSError."""
        await asyncio.gather(*(self._limited(self._remove, place) for place in places))

    async def _limited(self, work: Callable[[str], Awaitable[T]], place: str) -> T:
        """One of many steps at once: no more than the server takes, each as long as it may last."""
        async with self._at_once, asyncio.timeout(self.info.silence):
            return await work(place)

    async def _deleted(self, key: Key) -> StoreError | None:
        """Why the object is still there, if it is."""
        try:
            with self.named("delete", key):
                await self._limited(self._remove, key)
        except StoreError as error:
            return error
        return None

    async def _remove(self, place: str) -> None:
        try:
            await self.system.remove(place)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except IsADirectoryError:
            await self.folders.remove_hollow(place)


def _order(entry: Found) -> str:
    return entry.name + "/" * entry.status.folder


def _entry(key: Key, status: Status) -> Entry:
    return Prefix(key) if status.folder else _meta(key, status)


def _meta(key: Key, status: Status) -> ObjectMeta:
    return ObjectMeta(key, status.size, status.modified, status.version, status.digest)
