"""An etag for files of a protocol that has none: random bits in the time of access.

SFTP 3 tells a file's size and its times in whole seconds, so two versions of one size within a second would
look the same. A file that is written here gets a random time of access between 2038 and 2106, which the
protocol's 32 bits can say. Nobody changes it: Linux moves a time of access (relatime) only where it's older
than the last change or than a day, and with noatime never. Where it isn't kept (a file system that ends in
2038, a mount with strictatime once the file has been read) the file has no etag: a read of it that breaks off
fails, rather than going on with another version.
"""

from __future__ import annotations

import secrets
import time

import asyncssh

from shoso.stores.files.system import Status

_FIRST = 2**31
_LAST = 2**32


def stamp() -> asyncssh.SFTPAttrs:
    """The times of a new version."""
    return asyncssh.SFTPAttrs(atime=_FIRST + secrets.randbelow(_FIRST), mtime=int(time.time()))


def status_of(attrs: asyncssh.SFTPAttrs) -> Status:
    """The status of a regular file or folder."""
    folder = attrs.type == asyncssh.FILEXFER_TYPE_DIRECTORY
    size, accessed, modified = attrs.size or 0, attrs.atime or 0, attrs.mtime or 0
    stamped = not folder and _FIRST <= accessed < _LAST
    return Status(folder, size, float(modified), f"{modified:x}-{accessed:x}-{size:x}" if stamped else None)
