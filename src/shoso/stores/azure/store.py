"""The store: the verbs of the contract, each one or a few requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import aiohttp

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import Signer, StoreInfo, Uploads, order
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
from shoso.errors import Kind, Retry, StoreError
from shoso.stores.azure import blocks
from shoso.stores.azure.client import CONNECTIONS, Client
from shoso.stores.azure.moving import Mover
from shoso.stores.azure.options import AzureOptions
from shoso.stores.azure.replies import Blob, Page, is_folder, meta_of, page
from shoso.stores.azure.signing import AzureSigner, Signatures
from shoso.stores.azure.uploads import PART_MAX, AzureUploads

OWN = ".shoso"
"""The folder at the root for uploads under way; no key reaches it, no listing shows it."""

_DELETES = 32
_GONE = frozenset({"BlobNotFound", "ResourceNotFound", "PathNotFound", "DirectoryIsNotEmpty"})
_TRIES = 5


class AzureStore:
    """Blobs below a folder of a container."""

    batches = None
    listings = None

    def __init__(self, options: AzureOptions) -> None:
        self.info = StoreInfo(
            options.scheme, options.name, options.silence, options.endpoint if options.own else ""
        )
        self.capabilities = Capabilities(
            part_max=PART_MAX,
            # With a hierarchical namespace, which dfs addresses are for, a folder sorts before its siblings.
            sorted_list=options.scheme == "wasbs",
            connections=CONNECTIONS,
            digests=Digests.WRITTEN,
            move=True,
        )
        self.client = Client(options)
        self._root = f"{options.folder}/" if options.folder else ""
        signatures = Signatures(self.client)
        self.parts = AzureUploads(self, signatures)
        self._mover = Mover(self, signatures)
        self._signer = AzureSigner(self, signatures) if signatures.possible else None

    @property
    def uploads(self) -> Uploads:
        """Objects in parts."""
        return self.parts

    @property
    def signer(self) -> Signer | None:
        """Signs with the account's key or an identity's; a signature itself can sign nothing."""
        return self._signer

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return self.meta("stat", key, await self.head("stat", key, self.name("stat", key)))

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        if (asked := _range(wanted)) is not None:
            return await self._version(key, wanted, asked, if_match)
        for _ in range(_TRIES):  # Azure takes no range from the end: its size is asked for first
            meta = await self.stat(key)
            start, stop = self._span(key, wanted, meta.size)
            try:
                return await self._version(key, wanted, f"bytes={start}-{stop - 1}", if_match or meta.etag)
            except StoreError as error:
                if error.kind is not Kind.CHANGED or if_match is not None:
                    raise
        sentence = "'{key}' in {name} changes too often to be read from its end"
        raise self.client.failures.error(Kind.CHANGED, "read", key, sentence, Retry.SOON)

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        name = self.name("write", key)
        return await blocks.write(self.client, "write", key, name, source, mode, content_type)

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store."""
        below = f"{prefix}/" if prefix else ""
        async for blob in self.blobs("list", prefix, below, deep):
            entry = self._entry(blob)
            if entry is not None and (after is None or order(entry) > after):
                yield entry

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; so many at a time."""
        places = [(key, self.name("delete", key)) for key in keys]
        await self.remove("delete", places)

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
        await self.client.close()

    # -- blobs by name ------------------------------------------------------------------------------------

    def name(self, op: str, key: Key) -> str:
        """The blob of a key. Raises INVALID_KEY for our own folder, and for what Azure would rename."""
        if key == OWN or key.startswith(f"{OWN}/"):
            sentence = f"'{{key}}' can't be written: {OWN} is kept for uploads under way"
            raise self.client.failures.error(Kind.INVALID_KEY, op, key, sentence)
        if "\\" in key:
            sentence = "'{key}' can't be kept in {name}: Azure takes a backslash for a slash; rename it"
            raise self.client.failures.error(Kind.INVALID_KEY, op, key, sentence)
        return self.own(key)

    def own(self, path: str) -> str:
        """The blob at a path below the root, whatever it is."""
        return self._root + path

    async def head(self, op: str, key: Key, name: str) -> Mapping[str, str]:
        """What Azure says of a blob. Raises NOT_FOUND."""
        async with self.client.request(op, key, "HEAD", self.client.url(name)) as reply:
            if is_folder(reply.headers):
                raise self.client.failures.refused(op, key, 404, {})
            return reply.headers

    async def blobs(
        self, op: str, key: Key, below: str, deep: bool, include: str = ""
    ) -> AsyncIterator[Blob]:
        """What lies below a path, in the order of keys, a page a request."""
        query = {"restype": "container", "comp": "list", "prefix": self.own(below), "marker": ""}
        query |= {"delimiter": "/"} if not deep else {}
        query |= {"include": include} if include else {}
        while True:
            sent = {name: value for name, value in query.items() if value}
            found, query["marker"] = await self._page(op, key, sent)
            for blob in sorted(found, key=_name):
                yield blob
            if not query["marker"]:
                return

    async def remove(self, op: str, places: Sequence[tuple[Key, str]]) -> None:
        """Delete blobs; missing is fine. All are tried before the first failure is raised."""
        waiting = iter(dict(places).items())
        outcomes = await asyncio.gather(*(self._remove(op, waiting) for _ in range(_DELETES)))
        for failure in filter(None, outcomes):
            raise failure

    async def remove_version(self, op: str, meta: ObjectMeta, name: str) -> None:
        """Delete a blob that is still this version; missing is fine. Raises CHANGED."""
        headers = {"if-match": f'"{meta.etag}"'}
        url = self.client.url(name)
        async with self.client.request(op, meta.key, "DELETE", url, headers=headers, forgiven=_GONE):
            pass

    def meta(self, op: str, key: Key, headers: Mapping[str, str]) -> ObjectMeta:
        """The object that a reply speaks of. Raises UNEXPECTED."""
        try:
            return meta_of(key, headers)
        except (KeyError, ValueError) as error:
            raise self.client.failures.stranger(op, key) from error

    async def _page(self, op: str, key: Key, query: dict[str, str]) -> Page:
        document = await self.client.text(op, key, "GET", self.client.url(""), query)
        try:
            return page(document)
        except (SyntaxError, ValueError) as error:  # ElementTree's ParseError is a SyntaxError
            raise self.client.failures.stranger(op, key) from error

    def _entry(self, blob: Blob) -> Entry | None:
        """What a listing shows; None for what no key reaches."""
        try:
            key = keys.parse(blob.name[len(self._root) :].removesuffix("/" if blob.folder else ""))
        except StoreError:
            return None
        if not key or key == OWN or key.startswith(f"{OWN}/"):
            return None
        return Prefix(key) if blob.folder else blob.meta(key)

    async def _remove(self, op: str, waiting: Iterator[tuple[Key, str]]) -> StoreError | None:
        """Delete what is waiting; the first failure."""
        failure: StoreError | None = None
        for key, name in waiting:
            try:
                async with self.client.request(op, key, "DELETE", self.client.url(name), forgiven=_GONE):
                    pass
            except StoreError as error:
                failure = failure or error
        return failure

    async def _version(self, key: Key, wanted: ByteRange, asked: str, if_match: str | None) -> Reading:
        """Read that version; what isn't there at all has not changed, but is missing."""
        try:
            return await self._read(key, wanted, asked, if_match)
        except StoreError as error:
            if error.kind is Kind.CHANGED:
                await self.head("read", key, self.name("read", key))
            raise

    async def _read(self, key: Key, wanted: ByteRange, asked: str, if_match: str | None) -> Reading:
        headers = {"range": asked} if asked else {}
        headers |= {"if-match": f'"{if_match}"'} if if_match else {}
        url = self.client.url(self.name("read", key))
        reply = await self.client.send("read", key, "GET", url, headers=headers)
        try:
            return self._reading(key, wanted, reply)
        except BaseException:
            reply.close()
            raise

    def _reading(self, key: Key, wanted: ByteRange, reply: aiohttp.ClientResponse) -> Reading:
        if is_folder(reply.headers):
            raise self.client.failures.refused("read", key, 404, {})
        meta = self.meta("read", key, reply.headers)
        start, stop = self._span(key, wanted, meta.size)
        if reply.headers.get("content-length") != str(stop - start):
            sentence = "{name} sent another range of '{key}' than was asked for"
            raise self.client.failures.error(Kind.UNEXPECTED, "read", key, sentence)

        async def close() -> None:
            reply.close()

        return Reading(meta, start, stop, self.client.body(key, reply), close)

    def _span(self, key: Key, wanted: ByteRange, size: int) -> tuple[int, int]:
        try:
            return span(wanted, size)
        except StoreError as error:
            raise self.client.failures.refused("read", key, 416, {}) from error


def _name(blob: Blob) -> str:
    return blob.name


def _range(wanted: ByteRange) -> str | None:
    """The Range header; None for one that Azure doesn't take."""
    match wanted:
        case From(0):
            return ""
        case From(start):
            return f"bytes={start}-"
        case FromTo(start, stop) if 0 <= start < stop:
            return f"bytes={start}-{stop - 1}"
        case FromTo() | Last():
            return None
