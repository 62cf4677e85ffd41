"""One request and its reply over ASGI, with as little between as they need."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from shoso.core.streams import closing
from shoso.core.types import Buffer, Reading
from shoso.errors import Kind, ShosoError, TrackingError
from shoso.wire.entities import encode
from shoso.wire.faults import FAULTS, KIND_HEADER, FaultReply

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON_TYPE: Header = (b"content-type", b"application/json")
TEXT_TYPE: Header = (b"content-type", b"text/plain; charset=utf-8")

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of a JSON body; a log-batch at all its limits has 3 MiB."""

SMALL = 9999
"""Bytes of a body that isn't worth a timer here; `protocol` bounds the time of such a request."""

FIELDS = 10_000
"""Fields in a query string."""

LATEST = 86_400
"""Seconds after which a client is told to ask again, at most; a storage may have said anything."""

ABORT = "shoso.abort"
"""The extension of ASGI by which `protocol` lets us drop a connection with all that was written to it."""

_LENGTH = re.compile(r"[0-9]{1,20}")


@dataclass(slots=True)
class Reply:
    """A reply that is all there; `length` announces the body that a HEAD leaves out."""

    status: int
    headers: list[Header]
    body: bytes = b""
    length: int | None = None


@dataclass(slots=True)
class StreamReply:
    """A reply whose body is read from a store while it's sent."""

    status: int
    headers: list[Header]
    reading: Reading


@dataclass(slots=True)
class FlowReply:
    """A reply whose body is made while it's sent: nobody knows its length before its end."""

    status: int
    headers: list[Header]
    body: AsyncIterator[Buffer]


AnyReply = Reply | StreamReply | FlowReply


class Disconnected(Exception):
    """The client has gone; there is nobody to reply to."""


@dataclass(slots=True)
class Exchange:
    """A request under way, and what the access log will say of it."""

    scope: Scope
    receive: Receive
    send: Send
    path: str
    silence: float
    route: str = "-"
    subject: dict[str, str] = field(default_factory=dict)
    received: int = 0
    sent: int = 0
    status: int = 0

    @property
    def method(self) -> str:
        """GET, POST, …"""
        return str(self.scope["method"])

    def header(self, name: bytes) -> str | None:
        """The first header of that (lower-case) name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return None

    @property
    def announced(self) -> int | None:
        """Bytes of the body by its Content-Length; None for a body in chunks."""
        length = self.header(b"content-length") or ""
        return int(length) if _LENGTH.fullmatch(length) else None

    def query(self) -> list[tuple[str, str]]:
        """The query string's pairs, in order."""
        text = str(self.scope["query_string"], "latin-1")
        try:
            return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
        except UnicodeDecodeError:
            raise TrackingError(Kind.INVALID, "The query string is not valid UTF-8.") from None
        except ValueError:
            message = f"The query string has more than {FIELDS} fields; send them in a body."
            raise TrackingError(Kind.INVALID, message) from None

    async def body(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body. Raises as `stream`, and TOO_LARGE over `limit` bytes."""
        if (self.announced or 0) > limit:
            raise _too_large(limit)
        parts = []
        more = True
        while more:
            data, more = await self._next()
            if self.received > limit:
                raise _too_large(limit)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises Disconnected, or INCOMPLETE when nothing comes for too long."""
        more = True
        while more:
            data, more = await self._next()
            if data:
                yield data

    async def _next(self) -> tuple[bytes, bool]:
        """The next bytes of the body, and whether there are more."""
        message = await self._message()
        if message["type"] == "http.disconnect":
            raise Disconnected
        data = message.get("body", b"")
        self.received += len(data)
        return data, message.get("more_body", False)

    async def _message(self) -> MutableMapping[str, Any]:
        length = self.header(b"content-length")
        if length is not None and len(length) <= len(str(SMALL)):
            # It came with its headers; a timer for each of these calls would be a twelfth of their cost.
            return await self.receive()
        try:
            async with asyncio.timeout(self.silence):
                return await self.receive()
        except TimeoutError:
            message = f"The request body stopped: no byte came for {self.silence:g} s. Send it again."
            raise TrackingError(Kind.INCOMPLETE, message) from None

    async def answer(self, reply: AnyReply, extra: list[Header]) -> None:
        """Send the reply with `extra` headers; a body that fails on the way is cut off, never padded."""
        self.status = reply.status
        headers = reply.headers + extra
        if isinstance(reply, StreamReply):
            headers.append((b"content-length", b"%d" % reply.reading.size))
            async with reply.reading as reading:
                await self._stream(reply.status, headers, reading.body, reading.size)
        elif isinstance(reply, FlowReply):
            async with closing(reply.body) as body:
                await self._stream(reply.status, headers, body, None)
        else:
            await self._send(reply, headers)

    async def _send(self, reply: Reply, headers: list[Header]) -> None:
        if reply.status != 304:
            length = len(reply.body) if reply.length is None else reply.length
            headers.append((b"content-length", b"%d" % length))
        await self.send({"type": "http.response.start", "status": reply.status, "headers": headers})
        body = b"" if self.method == "HEAD" else reply.body
        await self.send({"type": "http.response.body", "body": body})
        self.sent = len(body)

    async def _stream(
        self, status: int, headers: list[Header], body: AsyncIterator[Buffer], size: int | None
    ) -> None:
        # The first buffer is there before the headers go: what fails at once can still be said.
        first = b"" if self.method == "HEAD" else await anext(body, b"")
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        if self.method == "HEAD":
            size = 0
        await self._write(first, size)
        if size is None or self.sent < size:
            await self._write_rest(body, size)

    async def _write_rest(self, body: AsyncIterator[Buffer], size: int | None) -> None:
        """Send what's left while the client is there: a server is not told of its end by sending alone."""
        gone = asyncio.ensure_future(self._gone())
        try:
            async for data in body:
                if gone.done():
                    raise Disconnected
                await self._write(data, size)
            if size is None:
                await self._write(b"", self.sent)
        finally:
            gone.cancel()

    async def _gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def _write(self, data: Buffer, size: int | None) -> None:
        """Send the next bytes of `size` in all; of None, more will follow."""
        self.sent += len(data)
        more = size is None or self.sent < size
        try:
            async with asyncio.timeout(self.silence):
                await self.send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            # Nobody takes it: let go of the file and the permit, and of what waits in the connection.
            self.scope.get("extensions", {}).get(ABORT, int)()
            raise Disconnected from None


def _too_large(limit: int) -> TrackingError:
    return TrackingError(Kind.TOO_LARGE, f"The request body is larger than {limit >> 20} MiB.")


def json_reply(value: object, status: int = 200) -> Reply:
    """A struct as JSON."""
    return Reply(status, [JSON_TYPE], encode(value))


def text_reply(text: str, status: int = 200) -> Reply:
    """Plain text."""
    return Reply(status, [TEXT_TYPE], text.encode())


def fault_reply(error: ShosoError) -> Reply:
    """An error as MLflow's clients read it, its kind in a header of ours."""
    fault = FAULTS[error.kind]
    headers = [JSON_TYPE, (KIND_HEADER.encode(), error.kind.value.encode())]
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(min(LATEST, retry_after)))))
    return Reply(fault.status, headers, encode(FaultReply(fault.error_code, error.message)))
