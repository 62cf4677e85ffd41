"""Requests that go straight to the bucket."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from shoso.core.keys import Key, name
from shoso.core.types import SignedMethod, SignedRequest, UploadRef
from shoso.errors import Kind
from shoso.stores.s3.account import Place
from shoso.stores.s3.connection import Connection
from shoso.stores.s3.faults import Asked
from shoso.stores.s3.signing import Headers, Request, presign, presign_v2
from shoso.stores.s3.uploads import S3Uploads

LONGEST = 7 * 24 * 3600
"""Seconds; Amazon S3 API reference, "X-Amz-Expires"."""


class S3Signer:
    """Signs for the public address; what is written so carries the same headers as any other object."""

    def __init__(self, connection: Connection, uploads: S3Uploads) -> None:
        self._connection, self._uploads = connection, uploads
        self._public: Place | None = None

    async def read(self, key: Key, expires: float) -> SignedRequest:
        """See Signer; a browser saves what it gets under its own name."""
        query = {"response-content-disposition": _attachment(name(key))}
        query |= self._connection.extra.of("GetObject")  # S3 takes these headers in a signed query too
        return await self._signed("GET", key, query, {}, expires)

    async def write(self, key: Key, expires: float, content_type: str | None = None) -> SignedRequest:
        """See Signer."""
        typed = {"content-type": content_type} if content_type else {}
        return await self._signed("PUT", key, {}, typed | self._connection.extra.of("PutObject"), expires)

    async def part(self, ref: UploadRef, number: int, expires: float) -> SignedRequest:
        """See Signer."""
        query = {"partNumber": str(number), "uploadId": self._uploads.real("sign", ref)}
        headers = self._connection.extra.of("UploadPart")
        return await self._signed("PUT", ref.key, query, headers, expires)

    async def _signed(
        self, method: SignedMethod, key: Key, query: Mapping[str, str], headers: Headers, expires: float
    ) -> SignedRequest:
        where = await self._connection.place()
        who = await self._connection.account.credentials()
        if who is None:
            raise Asked("sign", key, self._connection.options).error(Kind.UNSUPPORTED, "can't be signed for")
        place = self._at(where)
        request = Request(method, f"{place.base}/{self._connection.name(key)}", query, headers)
        seconds = min(expires, LONGEST)
        if self._connection.options.signature == "s3":
            url = presign_v2(request, place, self._connection.options.bucket, who, seconds)
        else:
            url = presign(request, place, who, seconds)
        return SignedRequest(method, url, headers)

    def _at(self, where: Place) -> Place:
        if self._public is None or self._public.region != where.region:
            self._public = self._connection.account.public()
        return self._public


def _attachment(filename: str) -> str:
    """As RFC 6266 has it, also for names beyond ASCII."""
    plain = filename.encode("ascii", "replace").decode().replace('"', "_").replace("\\", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
