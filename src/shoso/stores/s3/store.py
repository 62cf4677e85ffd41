"""S3Store: the verbs on a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from shoso.core import keys as names
from shoso.core.keys import Key
from shoso.core.store import DELETE_BATCH, Listings, Signer, StoreInfo, Uploads, order
from shoso.core.streams import Source
from shoso.core.types import (
    ALL,
    OVERWRITE,
    ByteRange,
    Capabilities,
    Digests,
    Entry,
    From,
    FromTo,
    Last,
    Move,
    ObjectMeta,
    Prefix,
    Reading,
    WriteMode,
    span,
)
from shoso.errors import Kind, NotFound, StoreError
from shoso.stores.s3 import documents
from shoso.stores.s3.account import Account
from shoso.stores.s3.body import MIB, Piece
from shoso.stores.s3.connection import Connection
from shoso.stores.s3.documents import Found, Page
from shoso.stores.s3.faults import Asked
from shoso.stores.s3.listings import S3Listings
from shoso.stores.s3.moving import Copier
from shoso.stores.s3.reading import body_of, meta_of
from shoso.stores.s3.signer import S3Signer
from shoso.stores.s3.tags import Tags
from shoso.stores.s3.uploads import S3Uploads
from shoso.stores.s3.writing import Writer

PART_MIN = 5 * MIB
PART_MAX = 5 * 1024 * MIB
"""Amazon S3 user guide, "Multipart upload limits"."""


class S3Store:
    """Objects in a bucket, below a folder of it."""

    batches = None

    def __init__(self, account: Account) -> None:
        options = account.options
        self.info = StoreInfo(options.scheme, options.name, options.silence, account.endpoint)
        self.capabilities = Capabilities(
            create=not account.b2, if_match=not account.b2, part_min=PART_MIN, part_max=PART_MAX,
            connections=options.connections, digests=Digests.WRITTEN, move=True,
        )  # fmt: skip
        self._options = options
        self._connection = Connection(account)
        self._tags = Tags(self._connection)
        self._listings = S3Listings(self._below)
        self._uploads = S3Uploads(self._connection, self._tags, self.stat)
        self._writer = Writer(self._connection, self._uploads, self._tags, self.stat)
        self._copier = Copier(self._connection, self._uploads, self._tags, self.stat)
        self._signer = S3Signer(self._connection, self._uploads) if _signs(account) else None

    @property
    def uploads(self) -> Uploads:
        """Objects in parts."""
        return self._uploads

    @property
    def listings(self) -> Listings:
        """What lies in many folders."""
        return self._listings

    @property
    def signer(self) -> Signer | None:
        """What signs; None without credentials, and where a client would have to know a key or an MD5."""
        return self._signer

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        try:
            reply = await self._connection.send("stat", key, "HeadObject", "HEAD")
        except StoreError as error:
            if error.kind in {Kind.FORBIDDEN, Kind.INVALID}:
                await self._explain(key)
            raise
        async with reply:
            return await self._tags.with_digest(meta_of(key, reply.headers))

    async def _explain(self, key: Key) -> None:
        """Ask once more by a call whose failure comes with a reason, as a HEAD's can't."""
        reply = await self._connection.send("stat", key, "GetObject", "GET", headers={"range": "bytes=0-0"})
        reply.close()

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        asked = _range(wanted)
        if asked is None:
            span(wanted, (await self.stat(key)).size)  # names no byte: says so, unless nothing is there
        headers = {
            **({"range": asked} if asked else {}),
            **({"if-match": f'"{if_match}"'} if if_match else {}),
        }
        reply = await self._connection.send("read", key, "GetObject", "GET", headers=headers)
        try:
            meta = meta_of(key, reply.headers)
            start, stop = span(wanted, meta.size)
            self._require_size(key, stop - start, reply.headers)
            meta = await self._tags.with_digest(meta)
        except BaseException:
            reply.close()
            raise

        async def close() -> None:
            reply.close()

        return Reading(meta, start, stop, body_of(reply, Asked("read", key, self._options)), close)

    def _require_size(self, key: Key, size: int, headers: Any) -> None:
        if headers.get("content-length") != str(size):
            raise self._error(Kind.UNEXPECTED, "read", key, "came in another range than asked for")

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        return await self._writer.write(key, source, mode, content_type)

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; what has no valid key, like the `folder/` that consoles make, is left out."""
        top = self._top(prefix)
        query = {} if deep else {"delimiter": "/"}
        query |= {} if after is None else {"start-after": self._connection.name(Key(after))}
        while True:
            page = await self._page(prefix, top, query)
            for found in page.entries:
                entry = self._entry(found, top)
                if entry is not None and (after is None or order(entry) > after):
                    yield entry
            if page.next is None:
                return
            query["continuation-token"] = page.next
            query.pop("start-after", None)

    async def _below(self, folder: Key, after: str, most: int) -> tuple[Sequence[ObjectMeta], str | None]:
        """So many objects below the folder, behind a key; the last one, where there are more."""
        top = self._top(folder)
        query = {"max-keys": str(most), "start-after": self._connection.name(Key(after))}
        page = await self._page(folder, top, query)
        entries = [self._entry(found, top) for found in page.entries]
        objects = [entry for entry in entries if isinstance(entry, ObjectMeta)]
        if page.next is None:
            return objects, None
        if not page.entries or isinstance(last := page.entries[-1], str):
            raise self._error(Kind.UNEXPECTED, "list", folder, "has more objects than are shown")
        return objects, names.below(Key(last.key), self._options.folder)

    async def _page(self, folder: Key, top: str, query: Mapping[str, str]) -> Page:
        asked = {"list-type": "2", "encoding-type": "url", "prefix": top, "max-keys": "1000", **query}
        data, _ = await self._connection.fetch(
            "list", folder, "ListObjectsV2", "GET", query=asked, bucket=True
        )
        return documents.page(data)

    def _top(self, folder: Key) -> str:
        """How the names of what lies in that folder begin."""
        top = self._connection.name(folder)
        return f"{top}/" if top else ""

    def _entry(self, found: Found | str, top: str) -> Entry | None:
        name = found if isinstance(found, str) else found.key
        if not name.startswith(top) or name == top:
            return None
        try:
            key = names.parse(
                names.below(Key(name), self._options.folder).removesuffix("/" * isinstance(found, str))
            )
        except StoreError:
            return None
        if not key:  # of `folder//name` and `/name`
            return None
        if isinstance(found, str):
            return Prefix(key)
        return ObjectMeta(key, found.size, found.modified, found.etag)

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; a thousand at a time, whose failures are looked at one by one."""
        failures: list[StoreError] = []
        for start in range(0, len(keys), DELETE_BATCH):
            batch = keys[start : start + DELETE_BATCH]
            failures += await self._delete_many(batch)
        if failures:
            raise failures[0]

    async def _delete_one(self, key: Key) -> Sequence[StoreError]:
        try:
            await self._connection.fetch("delete", key, "DeleteObject", "DELETE")
        except NotFound:
            return []
        except StoreError as error:
            return [error]
        return []

    async def _delete_many(self, keys: Sequence[Key]) -> Sequence[StoreError]:
        """What Ceph can't delete because others do (UnknownError) is deleted once more on its own."""
        batch = {self._connection.name(key): key for key in keys if self._require_key(key)}
        body = documents.deletion(batch)
        piece = Piece([body], len(body))
        data, _ = await self._connection.fetch(
            "delete", keys[0], "DeleteObjects", "POST", query={"delete": ""},
            headers={"content-md5": await piece.md5()}, body=piece, bucket=True,
        )  # fmt: skip
        failures: list[StoreError] = []
        for fault in documents.failures(data):
            key = batch.get(fault.key, Key(fault.key))
            if fault.code == "UnknownError":
                failures += await self._delete_one(key)
            elif fault.code != "NoSuchKey":
                failures.append(Asked("delete", key, self._options).replied(0, fault, {}))
        return failures

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store; copied one by one, then deleted together."""
        copied, failures = list[Key](), list[StoreError]()
        for key, target in moves:
            try:
                if await self._copier.copied(key, target):
                    copied.append(key)
            except StoreError as error:
                failures.append(error)
        await self.delete(copied)
        if failures:
            raise failures[0]

    def _require_key(self, key: Key) -> bool:
        if not key:
            raise self._error(Kind.INVALID_KEY, "delete", key, "has no key: name an artifact")
        return True

    async def close(self) -> None:
        """See Store."""
        await self._uploads.close()
        await self._connection.close()

    def _error(self, kind: Kind, op: str, key: Key, what: str) -> StoreError:
        return Asked(op, key, self._options).error(kind, what)


def _signs(account: Account) -> bool:
    extra = account.extra
    return account.options.signature != "unsigned" and not extra.private and not extra.locked


def _range(wanted: ByteRange) -> str | None:
    """The header that asks for it; "" for all; None where it names no byte of any object."""
    match wanted:
        case From(0):
            return ""
        case From(start):
            return f"bytes={start}-"
        case FromTo(start, stop):
            return f"bytes={start}-{stop - 1}" if 0 <= start < stop else None
        case Last(count):
            return f"bytes=-{count}" if count > 0 else None
