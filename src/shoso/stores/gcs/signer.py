"""signer: V4 signed URLs: https://cloud.google.com/storage/docs/access-control/signed-urls

The signature is made by the service account's key, or by IAM where there is none at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from google.auth.exceptions import GoogleAuthError

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.types import SignedMethod, SignedRequest, UploadRef

if TYPE_CHECKING:
    from shoso.stores.gcs.store import GcsStore

LONGEST = 7 * 86400
"""Seconds for which a signed URL may be good."""

_ALGORITHM = "GOOG4-RSA-SHA256"


class GcsSigner:
    """Signs for a GcsStore; `endpoint` is the address that clients reach it by."""

    def __init__(self, store: GcsStore, endpoint: str) -> None:
        self._store = store
        self._endpoint = endpoint

    async def read(self, key: Key, expires: float) -> SignedRequest:
        """See Signer; a browser saves it under its name, and shows nothing of it."""
        query = {"response-content-disposition": _attachment(keys.name(key))}
        return await self._signed(key, "GET", self._store.name("sign", key), expires, {}, query)

    async def write(self, key: Key, expires: float, content_type: str | None = None) -> SignedRequest:
        """See Signer."""
        headers = {"content-type": content_type} if content_type else {}
        return await self._signed(key, "PUT", self._store.name("sign", key), expires, headers)

    async def part(self, ref: UploadRef, number: int, expires: float) -> SignedRequest:
        """See Signer; the reply's ETag is the part's tag."""
        name = self._store.part_name(ref, number)
        return await self._signed(ref.key, "PUT", name, expires, {})

    async def _signed(
        self,
        key: Key,
        method: SignedMethod,
        name: str,
        expires: float,
        headers: Mapping[str, str],
        query: Mapping[str, str] = {},
    ) -> SignedRequest:
        access = self._store.api.access
        path = quote(f"/{self._store.api.bucket}/{name}", safe="/~")
        seconds = max(1, min(LONGEST, round(expires)))
        try:
            request = unsigned(
                method, self._endpoint, path, headers, query, await access.email(), seconds, datetime.now(UTC)
            )
            signature = await access.sign(request.to_sign)
        except (GoogleAuthError, OSError) as error:
            raise self._store.faults.failed(error, "sign", key) from error
        return SignedRequest(method, f"{request.url}&X-Goog-Signature={signature.hex()}", headers)


class Unsigned(NamedTuple):
    """The URL of a request but for its signature, and what is to be signed."""

    url: str
    to_sign: bytes


def unsigned(
    method: SignedMethod,
    endpoint: str,
    path: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    email: str,
    seconds: int,
    now: datetime,
) -> Unsigned:
    """The URL and what is to be signed for it, by Google's V4 signing process."""
    sent = dict(sorted({**headers, "host": urlsplit(endpoint).netloc}.items()))
    time, scope = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}/auto/storage/goog4_request"
    named = ";".join(sent)
    parameters = {
        **query,
        "X-Goog-Algorithm": _ALGORITHM,
        "X-Goog-Credential": f"{email}/{scope}",
        "X-Goog-Date": time,
        "X-Goog-Expires": str(seconds),
        "X-Goog-SignedHeaders": named,
    }
    encoded = urlencode(sorted(parameters.items()), quote_via=quote, safe="~")
    lines = "".join(f"{name}:{value}\n" for name, value in sent.items())
    canonical = f"{method}\n{path}\n{encoded}\n{lines}\n{named}\nUNSIGNED-PAYLOAD"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    return Unsigned(f"{endpoint}{path}?{encoded}", f"{_ALGORITHM}\n{time}\n{scope}\n{hashed}".encode())


def _attachment(name: str) -> str:
    """An RFC 6266 disposition."""
    if name.isascii() and name.isprintable():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'attachment; filename="{escaped}"'
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
