"""Requests to the blob service of one account. They are never repeated here: the retry layer does that."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from email.utils import formatdate
from urllib.parse import quote

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from shoso.core.locations import proxy_of
from shoso.core.streams import CHUNK
from shoso.core.types import Buffer
from shoso.errors import StoreError
from shoso.stores.azure.credentials import Request, credential_of
from shoso.stores.azure.failures import Failures
from shoso.stores.azure.options import AzureOptions

VERSION = "2023-11-03"
"""Of the REST interface."""

CONNECTIONS = 32
_CONNECT = 30.0
"""Seconds for a connection to come about."""

Body = Sequence[Buffer]


class Client:
    """The blob service; `failures` says what went wrong."""

    def __init__(self, options: AzureOptions) -> None:
        self.options = options
        self.failures = Failures(options)
        self._credential = credential_of(options)
        self._session: aiohttp.ClientSession | None = None

    def url(self, name: str, endpoint: str = "") -> str:
        """The address of a blob by its full name in the container; "" is the container's own."""
        container = f"{endpoint or self.options.endpoint}/{quote(self.options.container, safe='$')}"
        return f"{container}/{quote(name, safe='/~')}" if name else container

    @asynccontextmanager
    async def request(
        self,
        op: str,
        key: str,
        method: str,
        url: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        forgiven: frozenset[str] = frozenset(),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A call whose reply is open, and a success; see `send`."""
        reply = await self.send(op, key, method, url, query, headers, body, forgiven)
        try:
            yield reply
        finally:
            reply.release()

    async def send(
        self,
        op: str,
        key: str,
        method: str,
        url: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        forgiven: frozenset[str] = frozenset(),
    ) -> aiohttp.ClientResponse:
        """The reply, its body still to be read. Raises StoreError for every refusal but those `forgiven`."""
        request = Request(method, url, dict(query or {}), dict(headers or {}))
        request.headers |= {"x-ms-version": VERSION, "x-ms-date": formatdate(usegmt=True)}
        if body is not None:
            request.headers["content-length"] = str(sum(map(len, body)))
            request.headers.setdefault("content-type", "application/octet-stream")
        await self._credential.authorize(request)
        try:
            reply = await self._sent(request, body)
            if reply.status < 300 or reply.headers.get("x-ms-error-code") in forgiven:
                return reply
            async with reply:
                await reply.read()  # so that the connection can be used again
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.failures.broken(op, key, error) from None  # its text may hold a signed URL
        raise self.failures.refused(op, key, reply.status, reply.headers, request.headers)

    async def _sent(self, request: Request, body: Body | None) -> aiohttp.ClientResponse:
        connections: list[asyncio.WriteTransport] = []
        _under_way.set(connections)
        try:
            return await self._open().request(
                request.method, URL(request.address, encoded=True), headers=request.headers,
                data=_flow(body) if body else None, allow_redirects=False,
                skip_auto_headers=("content-type",),
            )  # fmt: skip
        except BaseException:
            for connection in connections:
                connection.abort()
            raise

    async def text(
        self, op: str, key: str, method: str, url: str, query: Mapping[str, str], body: Body | None = None
    ) -> bytes:
        """A call for a document."""
        try:
            async with self.request(op, key, method, url, query, body=body) as reply:
                return await reply.read()
        except StoreError:  # some are OSErrors too
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.failures.broken(op, key, error) from None  # its text may hold a signed URL

    async def body(self, key: str, reply: aiohttp.ClientResponse) -> AsyncIterator[Buffer]:
        """The body of a reply to a read."""
        try:
            async for data in reply.content.iter_any():
                yield data
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.failures.broken("read", key, error) from None

    async def close(self) -> None:
        """Let go of the connections; may be called again."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # connections that were cut off are let go in the loop's next round
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            silence = self.options.silence
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=_trusted(self.options.endpoint)),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=min(_CONNECT, silence or _CONNECT), sock_read=silence
                ),
                headers={"accept-encoding": "identity", "user-agent": "shoso"},
                auto_decompress=False,
                read_bufsize=CHUNK,
                request_class=_Request,
                proxy=proxy_of(
                    self.options.endpoint
                ),  # aiohttp would ask two threads a request, and ~/.netrc
            )
        return self._session


_under_way: ContextVar[list[asyncio.WriteTransport]] = ContextVar("under_way")


class _Request(aiohttp.ClientRequest):
    """A request that tells on which connection it goes, so that it can be cut off when it's given up.

    aiohttp would close it, and a closed connection lives on until the other side has taken what was buffered.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Send it."""
        if isinstance(conn.transport, asyncio.WriteTransport):
            _under_way.get().append(conn.transport)
        return await super().send(conn)


def _trusted(endpoint: str) -> ssl.SSLContext | bool:
    """The CAs of this machine, or of SSL_CERT_FILE, as they are now."""
    return ssl.create_default_context() if endpoint.startswith("https:") else True


async def _flow(body: Body) -> AsyncIterator[Buffer]:
    """Buffers cut small, so that a slow connection holds no copy of a large one."""
    for buffer in body:
        view = memoryview(buffer)
        for start in range(0, len(view), CHUNK):
            yield view[start : start + CHUNK]
