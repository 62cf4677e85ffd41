"""The contract every store keeps, and what can be said with it.

Promises of every store, each a test of its name in `tests/conformance`:
- a write is whole or not at all: no reader, listing or stat ever sees half an object;
- an acknowledged write is kept: it survives the process and, where the store can say so, the machine;
- what went in comes out, and a digest that the sender claimed is compared before the object appears;
- CREATE has exactly one winner; IfMatch replaces only what it names;
- a read is of one version of the object, or fails with CHANGED;
- a listing shows every object that was there from its start to its end; a missing prefix is empty;
- deleting what isn't there is fine; deleting touches nothing that wasn't named;
- a moved object is whole at its old key or at its new one, at every moment; a move can be repeated;
- memory stays within a few buffers, whatever the size of the object.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shoso.core.keys import Key
from shoso.core.streams import Source, closing
from shoso.core.types import (
    ALL,
    OVERWRITE,
    ByteRange,
    Capabilities,
    Entry,
    Move,
    ObjectMeta,
    Part,
    Prefix,
    Reading,
    SignedRequest,
    SmallObject,
    UploadRef,
    WriteMode,
)
from shoso.errors import NotFound, StoreError

DELETE_BATCH = 1000


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Who a store is; `name` is safe to show: it never holds a credential.

    `silence` is how long in seconds it may say nothing before a call is given up, None for as long as it
    likes. `endpoint` is the address of a storage of one's own, which perhaps not every client can reach; ""
    for a provider's, which everybody can.
    """

    scheme: str
    name: str
    silence: float | None = 120.0
    endpoint: str = ""


class Uploads(Protocol):
    """An object in parts. Ids are stateless: another process can go on with them.

    Parts are numbered from 1 and may be put again (the last one counts). Whoever gives `begin` a `part_size`
    promises that every part but the last will have so many bytes: a store may then put each in its place at
    once, and refuse a larger one as INVALID. `finish` may be repeated when its reply was lost. It takes the
    digest that the whole must have, and raises CORRUPT where the store computes another; one that joins parts
    without seeing their bytes (S3, Azure, GCS, an SFTP server) can't compare it. The object comes back with
    its digest, claimed or computed, where it is sure to be of these parts. What fails leaves the upload as it
    was: it may be finished again, or aborted. An unknown id is NOT_FOUND.
    """

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef: ...
    async def put(self, ref: UploadRef, number: int, source: Source) -> Part: ...
    async def parts(self, ref: UploadRef) -> list[Part]: ...
    async def finish(
        self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None
    ) -> ObjectMeta: ...
    async def abort(self, ref: UploadRef) -> None: ...
    def pending(self, prefix: Key) -> AsyncIterator[UploadRef]: ...


class Batches(Protocol):
    """Many small objects in one call. Each stands or fails by itself: a failure is handed back in its place.

    What is raised is about all of them: nothing is known of any then, and the call may be made again.
    """

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        """Each as `Store.write` would keep it, durably, replacing what is there."""
        ...

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        """Each whole, its digest with it where that is kept; TOO_LARGE for one over `batches.SMALL` bytes."""
        ...


Within = Sequence[ObjectMeta] | StoreError | None
"""What lies in one of many folders: all of it, or why that isn't known, or None where it is too much."""


class Listings(Protocol):
    """What lies in many folders, in one call."""

    async def of(self, folders: Sequence[Key], most: int) -> list[Within]:
        """Of each, what a deep `Store.list` would show; None for one with more than `most` objects.

        Digests may be missing. What is raised is about all of them.
        """
        ...


class Signer(Protocol):
    """Requests that go straight to the storage: good for whoever has them, for `expires` seconds.

    What they write appears whole or not at all, and carries no digest of ours.
    """

    async def read(self, key: Key, expires: float) -> SignedRequest: ...
    async def write(self, key: Key, expires: float, content_type: str | None = None) -> SignedRequest: ...
    async def part(self, ref: UploadRef, number: int, expires: float) -> SignedRequest: ...


