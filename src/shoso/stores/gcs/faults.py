"""faults: what Cloud Storage, google-auth and the network say, as this project's errors; decided here alone.

By status and by `reason`, as https://cloud.google.com/storage/docs/json_api/v1/status-codes lists them.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

import aiohttp
import msgspec
from google.auth import exceptions as auth

from shoso.core.keys import Key
from shoso.errors import Kind, Retry, StoreError, store_error

PERMISSIONS = {
    "write": "storage.objects.create (and storage.objects.delete, to overwrite)",
    "begin": "storage.objects.create",
    "put": "storage.objects.create (and storage.objects.delete, to overwrite)",
    "finish": "storage.objects.create, storage.objects.get and storage.objects.delete",
    "list": "storage.objects.list",
    "parts": "storage.objects.list",
    "pending": "storage.objects.list",
    "delete": "storage.objects.delete",
    "abort": "storage.objects.delete",
}
_ABOUT_THE_BUCKET = {"write", "begin", "list", "pending"}
"""A 404 to these says that the bucket isn't there; to others, that the object isn't."""

_SIGN_IN = "set GOOGLE_APPLICATION_CREDENTIALS, or run 'gcloud auth application-default login'"


class Fault(msgspec.Struct):
    """One of the reasons of a refusal."""

    reason: str = ""


class Refusal(msgspec.Struct):
    """The error in a reply of Cloud Storage."""

    message: str = ""
    errors: list[Fault] = []

    @property
    def reason(self) -> str:
        """Its code."""
        return self.errors[0].reason if self.errors else ""


class _RefusalReply(msgspec.Struct):
    error: Refusal


def read_refusal(body: bytes) -> Refusal:
    """The error in the reply's body; an empty one where there is none."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(body, type=_RefusalReply).error
    return Refusal()


def seconds_of(retry_after: str | None) -> float | None:
    """The seconds that a Retry-After names."""
    with suppress(ValueError):
        return max(0.0, float(retry_after or ""))
    return None


