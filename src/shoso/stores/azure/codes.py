"""Azure's error codes: what each is to us, whether to try again, and the sentence that says what to change.

https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes and its page of common codes.
"""

from __future__ import annotations

from typing import NamedTuple

from shoso.errors import Kind, Retry


class Refusal(NamedTuple):
    """What a code means; the sentence is a template, see `Failures.error`."""

    kind: Kind
    sentence: str
    retry: Retry = Retry.NEVER


MISSING = Refusal(Kind.NOT_FOUND, "'{key}' is not in {name}")
CHANGED = Refusal(Kind.CHANGED, "'{key}' in {name} has changed since")
OUT_OF_RANGE = Refusal(Kind.RANGE, "The range names no byte of '{key}' in {name}")
BUSY = Refusal(Kind.THROTTLED, "{name} is busy", Retry.SOON)
FAILED = Refusal(Kind.UNAVAILABLE, "{name} failed to {op} '{key}'", Retry.SOON)
SLOW = Refusal(Kind.UNAVAILABLE, "{name} took too long to {op} '{key}'", Retry.SOON)
_FOLDER = Refusal(Kind.EXISTS, "A folder stands in {name} where '{key}' should")
_NAME = Refusal(Kind.INVALID_KEY, "Azure takes no blob or container of the name '{key}' in {name}")
_LACKS = Refusal(
    Kind.UNSUPPORTED,
    "{name} lacks a call that it takes to {op} '{key}': take a newer version of what answers there (Azurite:"
    " 3.37 or later)",
)
_LEASED = Refusal(
    Kind.FORBIDDEN,
    "Somebody holds a lease on '{key}' in {name}: wait for its end, or break it with 'az storage blob lease"
    " break'",
)

CODES: dict[str, Refusal] = {
    "BlobNotFound": MISSING,
    "ResourceNotFound": MISSING,
    "PathNotFound": MISSING,
    "ContainerNotFound": Refusal(
        Kind.NOT_FOUND,
        "There is no container '{container}' in the account '{account}': create it, or correct the location",
    ),
    "ContainerBeingDeleted": Refusal(
        Kind.UNAVAILABLE, "The container '{container}' of '{account}' is being deleted", Retry.SOON
    ),
    "BlobAlreadyExists": Refusal(Kind.EXISTS, "'{key}' is already in {name}"),
    "PathConflict": _FOLDER,
    "ResourceTypeMismatch": _FOLDER,
    "ConditionNotMet": CHANGED,
    "SourceConditionNotMet": Refusal(Kind.CHANGED, "A part of '{key}' in {name} has changed since"),
    "InvalidRange": OUT_OF_RANGE,
    "Md5Mismatch": Refusal(
        Kind.CORRUPT, "'{key}' was changed on its way to {name}; nothing was kept", Retry.SOON
    ),
    "InvalidBlockList": Refusal(
        Kind.UNAVAILABLE,
        "Somebody else wrote '{key}' in {name} at the same time, and Azure dropped what we had sent of it",
        Retry.SOON,
    ),
    "InvalidBlobOrBlock": Refusal(
        Kind.EXISTS,
        "Another program's unfinished upload of '{key}' is in the way in {name}: let it finish, or wait a"
        " week until Azure drops it",
    ),
    "BlobImmutableDueToPolicy": Refusal(
        Kind.FORBIDDEN,
        "'{key}' in {name} is under an immutability policy or a legal hold: wait for its end, or have it"
        " lifted",
    ),
    "SnapshotsPresent": Refusal(Kind.FORBIDDEN, "'{key}' in {name} has snapshots: delete those first"),
    "BlobArchived": Refusal(
        Kind.FORBIDDEN, "'{key}' in {name} is in the archive tier: move it to another tier first"
    ),
    "BlobBeingRehydrated": Refusal(
        Kind.FORBIDDEN, "'{key}' in {name} is on its way out of the archive tier: try again in some hours"
    ),
    "AccountIsDisabled": Refusal(Kind.FORBIDDEN, "The account '{account}' is disabled: enable it"),
    "KeyBasedAuthenticationNotPermitted": Refusal(
        Kind.FORBIDDEN, "The account '{account}' takes no keys: unset {setting}, so that an identity is used"
    ),
    "AuthorizationPermissionMismatch": Refusal(
        Kind.FORBIDDEN,
        "{credential} may not {op} in {name}: give the identity the roles 'Storage Blob Data Contributor' on"
        " the container and 'Storage Blob Delegator' on the account, or the signature the permissions racwdl",
    ),
    "CannotVerifyCopySource": Refusal(
        Kind.FORBIDDEN,
        "Azure can't read the parts of '{key}' in {name}, to put them together: let this machine's address"
        " in, in the firewall of the account '{account}'",
    ),
    "APINotImplemented": _LACKS,
    "ServerBusy": BUSY,
    "OperationTimedOut": SLOW,
    "InternalError": FAILED,
    "InvalidUri": _NAME,
    "OutOfRangeInput": _NAME,
    "InvalidResourceName": _NAME,
    "RequestBodyTooLarge": Refusal(Kind.TOO_LARGE, "'{key}' is too large for one request to {name}"),
    "LeaseIdMissing": _LEASED,
    "LeaseAlreadyPresent": _LEASED,
    "LeaseIdMismatchWithBlobOperation": _LEASED,
    "LeaseLost": _LEASED,
}

STATUSES: dict[int, Refusal] = {
    404: MISSING,
    408: SLOW,
    412: CHANGED,
    416: OUT_OF_RANGE,
    429: BUSY,
    500: FAILED,
    501: _LACKS,
    502: FAILED,
    503: BUSY,
    504: SLOW,
}
"""For replies without a code of Azure's, e.g. a proxy's."""
