"""The digest: BLAKE3, in hex. One algorithm everywhere, named in one place.

Measured on one core: 4.1 GB/s, where SHA-256 makes 1.1 to 1.8.
"""

from __future__ import annotations

from blake3 import blake3

from shoso.core.types import Buffer
from shoso.errors import Kind, StoreError, store_error

SIZE = 32
"""Bytes of a raw digest."""

MEND = "send it again (by `shoso artifacts`: with --force)"
"""What to do about an artifact that is damaged: of itself, a copy skips what has the right digest noted."""


class Digester:
    """A digest in the making; feeding it releases the GIL for large buffers."""

    __slots__ = ("_hasher", "size")

    def __init__(self) -> None:
        self._hasher = blake3()
        self.size = 0

    def update(self, data: Buffer) -> None:
        """Take in the next bytes."""
        self._hasher.update(data)
        self.size += len(data)

    def hex(self) -> str:
        """The digest of the bytes so far."""
        return str(self._hasher.hexdigest())


def digest(data: Buffer) -> str:
    """The digest of `data`."""
    return str(blake3(data).hexdigest())


def mismatch(key: str, expected: str, actual: str) -> StoreError:
    """The error of bytes that aren't what they should be; it names the artifact."""
    return store_error(
        Kind.CORRUPT,
        f"The bytes of '{key}' don't match their digest: expected {expected}, got {actual}. Nothing was"
        f" kept or handed out; {MEND}.",
        key=key,
    )
