"""The values that cross the store contract: frozen, comparable, without behaviour of their own."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from shoso.core.keys import Key
from shoso.errors import Kind, store_error

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class FromTo:
    """Bytes `start` up to, not including, `stop`; a stop past the end means the end."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class From:
    """Bytes from `start` to the end."""

    start: int


@dataclass(frozen=True, slots=True)
class Last:
    """The last `count` bytes; all of them where there are fewer."""

    count: int


ByteRange = FromTo | From | Last
ALL = From(0)


def span(wanted: ByteRange, size: int) -> tuple[int, int]:
    """(start, stop) of `wanted` within `size` bytes; raises StoreError(RANGE) where it names no byte.

    `ALL` of an empty object is (0, 0); any other range of it names no byte (RFC 9110, 14.1.2).
    """
    match wanted:
        case From(0):
            return 0, size
        case From(start):
            stop = size
        case FromTo(start, end):
            stop = min(end, size)
        case Last(count):
            start, stop = max(0, size - count), size
    if not 0 <= start < stop:
        raise store_error(Kind.RANGE, f"The range {wanted} names no byte of an object of {size} bytes.")
    return start, stop


class Mode(enum.Enum):
    """How a write treats what is there: OVERWRITE replaces it, CREATE refuses."""

    OVERWRITE = "overwrite"
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class IfMatch:
    """Replace only the object that still has this etag."""

    etag: str


WriteMode = Mode | IfMatch
OVERWRITE = Mode.OVERWRITE
CREATE = Mode.CREATE


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """What is known of an object.

    `size` in bytes; `modified` in seconds since the epoch; `etag` opaque, equal only for equal bytes;
    `digest` the BLAKE3 of the whole object in hex: of what was just written where the store computed it or
    was told it, of what is read where it was kept.
    """

    key: Key
    size: int
    modified: float
    etag: str | None = None
    digest: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class SmallObject:
    """An object with all its bytes; a `digest` in `meta` is what they must have."""

    meta: ObjectMeta
    data: Buffer


@dataclass(frozen=True, slots=True)
class Prefix:
    """A folder in a shallow listing: objects lie below `key`."""

    key: Key


Entry = ObjectMeta | Prefix

Move = tuple[Key, Key]
"""The key that an object has, and the one that it gets."""


class UploadStyle(enum.Enum):
    """Whether a store takes an object in parts: not at all, or in any order."""

    NONE = "none"
    PARTS = "parts"


class Digests(enum.Enum):
    """Of which objects a store itself keeps the digest: of none, of those written in one call, or of all."""

    NONE = "none"
    WRITTEN = "written"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do, as data; in brackets who reads it.

    create         CREATE is honoured: it has exactly one winner [check]
    if_match       IfMatch is honoured, and every version has an etag of its own [check]
    ranges         a read may start past the first byte [check]
    uploads        the Uploads verbs [check]
    part_min/max   bytes in a part, the last one may be smaller [check]
    parts_max      parts in an upload [check]
    sorted_list    listings come in the order of keys [store.page]
    bulk_delete    keys per round trip [limits]
    connections    calls under way at once [limits]
    digests        whole-object digests are kept and returned with the object [ledger]
    move           objects get other keys inside the storage [check]
    """

    create: bool = True
    if_match: bool = True
    ranges: bool = True
    uploads: UploadStyle = UploadStyle.PARTS
    part_min: int = 0
    part_max: int = 5 * 1024**3
    parts_max: int = 10_000
    sorted_list: bool = True
    bulk_delete: int = 1000
    connections: int = 32
    digests: Digests = Digests.ALL
    move: bool = False


@dataclass(frozen=True, slots=True)
class UploadRef:
    """An upload under way: enough to go on with it from another process.

    `begun` in seconds since the epoch, where a store is asked which there are, and can tell.
    """

    key: Key
    id: str
    begun: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Part:
    """A part the store really has: number from 1, size in bytes, the store's tag, BLAKE3 where known.

    `modified` in seconds since the epoch, where a store is asked which there are, and can tell.
    """

    number: int
    size: int
    etag: str
    digest: str | None = None
    modified: float | None = field(default=None, compare=False)


async def _nothing() -> None:
    return


SignedMethod = Literal["GET", "PUT"]
"""What a signed request does: read, or write a part."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that whoever has it may send without credentials, until it expires.

    Its `repr` leaves the signature out: it is as good as a password while it lasts.
    """

    method: SignedMethod
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Reading:
    """An object being read: bytes `start` up to `stop` of it, in buffers, in order.

    Use it as an async context manager: leaving it frees the connection and the permit behind it, whether
    or not the body was read to the end.
    """

    meta: ObjectMeta
    start: int
    stop: int
    body: AsyncIterator[Buffer]
    close: Callable[[], Awaitable[None]] = field(default=_nothing)

    @property
    def size(self) -> int:
        """Bytes that the body yields."""
        return self.stop - self.start

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
