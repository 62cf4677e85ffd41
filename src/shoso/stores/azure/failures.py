"""Azure's refusals and broken connections → StoreErrors.

A refusal is known by Azure's code (`x-ms-error-code`); nothing is read out of a message.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.stores.azure.codes import CHANGED, CODES, STATUSES, Refusal
from shoso.stores.azure.credentials import expiry
from shoso.stores.azure.options import AzureOptions

SKEW = 15 * 60
"""Seconds that Azure lets a clock be off."""


_NONE: Mapping[str, str] = {}


class Failures:
    """Translates for one store."""

    def __init__(self, options: AzureOptions) -> None:
        self._options = options

    def refused(
        self, op: str, key: str, status: int, headers: Mapping[str, str], sent: Mapping[str, str] = _NONE
    ) -> StoreError:
        """The error of a reply to a request with the headers `sent`, whose conditions say what it means."""
        code = headers.get("x-ms-error-code", "")
        known = CODES.get(code) or STATUSES.get(status)
        if "if-match" in sent and op == "write" and code == "BlobNotFound":
            known = CHANGED
        if "if-none-match" in sent and known is CHANGED:
            known = CODES["BlobAlreadyExists"]
        if known is not None:
            return self.of(known, op, key, _seconds(headers.get("retry-after")))
        if status in {401, 403}:
            return self.error(
                Kind.UNAUTHENTICATED, op, key, self._reason(headers, code) + " ({code})", code=code
            )
        sentence = "{name} answered {code} to {op} '{key}'"
        return self.error(Kind.UNEXPECTED, op, key, sentence, code=f"{status} {code}")

    def of(self, refusal: Refusal, op: str, key: str, after: float | None = None) -> StoreError:
        """The error that a refusal is; Azure says itself how long to wait before trying again."""
        waits = after is not None and refusal.retry is Retry.SOON
        error = self.error(refusal.kind, op, key, refusal.sentence, Retry.AFTER if waits else refusal.retry)
        error.retry_after = after if waits else None
        return error

    def broken(self, op: str, key: str, error: Exception) -> StoreError:
        """The error of a connection that failed."""
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            sentence = (
                "No name server knows the address {endpoint}: correct the account in the location {name}"
            )
            return self.error(Kind.UNAVAILABLE, op, key, sentence, Retry.SOON)
        if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError | aiohttp.ClientSSLError):
            sentence = (
                "The certificate of {endpoint} isn't trusted here: name the file of its CA in SSL_CERT_FILE"
            )
            return self.error(Kind.CONFIG, op, key, sentence)
        if isinstance(error, TimeoutError):
            sentence = "{name} gave no answer to {op} '{key}' in time"
            return self.error(Kind.TIMEOUT, op, key, sentence, Retry.SOON)
        sentence = "The connection to {name} failed ({op} '{key}'; {code})"
        return self.error(Kind.UNAVAILABLE, op, key, sentence, Retry.SOON, code=type(error).__name__)

    def stranger(self, op: str, key: str) -> StoreError:
        """The error of a reply that makes no sense."""
        return self.error(Kind.UNEXPECTED, op, key, "What answered at {name} isn't Azure's blob service")

    def error(
        self, kind: Kind, op: str, key: str, sentence: str, retry: Retry = Retry.NEVER, code: str = ""
    ) -> StoreError:
        """The error in this store's name; the sentence is a template, and gets its full stop here."""
        options = self._options
        message = sentence.format(
            op=op,
            key=key,
            code=code,
            name=options.name,
            account=options.account,
            container=options.container,
            endpoint=options.endpoint,
            setting=options.key_setting,
            credential=options.key_setting or "The identity",
        )
        return store_error(kind, f"{message}.", retry=retry, op=op, key=key, store=options.name)

    def _reason(self, headers: Mapping[str, str], code: str) -> str:
        """Why Azure doesn't let us in, as far as can be seen from here."""
        off, end = _clock(headers.get("date")), expiry(self._options.sas)
        if off is not None and abs(off) > SKEW:
            ahead = "ahead of" if off > 0 else "behind"
            return (
                f"The clock of this machine is {abs(off) / 60:.0f} minutes {ahead} that of {{name}}: set it"
            )
        if _is_over(end):
            return "The signature in {setting} for {name} has expired: make a new one"
        if code == "AuthorizationFailure" and not self._options.own:
            return (
                "The account '{account}' shuts this machine out of {name}: let its address in, in the"
                " account's firewall, or see whether {credential} is for this service"
            )
        if self._options.account_key:
            return (
                "The key in {setting} is none of the account '{account}': copy it from its page 'Access keys'"
            )
        if self._options.sas:
            return (
                "The signature in {setting} doesn't allow to {op} in {name}: make one for this container with"
                " the permissions racwdl"
            )
        return "The identity found isn't let into {name}: check its tenant, and the firewall of the account"


def _seconds(text: str | None) -> float | None:
    """A Retry-After, which Azure gives in seconds."""
    with suppress(ValueError, TypeError):
        return max(0.0, float(text or ""))
    return None


def _clock(date: str | None) -> float | None:
    """How many seconds this machine's clock is ahead of the reply's."""
    with suppress(ValueError, TypeError):
        return time.time() - parsedate_to_datetime(date or "").timestamp()
    return None


def _is_over(end: str) -> bool:
    """Whether that moment (ISO 8601, UTC) has passed; "" never does."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(end)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) < datetime.now(UTC)
    return False