class Store(Protocol):
    """Where objects are kept. Every verb raises StoreError and nothing else."""

    @property
    def info(self) -> StoreInfo: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def uploads(self) -> Uploads: ...
    @property
    def batches(self) -> Batches | None:
        """What takes many small objects at once, where the storage gains by it."""
        ...

    @property
    def listings(self) -> Listings | None:
        """What lists many folders at once, where the storage gains by it."""
        ...

    @property
    def signer(self) -> Signer | None:
        """What signs requests, where the storage takes signed ones and the credentials can sign."""
        ...

    async def stat(self, key: Key) -> ObjectMeta:
        """What is known of the object. Raises NOT_FOUND."""
        ...

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """The object's bytes. Raises NOT_FOUND, RANGE, CHANGED (the etag is another)."""
        ...

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """The object as written, with its digest. Raises EXISTS, CHANGED, CORRUPT, NO_SPACE; then nothing has
        changed.
        """
        ...

    def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """What lies below `prefix`, by whole segments: all objects, or one level of objects and folders.

        `after` leaves out everything whose `order` is not behind it.
        """
        ...

    async def delete(self, keys: Sequence[Key]) -> None:
        """Remove these objects; missing is fine. All are tried before a failure is raised, named."""
        ...

    async def move(self, moves: Sequence[Move]) -> None:
        """Give each object its new key, with its digest and type; none of its bytes comes here.

        What was at the new key is replaced, as by a write. An object store copies, then deletes: for a moment
        both are there, and what somebody else writes to the old key just then may go with it. An object that
        is at its new key, and not at its old one any more, has been moved: what broke off is made again. The
        keys of a call are all different. All are tried before a failure is raised, named; NOT_FOUND where
        nothing is at either key, EXISTS where a folder is in the way, CHANGED where somebody wrote meanwhile
        and the storage noticed.
        """
        ...

    async def close(self) -> None:
        """Free what the store holds; may be called again."""
        ...


async def read_bytes(store: Store, key: Key, wanted: ByteRange = ALL) -> bytes:
    """The bytes at once, for objects known to be small."""
    async with await store.read(key, wanted) as reading:
        return b"".join([bytes(data) async for data in reading.body])


async def find(store: Store, key: Key) -> ObjectMeta | None:
    """What is known of the object; None where there is none."""
    try:
        return await store.stat(key)
    except NotFound:
        return None


async def exists(store: Store, key: Key) -> bool:
    """Whether there is an object of that key."""
    return await find(store, key) is not None


async def is_folder(store: Store, key: Key) -> bool:
    """Whether anything lies below `key`."""
    async with closing(store.list(key)) as found:
        return await anext(found, None) is not None


async def page(
    store: Store,
    prefix: Key,
    *,
    deep: bool = False,
    after: str | None = None,
    limit: int,
    seconds: float = math.inf,
) -> tuple[list[Entry], str | None]:
    """At most `limit` entries after `after`, in the order of keys, and where the next page starts.

    After so many seconds the page ends with what has come, one entry at least. A store that lists out of
    order is read to the end and sorted.
    """
    entries, until, more = list[Entry](), time.monotonic() + seconds, False
    in_order = store.capabilities.sorted_list
    async with closing(store.list(prefix, deep, after)) as found:
        async for entry in found:
            more = in_order and entries != [] and (len(entries) == limit or time.monotonic() > until)
            if more:
                break
            entries.append(entry)
    if not in_order:
        entries.sort(key=order)
        entries, more = entries[:limit], len(entries) > limit
    return entries, order(entries[-1]) if more else None


def order(entry: Entry) -> str:
    """Sorts a listing as a deep one is: a folder where its contents would be."""
    return entry.key + "/" if isinstance(entry, Prefix) else entry.key


async def delete_tree(store: Store, prefix: Key) -> None:
    """Remove every object at or below `prefix`, in batches, so that memory stays constant.

    The prefix itself goes first, so that a store that refuses it (the root) does so while all is there, and
    last, so that a folder left empty goes too.
    """
    await store.delete([prefix])
    batch: list[Key] = []
    async for entry in store.list(prefix, deep=True):
        batch.append(entry.key)
        if len(batch) >= DELETE_BATCH:
            await store.delete(batch)
            batch = []
    await store.delete([*batch, prefix])
