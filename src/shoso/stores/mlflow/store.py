"""The store: MLflow's proxy routes, and the sizes that only its listings know for sure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime

from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.store import StoreInfo, Uploads, order
from shoso.core.streams import Source, closing
from shoso.core.types import (
    ALL,
    OVERWRITE,
    Buffer,
    ByteRange,
    Capabilities,
    Digests,
    Entry,
    FromTo,
    Last,
    Move,
    ObjectMeta,
    Prefix,
    Reading,
    UploadStyle,
    WriteMode,
    span,
)
from shoso.errors import Kind, Retry, StoreError
from shoso.http.body import Body
from shoso.http.options import SILENCE, HttpOptions
from shoso.http.ranges import range_header, sent
from shoso.http.session import FAILURES, Reply, Session
from shoso.stores.files.errors import several
from shoso.stores.mlflow import names
from shoso.stores.mlflow.calls import Calls
from shoso.stores.mlflow.listing import Listing
from shoso.stores.mlflow.uploads import NoUploads
from shoso.stores.mlflow.walk import Walk

AT_ONCE = 8
"""Calls under way at once, in one delete of many objects."""

_SAYS_NOTHING = {Kind.INVALID_KEY, Kind.UNEXPECTED}
"""MLflow answers 400 or 500 for a folder, a file in a folder's place, and what its storage doesn't have."""


@dataclass(frozen=True, slots=True)
class MlflowOptions:
    """The server's address, with its static prefix; `silence` in seconds without a byte."""

    uri: str = field(repr=False)
    connections: int = 16
    silence: float | None = SILENCE
    http: HttpOptions = field(default_factory=HttpOptions)


