"""RemoteStore: the verbs of a server."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.store import Batches, StoreInfo, Uploads
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
    FromTo,
    IfMatch,
    Move,
    ObjectMeta,
    Reading,
    UploadStyle,
    WriteMode,
    span,
)
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.http.credentials import Headers
from shoso.http.options import SILENCE, HttpOptions
from shoso.http.ranges import range_header
from shoso.http.session import FAILURES, Reply, Session, elsewhere
from shoso.stores.remote.batches import RemoteBatches
from shoso.stores.remote.body import DigestedBody
from shoso.stores.remote.direct import FROM, Direct
from shoso.stores.remote.entries import seen
from shoso.stores.remote.uploads import RemoteUploads
from shoso.wire import objects
from shoso.wire.entities import encode
from shoso.wire.faults import KIND_HEADER, FaultReply, kind_of
from shoso.wire.objects import DIGEST_HEADER, MODIFIED_HEADER

T = TypeVar("T")

PAGE = 10_000


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """The server's address, with its static prefix; `silence` in seconds without a byte."""

    uri: str = field(repr=False)
    connections: int = 32
    silence: float | None = SILENCE
    http: HttpOptions = field(default_factory=HttpOptions)


class RemoteStore:
    """The artifacts destination of a Shoso server."""

    listings = None
    signer = None

    def __init__(self, options: RemoteOptions) -> None:
        self._session = Session(
            shown(options.uri), options.uri, options.http, options.silence, options.connections
        )
        scheme = self._session.name.partition(":")[0]
        self.info = StoreInfo(scheme, self._session.name, options.silence)
        # What this server's release has; `connect` asks the server itself.
        self.capabilities = Capabilities(connections=options.connections, move=True)
        self._options = options
        self._uploads = RemoteUploads(self)
        self._batches = RemoteBatches(self)
        self.direct = Direct(self, options.http, options.connections)

    @property
    def uploads(self) -> Uploads:
        """Objects in parts."""
        return self._uploads

    @property
    def batches(self) -> Batches:
        """Many small objects in one request."""
        return self._batches

    async def connect(self) -> None:
        """Ask the server what its store can do; until then, what every Shoso server can is assumed."""
        self.learn(await self.ask("capabilities", "", "GET", "capabilities", objects.CapabilitiesReply))

    def learn(self, can: objects.CapabilitiesReply) -> None:
        """Take in what the server has said it can do."""
        self.direct.offered = can.direct
        fields = {name: getattr(can, name) for name in can.__struct_fields__ if name != "direct"}
        fields["uploads"] = UploadStyle(can.uploads)
        fields["digests"] = Digests(can.digests)
        self.capabilities = Capabilities(**fields, connections=self._options.connections)

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        async with self.request("stat", key, "HEAD", f"objects/{_quoted(key)}") as reply:
            return self._meta("stat", key, reply)

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store; a large one straight from the storage, where that can be reached."""
        reading = await self.direct.read(key, wanted, if_match) or await self._read(key, wanted, if_match)
        if reading.size < FROM or isinstance(wanted, FromTo):
            return reading
        known = FromTo(reading.start, reading.stop)
        if (better := await self.direct.read(key, known, reading.meta.etag)) is None:
            return reading
        await reading.close()
        return better

    async def _read(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        headers = {**range_header(wanted), **({"if-match": f'"{if_match}"'} if if_match else {})}
        reply = await self._send("read", key, "GET", f"objects/{_quoted(key)}", headers=headers)
        try:
            meta = self._meta("read", key, reply)
            start, stop = span(wanted, meta.size)
            self._require_span(key, stop - start, reply)
        except BaseException:
            reply.close()
            raise

        async def close() -> None:
            reply.close()

        return Reading(meta, start, stop, self.body("read", key, reply), close)

    def _require_span(self, key: Key, size: int, reply: Reply) -> None:
        if reply.headers.get("content-length") != str(size):
            raise self.error(Kind.UNEXPECTED, "read", key, "The server sent another range than asked for.")

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        body = DigestedBody(key, source)
        headers = {**body.headers(), **_mode_header(mode)}
        if content_type:
            headers["content-type"] = content_type
        path = f"objects/{_quoted(key)}"
        async with self.request("write", key, "PUT", path, headers=headers, body=body) as reply:
            return self._meta("write", key, reply, size=body.digester.size)

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; a page a request."""
        while True:
            query = {"prefix": prefix, "deep": str(deep).lower(), "limit": str(PAGE)}
            if after is not None:
                query["after"] = after
            page = await self.ask("list", prefix, "GET", "objects", objects.ObjectPage, query=query)
            for entry in page.entries:
                yield seen(entry)
            if page.after is None:
                return
            if after is not None and page.after <= after:
                message = f"'{self.info.name}' lists in circles; check what stands between."
                raise self.error(Kind.UNEXPECTED, "list", prefix, message)
            after = page.after

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store."""
        if keys:
            asked = objects.DeleteObjects([*keys])
            await self.ask("delete", keys[0], "POST", "delete", dict[str, Any], asked)

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store."""
        if moves:
            asked = objects.MoveObjects([objects.MoveObject(key, target) for key, target in moves])
            moved = await self.ask("move", moves[0][0], "POST", "move", objects.Moved, asked)
            if (failure := moved.failure) is not None:
                raise self.told(kind_of(0, failure.kind), "move", Key(failure.key), failure.message)

    async def close(self) -> None:
        """See Store."""
        await self.direct.close()
        await self._session.close()

    # -- HTTP ---------------------------------------------------------------------------------------------

    async def ask(
        self,
        op: str,
        key: str,
        method: str,
        path: str,
        shape: type[T],
        request: object = None,
        query: Mapping[str, str] | None = None,
    ) -> T:
        """A call of JSON for JSON."""
        body = None if request is None else encode(request)
        headers = {"content-type": "application/json"} if body is not None else {}
        async with self.request(op, Key(key), method, path, query=query, headers=headers, body=body) as reply:
            return await self.decoded(op, Key(key), reply, shape)

    async def decoded(self, op: str, key: Key, reply: Reply, shape: type[T]) -> T:
        """The JSON of a reply. Raises StoreError."""
        try:
            return msgspec.json.decode(await reply.read(), type=shape)
        except (*FAILURES, msgspec.MsgspecError) as error:
            raise self._translate(error, op, key) from error

    @asynccontextmanager
    async def request(self, op: str, key: Key, method: str, path: str, **more: Any) -> AsyncIterator[Reply]:
        """A call whose reply is open, and a success; see `_send`. Raises StoreError."""
        reply = await self._send(op, key, method, path, **more)
        try:
            yield reply
        finally:
            reply.release()

    async def _send(
        self,
        op: str,
        key: Key,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Headers | None = None,
        body: bytes | AsyncIterable[bytes] | None = None,
    ) -> Reply:
        url = self._session.url(f"{objects.ROOT}/{path}", query)
        try:
            reply = await self._session.send(method, url, headers, body)
        except FAILURES as error:
            raise getattr(body, "failure", None) or self._translate(error, op, key) from error
        if reply.status >= 300:
            async with reply:
                raise await self._refused(reply, op, key)
        return reply

    def _meta(self, op: str, key: Key, reply: Reply, size: int | None = None) -> ObjectMeta:
        try:
            return _meta(key, reply.headers, size)
        except (KeyError, ValueError) as error:
            raise self._translate(error, op, key) from error

    def error(self, kind: Kind, op: str, key: Key, message: str, retry: Retry = Retry.NEVER) -> StoreError:
        """The error in this store's name."""
        return store_error(kind, message, retry=retry, op=op, key=key, store=self.info.name)

    async def body(self, op: str, key: Key, reply: Reply) -> AsyncIterator[Buffer]:
        """The bytes of a reply, as they come. Raises StoreError."""
        try:
            async for data in reply.content.iter_any():
                yield data
        except FAILURES as error:
            raise self._translate(error, op, key) from error

    async def _refused(self, reply: Reply, op: str, key: Key) -> StoreError:
        kind = kind_of(reply.status, reply.headers.get(KIND_HEADER))
        try:
            message = msgspec.json.decode(await reply.read(), type=FaultReply).message
        except (*FAILURES, msgspec.MsgspecError):
            message = f"{self.info.name} answered {reply.status} to {op} '{key}'.{elsewhere(reply)}"
            if kind is Kind.NOT_FOUND and KIND_HEADER in reply.headers:  # to HEAD there is no sentence
                message = f"'{key}' is not there."
        error = self.told(kind, op, key, message)
        if error.retry is Retry.SOON and (wait := self._session.asked_for(reply)):
            error.retry, error.retry_after = Retry.AFTER, wait
        return error

    def told(self, kind: Kind, op: str, key: Key, message: str) -> StoreError:
        """An error of the server's in this store's name."""
        return self.error(kind, op, key, message, _RETRIED.get(kind, Retry.NEVER))

    def _translate(self, error: Exception, op: str, key: Key) -> StoreError:
        if isinstance(error, StoreError):
            return error
        if not isinstance(error, FAILURES):
            what = f"{type(error).__name__}: {error}"
            return self.error(Kind.UNEXPECTED, op, key, f"{self.info.name} is no Shoso server ({what}).")
        kind, message = self._session.explained(error)
        retry = _RETRIED.get(kind, Retry.NEVER)
        return self.error(kind, op, key, f"{message} ({op} '{key}').", retry)


_RETRIED = {Kind.THROTTLED: Retry.SOON, Kind.UNAVAILABLE: Retry.SOON, Kind.TIMEOUT: Retry.SOON}


def _quoted(key: Key) -> str:
    return quote(key, safe="/")


def _mode_header(mode: WriteMode) -> Headers:
    if isinstance(mode, IfMatch):
        return {"if-match": f'"{mode.etag}"'}
    return {"if-none-match": "*"} if mode is CREATE else {}


def _meta(key: Key, headers: Mapping[str, str], size: int | None) -> ObjectMeta:
    if size is None:
        whole = headers.get("content-range", "").rpartition("/")[2]
        size = int(whole or headers["content-length"])
    etag = headers.get("etag", "").strip('"') or None
    modified = float(headers.get(MODIFIED_HEADER, 0))
    return ObjectMeta(key, size, modified, etag, headers.get(DIGEST_HEADER), headers.get("content-type"))
