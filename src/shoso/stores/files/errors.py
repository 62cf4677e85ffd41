"""An OSError as a store's error: one table, for the files of this machine and for those of others."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

from shoso.errors import Kind, Retry, StoreError, store_error

KINDS: Mapping[int, tuple[Kind, str]] = {
    errno.ENOENT: (Kind.NOT_FOUND, "is not there"),
    errno.ENOTDIR: (Kind.NOT_FOUND, "is not there: a file stands where one of its folders would be"),
    errno.EEXIST: (Kind.EXISTS, "is there already"),
    errno.EISDIR: (Kind.EXISTS, "is a folder"),
    errno.ENOTEMPTY: (Kind.EXISTS, "is a folder"),
    errno.ENAMETOOLONG: (Kind.INVALID_KEY, "has a name that is too long for the file system"),
    errno.EILSEQ: (Kind.INVALID_KEY, "has a name that the file system doesn't take"),
    errno.EINVAL: (Kind.INVALID_KEY, "has a name that the file system doesn't take"),
    errno.ELOOP: (Kind.INVALID_KEY, "leads through a symbolic link; move the files, or mount the folder"),
    errno.EACCES: (Kind.FORBIDDEN, "may not be touched by the user that Shoso is there"),
    errno.EPERM: (Kind.FORBIDDEN, "may not be touched by the user that Shoso is there"),
    errno.EROFS: (Kind.FORBIDDEN, "is on a file system that is mounted read-only"),
    errno.ENOSPC: (Kind.NO_SPACE, "doesn't fit: the disk is full"),
    errno.EDQUOT: (Kind.NO_SPACE, "doesn't fit: the disk quota is used up"),
    errno.EFBIG: (Kind.TOO_LARGE, "is larger than the file system takes"),
    errno.ESTALE: (Kind.CHANGED, "was replaced on the file server meanwhile"),
}

WRITING = frozenset({"write", "begin", "put", "finish", "move"})

_FILE_ABOVE = (Kind.EXISTS, "can't be written: a file stands where one of its folders would be")
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENOTCONN}


def known(error: OSError, op: str, kinds: Mapping[int, tuple[Kind, str]] = KINDS) -> tuple[Kind, str]:
    """The kind, and what is to be said of the key, by the error's number."""
    if error.errno == errno.ENOTDIR and op in WRITING:
        return _FILE_ABOVE
    return kinds.get(error.errno or 0, (Kind.UNEXPECTED, f"failed ({error.strerror or error})"))


def translated(error: OSError, op: str, key: str, store: str) -> StoreError:
    """The error of a file system reached over a network; where the way there was lost, it may be retried."""
    if isinstance(error, TimeoutError):
        message = f"{store} gave no answer to {op} '{key}'."
        return store_error(Kind.TIMEOUT, message, retry=Retry.SOON, op=op, key=key, store=store)
    if isinstance(error, ConnectionError) or error.errno in _UNREACHABLE:
        message = f"{store} can't be reached now: {error.strerror or error}."
        return store_error(Kind.UNAVAILABLE, message, retry=Retry.SOON, op=op, key=key, store=store)
    kind, what = known(error, op)
    return store_error(kind, f"'{key}' {what}.", op=op, key=key, store=store)


def several(failures: Sequence[StoreError], store: str, op: str = "delete") -> StoreError:
    """One error for what couldn't be deleted, or moved."""
    first = failures[0]
    if len(failures) == 1:
        return first
    message = f"{len(failures)} objects couldn't be {op}d, the first: {first.message}"
    return store_error(first.kind, message, retry=first.retry, op=op, key=first.key, store=store)


def sign(error: StoreError, op: str, key: str, store: str) -> None:
    """Complete a driver's own error, which doesn't know who called."""
    error.op, error.key, error.store = error.op or op, error.key or key, error.store or store
