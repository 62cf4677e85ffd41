"""What went wrong, as a StoreError: by the storage's error code, else by its status, else by exception."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp

from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.stores.s3.documents import Fault
from shoso.stores.s3.options import S3Options


class Verdict(NamedTuple):
    """A kind, whether to try again, and the sentence, with {bucket}, {region}, {endpoint} and {message}."""

    kind: Kind
    retry: Retry
    sentence: str


_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in AWS_PROFILE."

CODES: dict[str, Verdict] = {
    "NoSuchKey": Verdict(Kind.NOT_FOUND, Retry.NEVER, "is not there"),
    "NoSuchUpload": Verdict(Kind.NOT_FOUND, Retry.NEVER, "has no such upload under way"),
    "NoSuchBucket": Verdict(
        Kind.NOT_FOUND,
        Retry.NEVER,
        "can't be reached: there is no bucket '{bucket}' at {endpoint}. Create it, or correct the artifact"
        " location or MLFLOW_S3_ENDPOINT_URL",
    ),
    "PreconditionFailed": Verdict(Kind.CHANGED, Retry.NEVER, "has changed since"),
    "ConditionalRequestConflict": Verdict(Kind.UNAVAILABLE, Retry.SOON, "is being written by others"),
    "OperationAborted": Verdict(Kind.UNAVAILABLE, Retry.SOON, "is being changed by others"),
    "InvalidRange": Verdict(Kind.RANGE, Retry.NEVER, "has no byte in that range"),
    "InvalidPart": Verdict(
        Kind.INVALID,
        Retry.NEVER,
        "has no part like one of those named, or has others besides, which Ceph wants named too",
    ),
    "InvalidPartOrder": Verdict(Kind.INVALID, Retry.NEVER, "must have its parts named in ascending order"),
    "EntityTooSmall": Verdict(Kind.INVALID, Retry.NEVER, "has a part below 5 MiB that is not the last"),
    "EntityTooLarge": Verdict(Kind.TOO_LARGE, Retry.NEVER, "is larger than the storage takes"),
    "KeyTooLongError": Verdict(Kind.INVALID_KEY, Retry.NEVER, "has a key that is too long for the storage"),
    "AccessDenied": Verdict(
        Kind.FORBIDDEN,
        Retry.NEVER,
        "is refused by the storage: the credentials lack a permission on bucket '{bucket}', which needs"
        " s3:GetObject, PutObject, DeleteObject, ListBucket and AbortMultipartUpload, or"
        " MLFLOW_S3_EXPECTED_BUCKET_OWNER is another",
    ),
    "InvalidObjectState": Verdict(
        Kind.FORBIDDEN, Retry.NEVER, "is in an archive (Glacier): have it restored, and try again then"
    ),
    "AllAccessDisabled": Verdict(Kind.FORBIDDEN, Retry.NEVER, "is in a bucket to which nobody has access"),
    "InvalidAccessKeyId": Verdict(
        Kind.UNAUTHENTICATED, Retry.NEVER, f"is refused: {{endpoint}} doesn't know the access key; {_KEYS}"
    ),
    "SignatureDoesNotMatch": Verdict(
        Kind.UNAUTHENTICATED, Retry.NEVER, f"is refused: the signature is wrong, so the secret is; {_KEYS}"
    ),
    "ExpiredToken": Verdict(
        Kind.UNAUTHENTICATED,
        Retry.NEVER,
        "is refused: the temporary credentials have expired; renew AWS_SESSION_TOKEN and its keys",
    ),
    "InvalidToken": Verdict(
        Kind.UNAUTHENTICATED,
        Retry.NEVER,
        "is refused: AWS_SESSION_TOKEN doesn't belong to the access key; renew or unset it",
    ),
    "RequestTimeTooSkewed": Verdict(
        Kind.UNAUTHENTICATED,
        Retry.NEVER,
        "is refused: the clocks of this machine and of the storage differ too much; set this machine's (NTP)",
    ),
    "PermanentRedirect": Verdict(
        Kind.CONFIG,
        Retry.NEVER,
        "is in a bucket of another region ({region}) than the address; set AWS_DEFAULT_REGION to it",
    ),
    "AuthorizationHeaderMalformed": Verdict(
        Kind.CONFIG,
        Retry.NEVER,
        "is refused: the request was signed for the wrong region; set AWS_DEFAULT_REGION to {region}",
    ),
    "InvalidArgument": Verdict(Kind.INVALID, Retry.NEVER, "is refused: {message}"),
    "InvalidRequest": Verdict(Kind.INVALID, Retry.NEVER, "is refused: {message}"),
    "NotImplemented": Verdict(Kind.UNSUPPORTED, Retry.NEVER, "asks for what the storage can't do: {message}"),
    "QuotaExceeded": Verdict(Kind.NO_SPACE, Retry.NEVER, "doesn't fit into the quota of bucket '{bucket}'"),
    "XAmzContentSHA256Mismatch": Verdict(Kind.CORRUPT, Retry.SOON, "was damaged on its way to the storage"),
    "BadDigest": Verdict(Kind.CORRUPT, Retry.SOON, "was damaged on its way to the storage"),
    "InvalidDigest": Verdict(Kind.CORRUPT, Retry.SOON, "was damaged on its way to the storage"),
    "IncompleteBody": Verdict(Kind.UNAVAILABLE, Retry.SOON, "did not arrive whole"),
    "RequestTimeout": Verdict(Kind.UNAVAILABLE, Retry.SOON, "did not arrive in time"),
    "SlowDown": Verdict(Kind.THROTTLED, Retry.SOON, "has to wait: the storage asks for fewer requests"),
    "TooManyRequests": Verdict(
        Kind.THROTTLED, Retry.SOON, "has to wait: the storage asks for fewer requests"
    ),
    "InternalError": Verdict(Kind.UNAVAILABLE, Retry.SOON, "met an error inside the storage"),
}
"""By S3's error code (API reference, "Error responses"); the sentence goes on behind the key."""

