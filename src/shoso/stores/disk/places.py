"""Parts that lie in one file, each at its place, and the digests of what they make.

A part may be put by two at once, or by one who is slow while the whole is finished. So whoever writes at a
place holds a lock of just those bytes, which ends with its process; who doesn't get it writes elsewhere.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shoso.core.digest import Digester, mismatch
from shoso.core.keys import Key
from shoso.core.streams import CHUNK
from shoso.core.types import Part
from shoso.errors import StoreError
from shoso.stores.disk.drafts import write_at

_FLOCK = "hhqqi0q"  # struct flock of fcntl(2)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part, and where its bytes are: at `start` in the file `name`."""

    part: Part
    name: str
    start: int


def take_place(folder: int, name: str, start: int, length: int, free: Callable[[], bool]) -> int | None:
    """The file, open, with so many of its bytes locked; None where they are somebody's or the file is gone.

    `free` is asked when they are locked: what is true then, stays true.
    """
    file = os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    try:
        if claim(file, start, length) and _is(folder, name, file) and free():
            return file
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def claim(file: int, start: int, length: int = 0) -> bool:
    """Lock so many bytes of an open file (0: to its end), until it's closed; False where that can't be."""
    wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, wanted)
    except (OSError, AttributeError):  # somebody has it, or the system has no such locks
        return False
    return True


def in_place(pieces: Sequence[Piece], name: str) -> bool:
    """Whether the pieces lie in that file, one behind the other, from its start."""
    position = 0
    for piece in pieces:
        if (piece.name, piece.start) != (name, position):
            return False
        position += piece.part.size
    return True


def undamaged(folder: int, piece: Piece) -> bool:
    """Whether the bytes of a piece are still what they were."""
    try:
        compare(Key(piece.name), folder, [piece], None)
    except StoreError:
        return False
    return True


def compare(
    key: Key, folder: int, pieces: Sequence[Piece], expected: str | None, into: int | None = None
) -> str:
    """The digest of the pieces (of files in `folder`) put together; copied to the open file `into`.

    Where the digest of the whole is known (`expected`) it's compared, else that of each part. Raises CORRUPT.
    """
    whole = Digester()
    for piece in pieces:
        digester = Digester()
        for data in _read(folder, piece):
            if into is not None:
                write_at(into, data, whole.size)
            whole.update(data)
            if expected is None:
                digester.update(data)
        if expected is None and digester.hex() != piece.part.etag:
            raise mismatch(key, piece.part.etag, digester.hex())
    if expected is not None and expected != whole.hex():
        raise mismatch(key, expected, whole.hex())
    return whole.hex()


def _is(folder: int, name: str, file: int) -> bool:
    """Whether the open file still has that name: not so if the whole was finished meanwhile."""
    return os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(file))


def _read(folder: int, piece: Piece) -> Iterator[bytes]:
    file = os.open(piece.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    try:
        position, stop = piece.start, piece.start + piece.part.size
        while position < stop and (data := os.pread(file, min(CHUNK, stop - position), position)):
            yield data
            position += len(data)
    finally:
        os.close(file)
