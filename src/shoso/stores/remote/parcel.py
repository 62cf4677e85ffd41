"""A part on its way straight to a storage: summed as it passes, and compared with what the storage has."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator

from yarl import URL

from shoso.core.keys import Key
from shoso.core.streams import CHUNK, Source, closing
from shoso.core.types import Part
from shoso.http.body import Body
from shoso.http.session import Reply, Session
from shoso.stores.remote.hosts import SILENCE
from shoso.wire.objects import SignedObject

_MD5 = re.compile(r"[0-9a-f]{32}")


class Parcel(Body):
    """A source of known size on its way to a storage."""

    def __init__(self, key: Key, source: Source) -> None:
        super().__init__(key, source)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._deadline: asyncio.Timeout | None = None

    async def send(self, session: Session, signed: SignedObject) -> Reply:
        """The storage's reply. Raises `http.session.FAILURES`, also when it takes nothing for too long.

        Raises what the source raises, too: aiohttp would hide it in an error of the connection.
        """
        headers = {**signed.headers, **self.headers()}
        try:
            async with asyncio.timeout(SILENCE) as self._deadline:
                return await session.send(signed.method, URL(signed.url, encoded=True), headers, self)
        except Exception:
            if self.failure is not None:
                raise self.failure from None
            raise
        finally:
            self._deadline = None

    def part(self, number: int, reply: Reply) -> Part | None:
        """The part, if the storage has it whole."""
        etag = bare(reply)
        if reply.status not in {200, 201} or not etag or not self._has_arrived(reply):
            return None
        return Part(number, self.digester.size, etag)

    def _has_arrived(self, reply: Reply) -> bool:
        """Whether the storage has the bytes that were sent; where it doesn't say, TLS must do."""
        told = _told(reply)
        return told == self._md5.digest() if told is not None else reply.url.scheme == "https"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._give(None)  # the source is waited for, as long as it takes
        async with closing(super().__aiter__()) as buffers:
            async for data in buffers:
                self._give(SILENCE)
                yield data
                self._give(None)
        self._give(SILENCE)

    async def _take(self, data: bytes) -> None:
        await super()._take(data)
        if len(data) >= CHUNK:
            await asyncio.to_thread(self._md5.update, data)
        else:
            self._md5.update(data)

    def _give(self, seconds: float | None) -> None:
        """The storage has so many seconds from now on."""
        if self._deadline is not None and not self._deadline.expired():
            when = None if seconds is None else asyncio.get_running_loop().time() + seconds
            self._deadline.reschedule(when)


def bare(reply: Reply) -> str:
    """The etag without its quotes."""
    return reply.headers.get("etag", "").strip('"')


def _told(reply: Reply) -> bytes | None:
    """The MD5 that the storage took of the bytes; an etag is one, unless S3 encrypts by a key of its own."""
    headers = reply.headers
    try:
        if given := headers.get("content-md5"):
            return base64.b64decode(given, validate=True)
    except binascii.Error:
        return None
    keyed = headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
    keyed |= "x-amz-server-side-encryption-customer-algorithm" in headers
    return bytes.fromhex(bare(reply)) if _MD5.fullmatch(bare(reply)) and not keyed else None
