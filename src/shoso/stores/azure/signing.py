"""Requests that are good for whoever has them: shared access signatures.

Azure's own library makes them, with the account's key. An identity signs with a key that Azure lends it for a
while (a user delegation key), which is asked for once and kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from azure.storage.blob import BlobSasPermissions, UserDelegationKey, generate_blob_sas

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.types import SignedRequest, UploadRef
from shoso.stores.azure.client import Client
from shoso.stores.azure.replies import fields

if TYPE_CHECKING:
    from shoso.stores.azure.store import AzureStore

_LENT = timedelta(hours=12)
_SKEW = timedelta(minutes=15)
_LENT_MOST = timedelta(days=7) - _SKEW  # seven days from the start of the key, which lies a bit back
_MARGIN = timedelta(minutes=5)
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"


class Signatures:
    """Makes shared access signatures for single blobs."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._options = client.options
        self._lent: UserDelegationKey | None = None
        self._until = datetime.min.replace(tzinfo=UTC)
        self._asking = asyncio.Lock()

    @property
    def possible(self) -> bool:
        """Whether the credential can sign: a signature can't sign another, and is never handed out."""
        return not self._options.sas

    async def readable(self, key: Key, name: str, expires: float) -> str:
        """The URL by which Azure itself may read a blob; it goes to nobody else."""
        if self._options.sas:
            return f"{self._client.url(name)}?{self._options.sas}"
        return await self.url(key, name, "r", expires, self._options.endpoint)

    async def url(
        self, key: Key, name: str, permission: str, expires: float, endpoint: str = "", **more: Any
    ) -> str:
        """The URL of a blob, for those who reach the storage at `endpoint`; by default the public one."""
        options = self._options
        end = datetime.now(UTC) + timedelta(seconds=expires)
        signed: dict[str, Any] = {"account_key": options.account_key}
        if not options.account_key:
            signed = {"user_delegation_key": await self._borrowed(key, end)}
        address = endpoint or options.public_endpoint or options.endpoint
        token = generate_blob_sas(
            options.account, options.container, name, **signed, **more, expiry=end,
            permission=BlobSasPermissions.from_string(permission),
            protocol="https" if address.startswith("https:") else None,
        )  # fmt: skip
        return f"{self._client.url(name, address)}?{token}"

    async def _borrowed(self, key: Key, end: datetime) -> UserDelegationKey:
        async with self._asking:
            now = datetime.now(UTC)
            if self._lent is None or self._until < min(end + _MARGIN, now + _LENT_MOST - _MARGIN):
                until = min(end + _LENT, now + _LENT_MOST)
                self._lent, self._until = await self._borrow(key, now - _SKEW, until), until
            return self._lent

    async def _borrow(self, key: Key, start: datetime, end: datetime) -> UserDelegationKey:
        """https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key."""
        asked = f"<KeyInfo><Start>{start:{_MOMENT}}</Start><Expiry>{end:{_MOMENT}}</Expiry></KeyInfo>"
        query = {"restype": "service", "comp": "userdelegationkey"}
        url = f"{self._options.endpoint}/"
        document = await self._client.text("sign", key, "POST", url, query, [asked.encode()])
        try:
            return _lent(fields(document))
        except (SyntaxError, KeyError):  # ElementTree's ParseError is a SyntaxError
            raise self._client.failures.stranger("sign", key) from None


def _lent(found: Mapping[str, str]) -> UserDelegationKey:
    """The key in Azure's reply. Raises KeyError."""
    lent = UserDelegationKey()  # type: ignore[no-untyped-call]
    lent.signed_oid, lent.signed_tid = found["SignedOid"], found["SignedTid"]
    lent.signed_start, lent.signed_expiry = found["SignedStart"], found["SignedExpiry"]
    lent.signed_service, lent.signed_version = found["SignedService"], found["SignedVersion"]
    lent.value = found["Value"]
    return lent


class AzureSigner:
    """Signs requests about the objects of a store."""

    def __init__(self, store: AzureStore, signatures: Signatures) -> None:
        self._store = store
        self._signatures = signatures

    async def read(self, key: Key, expires: float) -> SignedRequest:
        """See Signer."""
        disposition = f"attachment; filename*=UTF-8''{quote(keys.name(key), safe='')}"
        name = self._store.name("sign", key)
        return SignedRequest(
            "GET", await self._signatures.url(key, name, "r", expires, content_disposition=disposition)
        )

    async def write(self, key: Key, expires: float, content_type: str | None = None) -> SignedRequest:
        """See Signer; one request takes at most 5,000 MiB."""
        return await self._put(key, self._store.name("sign", key), expires, content_type)

    async def part(self, ref: UploadRef, number: int, expires: float) -> SignedRequest:
        """See Signer; a part is a blob of its own until the upload is finished."""
        return await self._put(ref.key, self._store.parts.part_name("sign", ref, number), expires)

    async def _put(
        self, key: Key, name: str, expires: float, content_type: str | None = None
    ) -> SignedRequest:
        headers = {"x-ms-blob-type": "BlockBlob"}
        headers |= {"Content-Type": content_type} if content_type else {}
        return SignedRequest("PUT", await self._signatures.url(key, name, "cw", expires), headers)
