"""api: the JSON API of Cloud Storage over HTTP; credentials on every request, no retries."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from google.auth.exceptions import GoogleAuthError
from yarl import URL

from shoso.core.keys import Key
from shoso.core.locations import proxy_of
from shoso.core.options import address
from shoso.core.streams import CHUNK
from shoso.core.types import ObjectMeta
from shoso.errors import ConfigError, StoreError
from shoso.stores.gcs.access import Access
from shoso.stores.gcs.faults import Translator, read_refusal, seconds_of

T = TypeVar("T")

PUBLIC = "https://storage.googleapis.com"
DIGEST = "shoso-digest"
"""The metadata that holds the BLAKE3 of the object."""

FIELDS = "name,size,generation,timeCreated,contentType,md5Hash,crc32c,metadata"

Query = Mapping[str, str]
NONE: Mapping[str, str] = MappingProxyType({})

FAILURES = (aiohttp.ClientError, GoogleAuthError, TimeoutError, OSError, EOFError, ValueError, KeyError)


class Item(msgspec.Struct, rename="camel"):
    """An object as the JSON API describes it; the hashes are in base64."""

    name: str
    size: int
    generation: int
    time_created: datetime
    content_type: str | None = None
    md5_hash: str = ""
    crc32c: str = ""
    metadata: dict[str, str] = {}

    def meta(self, key: Key) -> ObjectMeta:
        """The same as the contract describes it."""
        modified = self.time_created.timestamp()
        digest = self.metadata.get(DIGEST)
        return ObjectMeta(key, self.size, modified, str(self.generation), digest, self.content_type)


class Page(msgspec.Struct, rename="camel"):
    """A page of a listing."""

    items: list[Item] = []
    prefixes: list[str] = []
    next_page_token: str = ""


class Api:
    """Requests about one bucket."""

    def __init__(
        self, bucket: str, endpoint: str, access: Access, faults: Translator, silence: float | None
    ) -> None:
        self.bucket, self.endpoint, self.access, self.faults = bucket, endpoint, access, faults
        self._silence = silence
        self._proxy = proxy_of(endpoint)
        self._session: aiohttp.ClientSession | None = None

    def objects(self, name: str = "", verb: str = "", root: str = "storage/v1") -> str:
        """The address of an object, or of the bucket's objects."""
        place = f"{self.endpoint}/{root}/b/{quote(self.bucket, safe='')}/o"
        return "/".join([place, *(quote(part, safe="") for part in (name, verb) if part)])

    async def ask(
        self, shape: type[T], op: str, key: Key, method: str, url: str, query: Query = NONE, body: Any = None
    ) -> T:
        """A call of JSON for JSON. Raises StoreError."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"} if body is not None else {}
        async with self.reply(op, key, method, url, query, headers, data) as reply:
            return await self.decoded(shape, op, key, reply)

    async def decoded(self, shape: type[T], op: str, key: Key, reply: aiohttp.ClientResponse) -> T:
        """The JSON of a reply; nothing at all is {}. Raises StoreError."""
        try:
            return msgspec.json.decode(await reply.read() or b"{}", type=shape, strict=False)
        except FAILURES as error:
            raise self.faults.failed(error, op, key) from error

    @asynccontextmanager
    async def reply(
        self,
        op: str,
        key: Key,
        method: str,
        url: str,
        query: Query = NONE,
        headers: Mapping[str, str] = NONE,
        data: bytes | AsyncIterable[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An open reply, a success or 308; see `send`. Raises StoreError."""
        reply = await self.send(op, key, method, url, query, headers, data)
        try:
            yield reply
        finally:
            reply.release()

    async def send(
        self,
        op: str,
        key: Key,
        method: str,
        url: str,
        query: Query = NONE,
        headers: Mapping[str, str] = NONE,
        data: bytes | AsyncIterable[bytes] | None = None,
    ) -> aiohttp.ClientResponse:
        """The reply, for the caller to close. Raises StoreError."""
        try:
            signed = {**headers, **await self.access.headers()}
            place = URL(url, encoded=True).update_query(query)
            reply = await self._open().request(
                method, place, headers=signed, data=data, allow_redirects=False, proxy=self._proxy
            )
        except aiohttp.ClientHttpProxyError as error:
            raise self.faults.failed(error, op, key) from None
        except FAILURES as error:
            raise self.faults.failed(error, op, key) from error
        if reply.status >= 300 and reply.status != 308:
            async with reply:
                raise await self._refused(reply, op, key)
        return reply

    async def _refused(self, reply: aiohttp.ClientResponse, op: str, key: Key) -> StoreError:
        try:
            body = await reply.read()
            packed = reply.headers.get("content-encoding") == "gzip"
            refusal = read_refusal(gzip.decompress(body) if packed else body)
        except FAILURES as error:
            return self.faults.failed(error, op, key)
        if reply.status == 401:
            self.access.reject()
        after = seconds_of(reply.headers.get("retry-after"))
        return self.faults.refused(reply.status, refusal, op, key, after, self.access.anonymous)

    async def close(self) -> None:
        """Let go of the connections; may be called again."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # connections that were cut off are let go in the loop's next round
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # calls are limited, not connections
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=self._silence),
                headers={"accept-encoding": "identity"},
                auto_decompress=False,
                read_bufsize=2 * CHUNK,
            )
        return self._session


def endpoint_of(emulator: str) -> str:
    """The address of the API; an emulator's may be given without its scheme. Raises ConfigError."""
    if not emulator:
        return PUBLIC
    try:
        return address(emulator if "://" in emulator else f"http://{emulator}")
    except ValueError as error:
        raise ConfigError("STORAGE_EMULATOR_HOST", f"{error}.") from None
