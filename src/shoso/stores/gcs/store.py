"""store: the verbs on a folder of a bucket. Keys are relative to the folder, names are the bucket's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import aiohttp

from shoso.core.keys import Key
from shoso.core.store import Signer, StoreInfo, Uploads
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
    From,
    FromTo,
    IfMatch,
    Last,
    Move,
    ObjectMeta,
    Prefix,
    Reading,
    UploadRef,
    WriteMode,
    span,
)
from shoso.errors import Kind, StoreError
from shoso.stores.files.names import reserved, visible
from shoso.stores.gcs import SILENCE
from shoso.stores.gcs.access import Access
from shoso.stores.gcs.api import DIGEST, FAILURES, FIELDS, PUBLIC, Api, Item, Page, endpoint_of
from shoso.stores.gcs.faults import Translator
from shoso.stores.gcs.moving import Mover
from shoso.stores.gcs.pieces import Sums
from shoso.stores.gcs.sending import Target, send
from shoso.stores.gcs.signer import GcsSigner
from shoso.stores.gcs.uploads import GcsUploads

PAGE = 1000
LISTED = f"items({FIELDS}),prefixes,nextPageToken"

AT_ONCE = 32
"""Requests that one call may have under way, of all calls together: deletes, and parts being joined."""

LONGEST_NAME = 1024
"""Bytes in the name of an object."""

NO_GENERATION = 1
"""A generation that no object ever has; 0 would say that there is none."""


@dataclass(frozen=True, slots=True)
class GcsOptions:
    """The bucket and the folder in it; the rest as in SETTINGS."""

    bucket: str
    folder: str = ""
    silence: float | None = SILENCE
    upload_chunk: int | None = None
    download_chunk: int | None = None
    credentials: str = field(default="", repr=False)
    quota_project: str = ""
    emulator: str = ""
    public_endpoint: str = ""


class GcsStore:
    """Objects of a bucket below a folder."""

    batches = None
    listings = None

    capabilities = Capabilities(digests=Digests.WRITTEN, move=True)

    def __init__(self, options: GcsOptions) -> None:
        endpoint = endpoint_of(options.emulator)
        name = f"gs://{options.bucket}" + (f"/{options.folder}" if options.folder else "")
        own = "" if endpoint == PUBLIC else endpoint
        self.info = StoreInfo("gs", name, options.silence, own)
        self.faults = Translator(name, options.silence)
        self.turns = asyncio.Semaphore(AT_ONCE)
        access = Access(options.credentials, options.quota_project, emulated=bool(own))
        self.api = Api(options.bucket, endpoint, access, self.faults, options.silence)
        self._options = options
        self._root = f"{options.folder}/" if options.folder else ""
        self._uploads = GcsUploads(self)
        self._mover = Mover(self)
        self._signer = GcsSigner(self, options.public_endpoint or endpoint) if access.can_sign else None

    @property
    def uploads(self) -> Uploads:
        """Objects in parts."""
        return self._uploads

    @property
    def signer(self) -> Signer | None:
        """What signs requests, where the credentials can."""
        return self._signer

    # -- the verbs ----------------------------------------------------------------------------------------

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return (await self.item("stat", key)).meta(key)

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        if self._options.download_chunk is not None:
            return await self._read_by_chunks(key, wanted, if_match, self._options.download_chunk)
        meta, reply = await self._open(key, wanted, if_match)
        try:
            start, stop = span(wanted, meta.size)
            self._require_span(key, stop - start, reply)
        except BaseException:
            reply.close()
            raise

        async def close() -> None:
            reply.close()

        return Reading(meta, start, stop, self._body(meta, stop - start, reply), close)

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        target = Target(self.name("write", key), _generation(mode), content_type)
        try:
            item = await send(self.api, "write", key, target, source, self._options.upload_chunk)
        except StoreError as error:
            if mode is CREATE and error.kind is Kind.CHANGED:
                raise self.error(Kind.EXISTS, "write", key, "is there already") from error
            raise
        return item.meta(key)

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; a page a request. What no key can name isn't shown."""
        query = {"prefix": self.name("list", prefix, folder=True)}
        if not deep:
            query["delimiter"] = "/"
        if after is not None:
            query["startOffset"] = self._root + after
        async for page in self.pages("list", prefix, query):
            found: dict[str, Item | None] = {item.name: item for item in page.items}
            found.update(dict.fromkeys(page.prefixes))
            for name in sorted(found):
                place, item = name.removeprefix(self._root), found[name]
                key = Key(place if item else place[:-1])
                if (after is None or place > after) and key and visible("", key, item is None):
                    yield item.meta(key) if item else Prefix(key)

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; so many at once."""
        outcomes = await asyncio.gather(*map(self._delete, dict.fromkeys(keys)), return_exceptions=True)
        failures = [outcome for outcome in outcomes if outcome is not None]
        for failure in failures:
            raise failure if len(failures) == 1 else self._several(failures, failure)

    async def _delete(self, key: Key) -> None:
        await self.remove("delete", key, self.name("delete", key))

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store; one after another."""
        failures: list[StoreError] = []
        for key, target in moves:
            try:
                await self._mover.move(key, target)
            except StoreError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def close(self) -> None:
        """See Store."""
        await self.api.close()

    # -- for uploads and signer ---------------------------------------------------------------------------

    @property
    def upload_chunk(self) -> int | None:
        """The most bytes in a request."""
        return self._options.upload_chunk

    def part_name(self, ref: UploadRef, number: int) -> str:
        """The name of the object that is a part."""
        return self._uploads.part_name(ref, number)

    # -- objects by their names ---------------------------------------------------------------------------

    def name(self, op: str, key: Key, folder: bool = False) -> str:
        """The object's name, or what the names of all in that folder begin with. Raises INVALID_KEY."""
        if reserved(key):
            raise self.error(Kind.INVALID_KEY, op, key, "is a name that the store keeps for itself")
        name = self.own(key)
        if len(name.encode()) > LONGEST_NAME:
            raise self.error(Kind.INVALID_KEY, op, key, "is longer than the 1,024 bytes that a name may have")
        return f"{name}/" if folder and key else name

    def own(self, place: str) -> str:
        """The name of what the store keeps for itself."""
        return self._root + place

    async def item(self, op: str, key: Key, name: str = "") -> Item:
        """What is known of an object. Raises NOT_FOUND."""
        url = self.api.objects(name or self.name(op, key))
        return await self.api.ask(Item, op, key, "GET", url, {"fields": FIELDS})

    async def pages(self, op: str, key: Key, query: dict[str, str]) -> AsyncIterator[Page]:
        """A listing, page by page."""
        query = {**query, "maxResults": str(PAGE), "fields": LISTED}
        while True:
            page = await self.api.ask(Page, op, key, "GET", self.api.objects(), query)
            yield page
            if not page.next_page_token:
                return
            query["pageToken"] = page.next_page_token

    async def remove(self, op: str, key: Key, name: str, generation: int | None = None) -> None:
        """Remove an object, of that generation if it's given (raises CHANGED); missing is fine."""
        query = {} if generation is None else {"ifGenerationMatch": str(generation)}
        async with self.turns:
            try:
                await self.api.ask(object, op, key, "DELETE", self.api.objects(name), query)
            except StoreError as error:
                if error.kind is not Kind.NOT_FOUND:
                    raise

    # -- reading ------------------------------------------------------------------------------------------

    async def _open(
        self, key: Key, wanted: ByteRange, if_match: str | None
    ) -> tuple[ObjectMeta, aiohttp.ClientResponse]:
        """What is read, and a reply whose body are its bytes. Raises NOT_FOUND, CHANGED, RANGE."""
        query = {"alt": "media"}
        if if_match is not None:
            query["ifGenerationMatch"] = str(_number(if_match))
        url = self.api.objects(self.name("read", key), root="download/storage/v1")
        try:
            # Without gzip, what is stored as gzip would come unpacked, in other bytes than were put.
            headers = {**_range_header(wanted), "accept-encoding": "gzip"}
            reply = await self.api.send("read", key, "GET", url, query, headers)
        except StoreError as error:
            if error.kind is Kind.CHANGED:
                await self.stat(key)  # raises NOT_FOUND, where it isn't that it has changed
            raise
        try:
            meta = _meta(key, reply)
        except FAILURES as error:
            reply.close()
            raise self.faults.failed(error, "read", key) from error
        if if_match is not None and if_match != meta.etag:  # an emulator may not look at the condition
            reply.close()
            raise self.error(Kind.CHANGED, "read", key, "has changed since")
        return meta, reply

    async def _body(
        self, meta: ObjectMeta, size: int, reply: aiohttp.ClientResponse
    ) -> AsyncIterator[Buffer]:
        """The bytes; of a whole object without a digest the last come only when the CRC32C is right."""
        sums = Sums() if size == meta.size and meta.digest is None else None
        seen = 0
        try:
            async for data in reply.content.iter_any():
                seen += len(data)
                if sums is not None:
                    await sums.take([data], len(data))
                    if seen >= size:
                        self._compare(meta, sums, reply)
                yield data
        except FAILURES as error:
            raise self.faults.failed(error, "read", meta.key) from error

    def _compare(self, meta: ObjectMeta, sums: Sums, reply: aiohttp.ClientResponse) -> None:
        hashes = dict(
            part.strip().split("=", 1)
            for part in ",".join(reply.headers.getall("x-goog-hash", ())).split(",")
            if "=" in part
        )
        if hashes.get("crc32c", sums.crc32c) != sums.crc32c:
            message = f"'{meta.key}' came damaged from {self.info.name}; read it again."
            raise self.faults.error(Kind.CORRUPT, "read", meta.key, message)

    async def _read_by_chunks(self, key: Key, wanted: ByteRange, if_match: str | None, most: int) -> Reading:
        """The same in requests of at most so many bytes, all of one generation."""
        meta = await self.stat(key)
        if if_match is not None and if_match != meta.etag:
            raise self.error(Kind.CHANGED, "read", key, "has changed since")
        start, stop = span(wanted, meta.size)

        async def body() -> AsyncIterator[Buffer]:
            for place in range(start, stop, most):
                _, reply = await self._open(key, FromTo(place, min(stop, place + most)), meta.etag)
                async with reply:
                    async for data in self._body(meta, min(stop, place + most) - place, reply):
                        yield data

        return Reading(meta, start, stop, body())

    def _require_span(self, key: Key, size: int, reply: aiohttp.ClientResponse) -> None:
        if reply.headers.get("content-length") != str(size):
            raise self.error(Kind.UNEXPECTED, "read", key, "came in another range than it was asked for")

    # -- errors -------------------------------------------------------------------------------------------

    def error(self, kind: Kind, op: str, key: Key, what: str) -> StoreError:
        """The error in this store's name."""
        return self.faults.error(kind, op, key, f"'{key}' {what}.")

    def _several(self, failures: Sequence[BaseException], first: BaseException) -> BaseException:
        if not isinstance(first, StoreError):
            return first
        message = f"{len(failures)} objects couldn't be deleted, the first: {first.message}"
        key, after = Key(first.key), first.retry_after
        return self.faults.error(first.kind, "delete", key, message, first.retry, after)