_ALIKE = {
    "UnknownError": "InternalError",
    "InvalidObjectName": "KeyTooLongError",
    "UserSuspended": "AllAccessDisabled",
    "AccountProblem": "AllAccessDisabled",
    "AllAccessDisabledException": "AllAccessDisabled",
    "InvalidAccessKey": "InvalidAccessKeyId",
    "TokenRefreshRequired": "ExpiredToken",
    "RequestExpired": "RequestTimeTooSkewed",
    "TemporaryRedirect": "PermanentRedirect",
    "IllegalLocationConstraintException": "PermanentRedirect",
    "InvalidRegion": "AuthorizationHeaderMalformed",
    "ServiceUnavailable": "SlowDown",
    "Throttling": "SlowDown",
    "ThrottlingException": "SlowDown",
    "RequestLimitExceeded": "SlowDown",
    "BandwidthLimitExceeded": "SlowDown",
    "RequestThrottled": "SlowDown",
    "Busy": "SlowDown",
    "ContentSHA256Mismatch": "XAmzContentSHA256Mismatch",
    "NotSignedUp": "AllAccessDisabled",
    "XMinioStorageFull": "QuotaExceeded",
    "XMinioInvalidObjectName": "KeyTooLongError",
}

_STATUSES = {
    301: "PermanentRedirect", 307: "PermanentRedirect", 401: "InvalidAccessKeyId", 403: "AccessDenied",
    404: "NoSuchKey",
    408: "RequestTimeout", 409: "OperationAborted", 412: "PreconditionFailed", 416: "InvalidRange",
    429: "SlowDown", 500: "InternalError", 501: "NotImplemented", 502: "InternalError", 503: "SlowDown",
    504: "InternalError", 507: "QuotaExceeded",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked when it went wrong."""

    op: str
    key: str
    options: S3Options

    def error(
        self, kind: Kind, what: str, retry: Retry = Retry.NEVER, after: float | None = None
    ) -> StoreError:
        """The error in the store's name; `what` goes on behind the key."""
        name = self.options.name
        subject = f"'{self.key}'" if self.key else "The bucket"
        message = f"{subject} {what.rstrip('.')}, in {name}."
        return store_error(
            kind, message, retry=retry, retry_after=after, op=self.op, key=self.key, store=name
        )

    def replied(self, status: int, fault: Fault, headers: dict[str, str]) -> StoreError:
        """The error that a reply is."""
        code = _ALIKE.get(fault.code, fault.code)
        verdict = CODES.get(code) or CODES.get(_STATUSES.get(status, ""))
        if verdict is None:
            what = f"failed with {status} {fault.code}: {fault.message}"
            return self.error(Kind.UNEXPECTED if status >= 500 else Kind.INVALID, what)
        region = fault.region or headers.get("x-amz-bucket-region", "the bucket's")
        sentence = verdict.sentence.format(
            bucket=self.options.bucket, region=region, message=fault.message or fault.code,
            endpoint=self.options.endpoint or "AWS",
        )  # fmt: skip
        after = _seconds(headers.get("retry-after")) if verdict.retry is Retry.SOON else None
        return self.error(verdict.kind, sentence, Retry.AFTER if after else verdict.retry, after)

    def broken(self, error: Exception) -> StoreError:
        """The error that a connection ended with."""
        where = self.options.endpoint or "AWS"
        match error:
            case aiohttp.ClientConnectorCertificateError():
                what = (
                    f"can't be reached: the certificate of {where} isn't trusted ({_reason(error)}). Set"
                    " AWS_CA_BUNDLE to the file of the authority that signed it"
                )
                return self.error(Kind.CONFIG, what)
            case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
                what = f"can't be reached: {where} speaks no TLS that is understood; is the endpoint http://?"
                return self.error(Kind.CONFIG, what)
            case aiohttp.ClientConnectorDNSError():
                what = (
                    f"can't be reached: the name of {where} can't be resolved; check MLFLOW_S3_ENDPOINT_URL"
                )
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                what = f"can't be reached: nobody answers at {where}; check MLFLOW_S3_ENDPOINT_URL"
            case TimeoutError():
                return self.error(Kind.TIMEOUT, f"got no answer of {where} in time", Retry.SOON)
            case _:
                what = f"was cut off: the connection to {where} broke ({type(error).__name__})"
        return self.error(Kind.UNAVAILABLE, what, Retry.SOON)


def _reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return getattr(cause, "verify_message", "") or type(cause).__name__


def _seconds(text: str | None) -> float | None:
    """What Retry-After says: seconds or a time (RFC 9110, 10.2.3)."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
