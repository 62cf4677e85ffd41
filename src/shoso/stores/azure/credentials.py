"""How a request is let in: by the account's key, by a shared access signature, or by an identity's token."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote, urlencode, urlsplit

from shoso.errors import Kind, StoreError, store_error
from shoso.stores.azure.options import AzureOptions

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

SCOPE = "https://storage.azure.com/.default"
_EARLY = 300.0
"""Seconds before its end that a token is renewed."""

_SIGNED = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip


@dataclass(slots=True)
class Request:
    """A request before it is sent: an encoded URL without its query, headers in lower case."""

    method: str
    url: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """The URL with all of its query."""
        query = "&".join(filter(None, (urlencode(self.query, quote_via=quote), self.token)))
        return f"{self.url}?{query}" if query else self.url


class Credential(Protocol):
    """Signs requests to Azure."""

    async def authorize(self, request: Request) -> None:
        """Put what proves who we are into the request. Raises UNAUTHENTICATED."""
        ...


def credential_of(options: AzureOptions) -> Credential:
    """The one credential that the options name."""
    if options.account_key:
        return SharedKey(options.account, options.account_key)
    if options.sas:
        return SasToken(options.sas)
    return Identity(options)


class SharedKey:
    """https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key."""

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        self._key = base64.b64decode(key)

    async def authorize(self, request: Request) -> None:
        """See Credential."""
        mac = hmac.new(self._key, self._text(request).encode(), hashlib.sha256).digest()
        request.headers["authorization"] = f"SharedKey {self._account}:{base64.b64encode(mac).decode()}"

    def _text(self, request: Request) -> str:
        headers = request.headers
        length = headers.get("content-length", "")
        plain = [
            {**headers, "content-length": "" if length == "0" else length}.get(name, "") for name in _SIGNED
        ]
        own = [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-ms-")]
        query = [f"{name}:{request.query[name]}" for name in sorted(request.query)]
        resource = f"/{self._account}{urlsplit(request.url).path}"
        return "\n".join([request.method, *plain, *own, resource, *query])


class SasToken:
    """A shared access signature goes behind every URL."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def authorize(self, request: Request) -> None:
        """See Credential."""
        request.token = self._token


class Identity:
    """Whoever DefaultAzureCredential finds; it blocks, so it is asked in a thread, and rarely."""

    def __init__(self, options: AzureOptions) -> None:
        from azure.identity import DefaultAzureCredential

        self._options = options
        self._source: TokenCredential = DefaultAzureCredential()
        self._token: AccessToken | None = None
        self._asking = asyncio.Lock()

    async def authorize(self, request: Request) -> None:
        """See Credential."""
        async with self._asking:
            if self._token is None or self._token.expires_on - _EARLY < time.time():
                self._token = await asyncio.to_thread(self._ask)
        request.headers["authorization"] = f"Bearer {self._token.token}"

    def _ask(self) -> AccessToken:
        from azure.core.exceptions import AzureError

        try:
            return self._source.get_token(SCOPE)
        except (AzureError, ValueError) as error:
            raise self._nobody(error) from error

    def _nobody(self, error: Exception) -> StoreError:
        message = (
            f"{self._options.name}: no identity of Azure's let us in ({type(error).__name__}); set"
            " AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCESS_KEY or AZURE_STORAGE_SAS_TOKEN, or give"
            " this machine a managed identity, AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, or"
            " 'az login'."
        )
        return store_error(Kind.UNAUTHENTICATED, message, store=self._options.name)


def expiry(sas: str) -> str:
    """When a shared access signature ends, as it says itself; "" where a stored policy says it."""
    fields: Mapping[str, str] = dict(pair.partition("=")[::2] for pair in sas.split("&"))
    return unquote(fields.get("se", ""))