def _number(etag: str) -> int:
    """The generation that an etag is."""
    return int(etag) if etag.isdecimal() and etag.isascii() and int(etag) else NO_GENERATION


def _generation(mode: WriteMode) -> int | None:
    """The generation that must be there."""
    if isinstance(mode, IfMatch):
        return _number(mode.etag)
    return 0 if mode is CREATE else None


def _range_header(wanted: ByteRange) -> dict[str, str]:
    """The header; none for a range that names no byte, for the size then says so."""
    match wanted:
        case From(start) if start > 0:
            return {"range": f"bytes={start}-"}
        case FromTo(start, stop) if start < stop:
            return {"range": f"bytes={start}-{stop - 1}"}
        case Last(count) if count > 0:
            return {"range": f"bytes=-{count}"}
    return {}


def _meta(key: Key, reply: aiohttp.ClientResponse) -> ObjectMeta:
    """What the headers of a download say. Raises KeyError, ValueError."""
    headers = reply.headers
    whole = headers.get("content-range", "").rpartition("/")[2]
    modified = parsedate_to_datetime(headers["last-modified"]).timestamp()
    return ObjectMeta(
        key,
        int(whole or headers["content-length"]),
        modified,
        str(int(headers["x-goog-generation"])),
        headers.get(f"x-goog-meta-{DIGEST}"),
        headers.get("content-type"),
    )