class Translator:
    """Puts failures in a store's name."""

    def __init__(self, store: str, silence: float | None) -> None:
        self._store = store
        self._silence = silence

    def error(
        self,
        kind: Kind,
        op: str,
        key: Key,
        message: str,
        retry: Retry = Retry.NEVER,
        retry_after: float | None = None,
    ) -> StoreError:
        """The error in this store's name."""
        return store_error(
            kind, message, retry=retry, retry_after=retry_after, op=op, key=key, store=self._store
        )

    def refused(
        self, status: int, refusal: Refusal, op: str, key: Key, retry_after: float | None, anonymous: bool
    ) -> StoreError:
        """The error of a reply."""
        if status == 429 or refusal.reason in _TOO_MANY or (status == 503 and retry_after is not None):
            message = f"{self._store} has too many requests and wants to be asked later ({status})."
            retry = Retry.SOON if retry_after is None else Retry.AFTER
            return self.error(Kind.THROTTLED, op, key, message, retry, retry_after)
        if status in {401, 403}:
            return self._forbidden(status, refusal, op, key, anonymous)
        if status == 404 and op in _ABOUT_THE_BUCKET:
            message = f"There is no bucket for {self._store}; create it, or correct its name."
            return self.error(Kind.NOT_FOUND, op, key, message)
        if status == 400 and refusal.reason == "required":
            message = f"The requests to {self._store} are to be paid: set GOOGLE_CLOUD_QUOTA_PROJECT."
            return self.error(Kind.CONFIG, op, key, message)
        return self._other(status, refusal, op, key)

    def _forbidden(self, status: int, refusal: Refusal, op: str, key: Key, anonymous: bool) -> StoreError:
        if anonymous:
            message = f"{self._store} wants credentials and there are none: {_SIGN_IN}."
            return self.error(Kind.UNAUTHENTICATED, op, key, message)
        if status == 401:
            message = f"{self._store} doesn't take the Google credentials (401): {_SIGN_IN}."
            return self.error(Kind.UNAUTHENTICATED, op, key, message, Retry.SOON)
        if refusal.reason in _POLICIES:
            return self.error(Kind.FORBIDDEN, op, key, f"'{key}' {_POLICIES[refusal.reason]}.")
        permission = PERMISSIONS.get(op, "storage.objects.get")
        message = (
            f"The account may not {op} '{key}' in {self._store}: grant it {permission} on the bucket, e.g."
            f" with the role roles/storage.objectUser.{_quoted(refusal)}"
        )
        return self.error(Kind.FORBIDDEN, op, key, message)

    def _other(self, status: int, refusal: Refusal, op: str, key: Key) -> StoreError:
        if status >= 500 or status in {408, 410}:
            message = f"{self._store} can't {op} '{key}' right now ({status}).{_quoted(refusal)}"
            return self.error(Kind.UNAVAILABLE, op, key, message, Retry.SOON)
        if status == 400 and op in {"write", "put"}:
            message = f"'{key}' arrived damaged in {self._store}; nothing was kept.{_quoted(refusal)}"
            return self.error(Kind.CORRUPT, op, key, message, Retry.SOON)
        if status in _STATUS:
            kind, what = _STATUS[status]
            return self.error(kind, op, key, f"'{key}' {what}.")
        message = f"{self._store} answered {status} to {op} '{key}'.{_quoted(refusal)}"
        return self.error(Kind.UNEXPECTED, op, key, message)

    def failed(self, error: Exception, op: str, key: Key) -> StoreError:
        """The error of a request that got no reply, or no sense from it."""
        if isinstance(error, StoreError):
            return error
        if isinstance(error, auth.GoogleAuthError):
            return self._unauthenticated(error, op, key)
        if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
            message = f"The certificate of {self._store} isn't trusted: name its authority by SSL_CERT_FILE."
            return self.error(Kind.CONFIG, op, key, message)
        if isinstance(error, TimeoutError):
            message = f"{self._store} sent nothing for {self._silence or 30:g} s ({op} '{key}')."
            return self.error(Kind.TIMEOUT, op, key, message, Retry.SOON)
        if isinstance(error, aiohttp.ClientHttpProxyError):  # its text has the proxy's password
            message = f"The proxy on the way to {self._store} refuses ({error.status}); check HTTPS_PROXY."
            return self.error(Kind.UNAVAILABLE, op, key, message, Retry.SOON)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, aiohttp.InvalidURL | KeyError | ValueError):  # msgspec's are ValueErrors
            message = f"What answers for {self._store} is no Cloud Storage; check STORAGE_EMULATOR_HOST"
            return self.error(Kind.UNEXPECTED, op, key, f"{message} ({what}).")
        message = f"The connection to {self._store} failed ({op} '{key}'; {what})"
        if isinstance(error, aiohttp.ClientConnectorError):
            message += "; check the network and HTTPS_PROXY, or STORAGE_EMULATOR_HOST where it's set"
        return self.error(Kind.UNAVAILABLE, op, key, f"{message}.", Retry.SOON)

    def _unauthenticated(self, error: auth.GoogleAuthError, op: str, key: Key) -> StoreError:
        if isinstance(error, auth.RefreshError) and not error.retryable:
            message = (
                f"Google gives out no token for {self._store}: the key or sign-in was revoked, or this"
                f" machine's clock is off. Set the clock, or {_SIGN_IN}."
            )
            return self.error(Kind.UNAUTHENTICATED, op, key, message)
        if op == "sign" and not error.retryable and not isinstance(error, auth.RefreshError):
            message = (
                f"The account can't sign for {self._store}: grant it iam.serviceAccounts.signBlob on itself,"
                " with the role roles/iam.serviceAccountTokenCreator."
            )
            return self.error(Kind.FORBIDDEN, op, key, message)
        message = f"Google's sign-in for {self._store} can't be reached ({type(error).__name__})."
        return self.error(Kind.UNAVAILABLE, op, key, message, Retry.SOON)


def _quoted(refusal: Refusal) -> str:
    return f" Google says: {refusal.message[:300]}" if refusal.message else ""


_TOO_MANY = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"}
_POLICIES = {
    "retentionPolicyNotMet": "is kept by the bucket's retention policy and can't be replaced or deleted yet",
    "objectUnderActiveHold": "is under a hold; release it first",
    "accountDisabled": "is in a project whose billing is off; enable billing for it",
    "billingDisabled": "is in a project whose billing is off; enable billing for it",
    "insufficientPermissions": "is out of the credentials' scopes; they need that of Cloud Storage or"
    " cloud-platform",
}
_STATUS: dict[int, tuple[Kind, str]] = {
    404: (Kind.NOT_FOUND, "is not there"),
    412: (Kind.CHANGED, "has changed since"),
    413: (Kind.TOO_LARGE, "is larger than Cloud Storage takes (5 TiB)"),
    416: (Kind.RANGE, "has no byte in that range"),
}
