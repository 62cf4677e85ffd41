"""What a driver provides: the few verbs of a file system on a server, and what it can do beyond them.

Paths are relative to the root that the driver was given: segments joined by "/", "" is the root itself. They
are keys, or names below `.shoso`: never absolute, never climbing.

A driver says what went wrong in the words of the operating system, OSErrors with an `errno`:

    ENOENT      nothing is there, or a folder on the way is missing
    ENOTDIR     a file stands where a folder would be; ENOENT will do where the protocol can't tell
    EEXIST      something is there already
    EISDIR      a folder is there, where a file is wanted or would be replaced
    ENOTEMPTY   the folder holds something
    ELOOP       the path leads through a symbolic link
    ENAMETOOLONG, EINVAL, EACCES, EROFS, ENOSPC, EDQUOT, EIO   as they are
    ConnectionError, TimeoutError                               may go better on a new connection: tried again

and what no file system has a word for (a host key, credentials, a missing package) as a StoreError or
ConfigError. Where the protocol has one status for several of these, the driver asks until it knows which.
A lost connection is opened anew by the next call; nothing is tried again below the retry layer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shoso.core.types import Buffer, Digests


@dataclass(frozen=True, slots=True)
class Traits:
    """What the storage can do beyond the least; each decides what the store promises.

    exclusive     `rename` without `replace` has exactly one winner, so that CREATE is honoured
    digests       the digest given to `seal` comes back in `Status.digest` of `open`, `status` and `rename`
    joins         `join` works, so that parts don't pass through this process once more
    connections   calls that may be under way at once
    """

    exclusive: bool
    digests: Digests = Digests.NONE
    joins: bool = False
    connections: int = 32


@dataclass(frozen=True, slots=True)
class Status:
    """A folder, or a regular file: size in bytes, time of its last change in seconds since the epoch.

    `modified` is 0 where the storage doesn't say.
    `version` is another for other bytes at that path, or None where the storage can't say; it's what an etag
    is made of. `digest` is the BLAKE3 in hex that was kept with the file and is still of these bytes.
    """

    folder: bool
    size: int
    modified: float
    version: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of a folder."""

    name: str
    status: Status


class NewFile(Protocol):
    """A file being written; nobody else knows its name."""

    async def append(self, buffers: Sequence[Buffer]) -> None:
        """Take in the next bytes; may return while a bounded window of them is under way."""
        ...

    async def seal(self, digest: str) -> Status:
        """Close it when every byte is on the disk, as far as the protocol lets one ask; keep the digest."""
        ...

    async def discard(self) -> None:
        """Let go of it and remove it, sealed or not; raises where it couldn't be removed."""
        ...


class OpenFile(Protocol):
    """A file being read: the bytes stay those of one version, or the read fails."""

    @property
    def status(self) -> Status: ...

    def read(self, start: int, stop: int) -> AsyncIterator[Buffer]:
        """The bytes from `start` up to `stop`, which lie within the file; called once."""
        ...

    async def close(self) -> None:
        """Let go of it, also in the middle of a read; may be called again, raises nothing."""
        ...


class FileSystem(Protocol):
    """A folder on a server; it connects with the first call."""

    @property
    def traits(self) -> Traits: ...

    async def status(self, path: str) -> Status:
        """What is there: a regular file or a folder."""
        ...

    async def open(self, path: str) -> OpenFile:
        """Open a regular file for reading. Raises ENOENT also for whatever is no file."""
        ...

    async def create(self, path: str) -> NewFile:
        """Make a new file; the name is a fresh random one. Raises ENOENT where its folder is missing."""
        ...

    async def rename(self, source: str, target: str, replace: bool) -> None:
        """Give a file another name, in one step and durably.

        What `target` was is replaced in the same step, if `replace`; else raises EEXIST. A folder is never
        replaced: EISDIR or EEXIST. Raises ENOENT where the folder of `target` is missing.
        """
        ...

    async def remove(self, path: str) -> None:
        """Remove a file. Raises EISDIR for a folder."""
        ...

    async def mkdir(self, path: str) -> None:
        """Make a folder, durably. Raises EEXIST; for the root, everything above it is made as well."""
        ...

    async def rmdir(self, path: str) -> None:
        """Remove an empty folder. Raises ENOTEMPTY."""
        ...

    async def entries(self, path: str) -> list[Found]:
        """The folder's files and folders with their statuses, in any order; no links, no devices.

        Raises ENOENT or ENOTDIR where there is no such folder. Digests may be left out.
        """
        ...

    async def join(self, sources: Sequence[str], target: str) -> Status:
        """Make the new file `target`, sealed, of the bytes of `sources` in that order; see `Traits.joins`.

        Whole or not at all isn't asked for: `target` is a draft. The sources stay, for when it fails.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection; may be called again."""
        ...