class MlflowStore:
    """The artifacts behind a plain MLflow server."""

    batches = None
    listings = None
    signer = None

    def __init__(self, options: MlflowOptions) -> None:
        self._session = Session(
            shown(options.uri), options.uri, options.http, options.silence, options.connections
        )
        self._calls = Calls(self._session)
        self._listing = Listing(self._calls)
        scheme = self._session.name.partition(":")[0]
        self.info = StoreInfo(scheme, self._calls.name, options.silence)
        self.capabilities = Capabilities(
            create=False,
            if_match=False,
            ranges=False,
            uploads=UploadStyle.NONE,
            bulk_delete=100,
            connections=options.connections,
            digests=Digests.NONE,
        )
        self._uploads = NoUploads(self._calls.name)

    @property
    def uploads(self) -> Uploads:
        """None that work."""
        return self._uploads

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store; its folder's listing says it, for HEAD makes the server fetch the whole object."""
        self._calls.require("stat", key)
        found = await self._listing.entry(key)
        if isinstance(found, ObjectMeta):
            return found
        raise self._absent("stat", key)

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store; a server that sends the whole for a range is read past what is before it."""
        self._calls.require("read", key)
        self._require_bytes(key, wanted)
        try:
            reply = await self._calls.send("read", key, "GET", names.path(key), headers=range_header(wanted))
        except StoreError as error:
            await self._look_for_what_is_read(error, key)
            raise
        try:
            self._learn(reply)
            return await self._reading(key, wanted, if_match, reply)
        except BaseException:
            reply.close()
            raise

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        self._calls.require("write", key)
        if mode is not OVERWRITE:
            raise self._calls.error(
                Kind.UNSUPPORTED, "write", key, f"{self.info.name} takes no condition with a write."
            )
        body = Body(key, source)
        headers = {"content-type": content_type or "application/octet-stream", **body.headers()}
        try:
            async with self._calls.done("write", key, "PUT", names.path(key), headers=headers, body=body):
                return ObjectMeta(key, body.digester.size, 0.0, content_type=content_type)
        except StoreError as error:
            await self._look_for_what_is_in_the_way(error, key)
            raise

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; a folder a request."""
        if not deep:
            for entry in await self._listing.level(prefix):
                if after is None or order(entry) > after:
                    yield entry
            return
        walk = Walk(self._listing.level, after)
        try:
            async with closing(walk.objects(prefix)) as found:
                async for each in found:
                    yield each
        finally:
            await walk.close()

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; the server would delete a folder with all that is in it, so it's looked at first."""
        for key in keys:
            self._calls.require("delete", key)
        permits = asyncio.Semaphore(AT_ONCE)
        there = await self._listing.objects_among(keys)
        outcomes = await asyncio.gather(*(self._delete(key, permits) for key in there))
        if failures := [error for error in outcomes if error is not None]:
            raise several(failures, self.info.name)

    async def _delete(self, key: Key, permits: asyncio.Semaphore) -> StoreError | None:
        try:
            async with permits, self._calls.done("delete", key, "DELETE", names.path(key)):
                return None
        except StoreError as error:
            gone = error.kind is Kind.UNEXPECTED and await self._listing.entry(key) is None
            return None if gone else error  # others had deleted it meanwhile

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store; a plain MLflow server has no call for it."""
        if moves:
            message = f"{self.info.name} is no Shoso server: '{moves[0][0]}' can't be moved there."
            raise self._calls.error(Kind.UNSUPPORTED, "move", moves[0][0], message)

    async def close(self) -> None:
        """See Store."""
        await self._session.close()

    # -- reading ------------------------------------------------------------------------------------------

    async def _reading(self, key: Key, wanted: ByteRange, if_match: str | None, reply: Reply) -> Reading:
        etag = reply.headers.get("etag", "").removeprefix("W/").strip('"') or None
        if if_match is not None and etag != if_match:
            raise self._calls.error(Kind.CHANGED, "read", key, f"'{key}' is another than {if_match!r}.")
        start, stop, size = await self._extent(key, wanted, reply)
        kind = reply.headers.get("content-type")
        meta = ObjectMeta(key, size, _modified(reply), etag, content_type=kind)

        async def close() -> None:
            reply.close()

        skip = 0 if reply.status == 206 else start
        body = self._body(key, reply, skip, stop - start, ends=reply.status == 206 or stop == size)
        return Reading(meta, start, stop, body, close)

    async def _extent(self, key: Key, wanted: ByteRange, reply: Reply) -> tuple[int, int, int]:
        """(start, stop, size of the object) of what is to be handed on."""
        try:
            if reply.status != 206:
                size = await self._size(key, reply)
                return (*span(wanted, size), size)
            start, stop, size = sent(reply.headers)
        except ValueError as error:
            raise self._calls.foreign(error, "read", key) from error
        if (start, stop) != span(wanted, size):
            raise self._calls.foreign(ValueError("another range than asked for"), "read", key)
        return start, stop, size

    async def _size(self, key: Key, reply: Reply) -> int:
        """Bytes of the whole object that was sent, or will be."""
        announced = reply.headers.get("content-length")
        return (await self.stat(key)).size if announced is None else int(announced)

    async def _body(
        self, key: Key, reply: Reply, skip: int, left: int, *, ends: bool
    ) -> AsyncIterator[Buffer]:
        """`left` bytes behind the first `skip`; they are the last ones where it `ends` with them."""
        try:
            async for data in reply.content.iter_any():
                piece = memoryview(data)[skip:]
                skip = max(0, skip - len(data))
                if len(piece) > left and ends:
                    raise self._calls.error(Kind.CHANGED, "read", key, f"'{key}' grew while it was read.")
                piece = piece[:left]
                left -= len(piece)
                if piece:
                    yield piece
                if not left and not ends:
                    return
        except FAILURES as error:
            raise self._calls.failed(error, "read", key) from error
        if left:
            message = f"{self.info.name} ended '{key}' {left} bytes early."
            raise self._calls.error(Kind.UNAVAILABLE, "read", key, message, Retry.SOON)

    def _learn(self, reply: Reply) -> None:
        """Whether ranges are served: as far as it has shown."""
        serves = reply.status == 206 or reply.headers.get("accept-ranges") == "bytes"
        if serves != self.capabilities.ranges:
            self.capabilities = replace(self.capabilities, ranges=serves)

    # -- errors -------------------------------------------------------------------------------------------

    def _require_bytes(self, key: Key, wanted: ByteRange) -> None:
        """Refuse what names no byte and has no form in a header."""
        if (isinstance(wanted, FromTo) and wanted.start >= wanted.stop) or wanted == Last(0):
            raise self._calls.error(Kind.RANGE, "read", key, f"The range {wanted} names no byte.")

    async def _look_for_what_is_read(self, error: StoreError, key: Key) -> None:
        """After an error that says nothing: raise NOT_FOUND where there is no such object."""
        if error.kind in _SAYS_NOTHING and not isinstance(await self._listing.entry(key), ObjectMeta):
            raise self._absent("read", key) from error

    async def _look_for_what_is_in_the_way(self, error: StoreError, key: Key) -> None:
        """After an error that says nothing: raise EXISTS where a folder is there, or a file above."""
        if error.kind not in _SAYS_NOTHING:
            return
        if isinstance(await self._listing.entry(key), Prefix):
            raise self._calls.error(Kind.EXISTS, "write", key, f"'{key}' is a folder.") from error
        if above := await self._listing.file_above(key):
            message = f"'{key}' can't be written: '{above}' is a file."
            raise self._calls.error(Kind.EXISTS, "write", key, message) from error

    def _absent(self, op: str, key: Key) -> StoreError:
        return self._calls.error(Kind.NOT_FOUND, op, key, f"There is no artifact '{key}'.")


def _modified(reply: Reply) -> float:
    """When the object was written, in seconds; 0 where the server doesn't say."""
    try:
        return parsedate_to_datetime(reply.headers.get("last-modified", "")).timestamp()
    except ValueError:
        return 0.0
