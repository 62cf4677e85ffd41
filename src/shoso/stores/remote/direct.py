"""direct: large reads and parts of uploads go straight to the storage, by requests that the server signs.

Only where that gains something and costs nothing: the server says that it signs, the storage answers from
here (`hosts`), the bytes are those of the object that the server speaks of. In any other case the transfer
goes through the server, as it would without all this, and what is wrong is said there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from yarl import URL

from shoso.core.keys import Key
from shoso.core.streams import Source
from shoso.core.types import Buffer, ByteRange, FromTo, ObjectMeta, Part, Reading, UploadRef, span
from shoso.errors import Kind, Retry, StoreError
from shoso.http.options import HttpOptions
from shoso.http.session import FAILURES, Reply
from shoso.stores.remote.entries import seen
from shoso.stores.remote.hosts import Host, Hosts
from shoso.stores.remote.parcel import Parcel, bare
from shoso.wire import objects

if TYPE_CHECKING:
    from shoso.stores.remote.store import RemoteStore

FROM = 8 * 1024 * 1024
"""Bytes from which the way straight to the storage is worth the question."""


class Direct:
    """A server's direct transfers. `offered`: whether it has any; None while nobody has asked."""

    def __init__(self, store: RemoteStore, http: HttpOptions, connections: int) -> None:
        self.offered: bool | None = None
        self._store = store
        self._hosts = Hosts(store.info.name, http, connections)

    async def read(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading | None:
        """A large range of the object, from the storage; None where it is to come through the server."""
        if not isinstance(wanted, FromTo) or wanted.stop - wanted.start < FROM:
            return None
        signed = await self._signed(objects.SignObject(key))
        if signed is None or (meta := _described(signed)) is None or if_match not in {None, meta.etag}:
            return None
        try:
            start, stop = span(wanted, meta.size)
        except StoreError:
            return None
        return await self._fetched(signed, meta, start, stop)

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part | None:
        """The part as the storage has it; None where it is to go through the server, from its start.

        Raises what the source raises.
        """
        if not source.reopenable or (source.size or 0) < FROM:
            return None
        signed = await self._signed(objects.SignObject(ref.key, ref.id, number))
        if signed is None or (host := await self._reach(signed)) is None:
            return None
        parcel = Parcel(ref.key, source)
        try:
            reply = await parcel.send(host.session, signed)
        except FAILURES as error:
            host.failed(error)
            return None
        async with reply:
            part = parcel.part(number, reply)
        host.judge(part is not None, reply)
        return part

    async def close(self) -> None:
        """Cut off whatever is under way; may be called again."""
        await self._hosts.close()

    async def _signed(self, asked: objects.SignObject) -> objects.SignedObject | None:
        """The request for it; None where the server signs none, or says why not when it's asked itself."""
        key = Key(asked.key)
        try:
            if self.offered is None:
                can = await self._store.ask("sign", key, "GET", "capabilities", objects.CapabilitiesReply)
                self.offered = can.direct
            if self.offered:
                return await self._store.ask("sign", key, "POST", "sign", objects.SignedObject, asked)
        except StoreError as error:
            if error.kind is Kind.UNSUPPORTED:
                self.offered = False
        return None

    async def _reach(self, signed: objects.SignedObject) -> Host | None:
        """The storage; once it is out of reach, the server isn't asked to sign any more."""
        host = await self._hosts.reach(signed.url)
        self.offered = host is not None
        return host

    async def _fetched(
        self, signed: objects.SignedObject, meta: ObjectMeta, start: int, stop: int
    ) -> Reading | None:
        """The bytes from the storage, if they are of the version that the server knows."""
        if (host := await self._reach(signed)) is None:
            return None
        headers = {**signed.headers, "range": f"bytes={start}-{stop - 1}"}
        try:
            reply = await host.session.send(signed.method, URL(signed.url, encoded=True), headers)
        except FAILURES as error:
            host.failed(error)
            return None
        if not _fits(reply, meta, start, stop):
            reply.close()
            host.judge(False, reply)
            return None

        async def close() -> None:
            reply.close()

        return Reading(meta, start, stop, self._body(host, meta.key, reply), close)

    async def _body(self, host: Host, key: Key, reply: Reply) -> AsyncIterator[Buffer]:
        """The bytes as they come; who asks for the rest is sent the other way if this fails often."""
        try:
            async for data in reply.content.iter_any():
                yield data
        except FAILURES as error:
            why = host.failed(error)
            raise self._store.error(
                Kind.UNAVAILABLE, "read", key, f"{why} (read '{key}').", Retry.SOON
            ) from error
        host.judge(True, reply)


def _described(signed: objects.SignedObject) -> ObjectMeta | None:
    """The object of a read, if it can be told from another version of it."""
    entry = None if signed.object is None else seen(signed.object)
    return entry if isinstance(entry, ObjectMeta) and entry.etag else None


def _fits(reply: Reply, meta: ObjectMeta, start: int, stop: int) -> bool:
    """Whether the reply brings these bytes of this version, and nothing that has been packed."""
    headers = reply.headers
    if reply.status == 206:
        ranged = headers.get("content-range", "") == f"bytes {start}-{stop - 1}/{meta.size}"
    else:
        ranged = reply.status == 200 and (start, stop) == (0, meta.size)
    whole = headers.get("content-length") == str(stop - start) and "content-encoding" not in headers
    # Google's etags are of something else; what we call one is its generation.
    return ranged and whole and meta.etag in {bare(reply), headers.get("x-goog-generation")}
