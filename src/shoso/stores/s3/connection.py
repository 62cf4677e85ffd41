"""Requests to the bucket: signed, sent, and answered with a reply or a StoreError."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from shoso.core.streams import CHUNK
from shoso.errors import Kind
from shoso.stores.s3 import documents
from shoso.stores.s3.account import Account, Credentials, Place
from shoso.stores.s3.body import Piece, Stream, Whole, framed_size
from shoso.stores.s3.documents import Fault
from shoso.stores.s3.faults import Asked
from shoso.stores.s3.signing import (
    CHUNKED,
    EMPTY,
    UNSIGNED,
    Headers,
    Request,
    encoded_path,
    encoded_query,
    sign,
    sign_v2,
)

Body = Piece | Stream | None

CONNECT_SECONDS = 10
FAULT_BYTES = 256 * 1024
_NONE: Mapping[str, str] = {}
_OURS = ("user-agent", "accept", "accept-encoding", "content-type")
"""What aiohttp would add, unsigned."""


class Connection:
    """The way to one bucket; sessions are opened when first used, and closed once."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.options = account.options
        self.extra = account.extra
        self._session: aiohttp.ClientSession | None = None
        self._located = not account.aws
        self._lock = asyncio.Lock()

    def path(self, key: str) -> str:
        """The path of a key, or of the bucket's own calls where it's "" ."""
        return f"{self.account.place.base}/{key}"

    def name(self, key: str) -> str:
        """The name of a key in the bucket."""
        folder = self.options.folder
        return f"{folder}/{key}" if folder and key else folder or key

    async def place(self) -> Place:
        """Where the bucket is; on AWS, its region is asked for once, since nobody needs to know it."""
        if not self._located:
            async with self._lock:
                if not self._located:
                    await self._locate()
        return self.account.place

    async def _locate(self) -> None:
        request = Request("HEAD", self.path(""), {}, self.extra.of("HeadBucket"))
        reply = await self._exchange(Asked("locate", "", self.options), request, None)
        async with reply:
            region = reply.headers.get("x-amz-bucket-region")
        if region and region != self.account.place.region:
            self.account.place = await asyncio.to_thread(self.account.at, region)
        self._located = True

    async def send(
        self, op: str, key: str, operation: str, method: str, *, query: Mapping[str, str] = _NONE,
        headers: Mapping[str, str] = _NONE, body: Body = None, bucket: bool = False,
    ) -> aiohttp.ClientResponse:  # fmt: skip
        """The reply, to be closed by the caller. Raises StoreError for any that is no success.

        `operation` is S3's name of the call; with `bucket` it's about the bucket, else about the object.
        """
        await self.place()
        asked = Asked(op, key, self.options)
        sent = {**headers, **self.extra.of(operation)}
        request = Request(method, self.path("" if bucket else self.name(_object(asked))), query, sent)
        reply = await self._exchange(asked, request, body)
        if reply.status < 300:
            return reply
        async with reply:
            fault = await _fault(reply)
        if isinstance(body, Stream) and fault.code == "SignatureDoesNotMatch":
            fault = replace(fault, code="BadDigest")  # of a chunk: the upload's other requests were let in
        raise asked.replied(reply.status, fault, _plain(reply.headers))

    async def fetch(self, *args: Any, **kwargs: Any) -> tuple[bytes, Headers]:
        """The same, read to its end: documents only."""
        reply = await self.send(*args, **kwargs)
        async with reply:
            try:
                return await reply.read(), _plain(reply.headers)
            except (aiohttp.ClientError, OSError) as error:
                raise Asked(args[0], args[1], self.options).broken(error) from None

    async def _exchange(self, asked: Asked, request: Request, body: Body) -> aiohttp.ClientResponse:
        place, who = self.account.place, await self.account.credentials()
        headers, data = await self._signed(request, body, place, who)
        url = URL(f"{place.scheme}://{place.host}{encoded_path(request.path)}", encoded=True)
        if request.query:
            url = URL(f"{url}?{encoded_query(request.query)}", encoded=True)
        try:
            return await self._open().request(
                request.method, url, headers=headers, data=data, proxy=place.proxy, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(body, Stream) and body.failure is not None:
                raise body.failure from None
            raise asked.broken(error) from None

    async def _signed(
        self, request: Request, body: Body, place: Place, who: Credentials | None
    ) -> tuple[Headers, Any]:
        """Headers with a signature, and the body that they announce."""
        sized = Whole(body) if isinstance(body, Piece) and body.size else None
        length = {"content-length": str(body.size)} if body is not None else {}
        if isinstance(body, Piece) and (self.extra.locked or who is None or self.options.signature == "s3"):
            request = replace(request, headers={**request.headers, "content-md5": await body.md5()})
        if who is None or self.options.signature == "s3":
            headers = {**request.headers, "host": place.host}
            if who is not None:
                headers = sign_v2(request, place, self.options.bucket, who)
            return headers | length, body.plain() if isinstance(body, Stream) else sized
        if not isinstance(body, Stream):
            payload = await body.sha256() if body is not None else EMPTY
            return sign(request, place, who, payload)[0] | length, sized
        if self.account.r2:  # it takes no signed chunks, and nothing that isn't TLS
            return sign(request, place, who, UNSIGNED)[0] | length, body.plain()
        chunked = {"x-amz-decoded-content-length": str(body.size), "content-encoding": "aws-chunked"}
        request = replace(request, headers={**request.headers, **chunked})
        headers, seed = sign(request, place, who, CHUNKED)
        return headers | {"content-length": str(framed_size(body.size))}, body.framed(seed)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            tls = self.account.tls
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=tls if tls is not None else True),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=self.options.silence
                ),
                skip_auto_headers=_OURS, auto_decompress=False, read_bufsize=CHUNK // 2,
            )  # fmt: skip
        return self._session

    async def close(self) -> None:
        """Close the session; may be called again."""
        if self._session is not None:
            await self._session.close()


def _object(asked: Asked) -> str:
    """The key, which an object's call must have: without one it would be the bucket's."""
    if not asked.key:
        raise asked.error(Kind.INVALID_KEY, "has no key: name an artifact")
    return asked.key


def _plain(headers: Any) -> Headers:
    return {name.lower(): value for name, value in headers.items()}


async def _fault(reply: aiohttp.ClientResponse) -> Fault:
    try:
        return documents.fault(await reply.content.read(FAULT_BYTES))
    except (aiohttp.ClientError, OSError):
        return Fault()
