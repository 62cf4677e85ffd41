"""tar: objects one behind another in POSIX's interchange format (pax), written and read as they come.

Every `tar` opens what is written here. What is known of an object beside name, size and time travels in
records of our own, `SHOSO.digest` and the like, which others skip. An object that couldn't be read stands in
its place as an empty member of type `E`, with the error in such records.

Whatever `tar c` writes can be read: ustar and pax, GNU's long names and sizes beyond 8 GiB. Folders and
labels are passed over; a link, a device or a sparse file is refused by name, and the rest goes on.

    header    512 bytes: name, size, time, kind, a checksum
    bytes     filled up with zeros to a multiple of 512
    …         an extended header is a member (kind `x`) whose bytes are records about the next one
    end       two blocks of zeros
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.core.types import Buffer, ObjectMeta
from shoso.errors import Kind, StoreError, store_error

BLOCK = 512

END = bytes(2 * BLOCK)
"""What stands behind the last object."""

HEAD_LIMIT = 1024 * 1024
"""Bytes of one member's extended headers: long names, and attributes that nobody here reads."""

_ZEROS = bytes(BLOCK)
_NAME = slice(0, 100)
_SIZE = slice(124, 136)
_TIME = slice(136, 148)
_CHECKSUM = slice(148, 156)
_KIND = slice(156, 157)
_MAGIC = slice(257, 263)
_PREFIX = slice(345, 500)
_GOES_ON = 482
_GOES_ON_STILL = 504
"""Where a sparse file's header, and each block that follows, says that another block of its map follows."""

_FAILED = b"E"
"""The kind of what stands in the place of an object that couldn't be read; POSIX leaves A to Z to anybody."""

_ETAG, _DIGEST, _TYPE = b"SHOSO.etag", b"SHOSO.digest", b"SHOSO.type"
_ERROR, _MESSAGE = b"SHOSO.error", b"SHOSO.message"
_SPARSE = {b"GNU.sparse.name", b"GNU.sparse.size", b"GNU.sparse.realsize"}
_KNOWN = {b"path", b"size", b"mtime", _ETAG, _DIGEST, _TYPE, _ERROR, _MESSAGE} | _SPARSE

Records = dict[bytes, bytes]
"""What an extended header says, by keyword."""


# -- writing ----------------------------------------------------------------------------------------------

_NAME_MAX = 100
_OCTAL = 8**11
_OWNER = b"0000644\0" + 2 * b"0000000\0"
_USTAR = (bytes(_NAME_MAX) + b"ustar\x0000").ljust(BLOCK - _KIND.stop, b"\0")
_FIXED = sum(_OWNER) + 8 * ord(" ") + sum(_USTAR)
_EXTENDED = b"././@PaxHeader"


def head(meta: ObjectMeta, own: bool = True) -> bytes:
    """What stands before the object's bytes; without our `own` records, of which GNU tar would warn."""
    name = meta.key.encode()
    records = [_record(b"mtime", b"%.9f" % meta.modified)]
    if len(name) > _NAME_MAX or not name.isascii():
        records.append(_record(b"path", name))
    if meta.size >= _OCTAL:
        records.append(_record(b"size", b"%d" % meta.size))
    if own:
        about = ((_ETAG, meta.etag), (_DIGEST, meta.digest), (_TYPE, meta.content_type))
        records += [_record(name, value.encode()) for name, value in about if value is not None]
    return _extended(records) + _header(name, meta.size, meta.modified, b"0")


def tail(size: int) -> bytes:
    """What stands behind an object of so many bytes."""
    return _ZEROS[: -size % BLOCK]


def failed(key: Key, error: StoreError) -> bytes:
    """What stands in the place of an object that couldn't be read."""
    name = key.encode()
    about = ((b"path", name), (_ERROR, error.kind.value.encode()), (_MESSAGE, error.message.encode()))
    return _extended([_record(*each) for each in about]) + _header(name, 0, 0, _FAILED)


def _extended(records: list[bytes]) -> bytes:
    data = b"".join(records)
    return _header(_EXTENDED, len(data), 0, b"x") + data + tail(len(data))


def _header(name: bytes, size: int, modified: float, kind: bytes) -> bytes:
    """A block of POSIX's ustar; what doesn't fit into it stands in a record before it."""
    name = name[:_NAME_MAX]
    seconds = min(max(0, int(modified)), _OCTAL - 1)
    numbers = b"%011o\0%011o\0" % (size if size < _OCTAL else 0, seconds)
    checksum = b"%06o\0 " % (_FIXED + _sum(name + numbers + kind))
    return b"".join((name.ljust(_NAME_MAX, b"\0"), _OWNER, numbers, checksum, kind, _USTAR))


def _sum(data: bytes) -> int:
    """The sum of at most 256 bytes: the first half of their Adler-32 (RFC 1950), which is below 65,521."""
    return zlib.adler32(data, 0) & 0xFFFF


def _record(name: bytes, value: bytes) -> bytes:
    """A record; it begins with its own length, whose digits count too."""
    text = b" %b=%b\n" % (name, value)
    length = len(text) + len(str(len(text)))
    return b"%d%b" % (len(text) + len(str(length)), text)


# -- reading ----------------------------------------------------------------------------------------------

_FILES = {b"0", b"\0", b"7"}
_OBJECTS = _FILES | {_FAILED}
_PASSED = {b"5", b"D", b"V"}
_EXTENSIONS = {b"x", b"g", b"L", b"K"}
_EMPTY = {b"1", b"2", b"3", b"4", b"5", b"6"}
"""Kinds behind which no bytes stand, whatever size they say."""

_REFUSED = {
    b"1": "is a hard link; make the tar with --hard-dereference",
    b"2": "is a symbolic link; make the tar with --dereference",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
    b"S": "is a sparse file; make the tar without --sparse",
    b"M": "is a piece of a file; make the tar in one volume",
}

_SECONDS = re.compile(rb"-?[0-9]{1,20}(\.[0-9]{0,40})?")
_DIGITS = re.compile(rb"[0-9]{1,19}")


class _Member(NamedTuple):
    """A header, and what the extended ones before it said."""

    block: bytes
    kind: bytes
    records: Records

    @property
    def name(self) -> bytes:
        """As it is written, relative to the folder that the tar was made of."""
        for record in (b"GNU.sparse.name", b"path"):
            if told := self.records.get(record):
                return told
        name = self.block[_NAME].partition(b"\0")[0]
        above = self.block[_PREFIX].partition(b"\0")[0] if self.block[_MAGIC] == b"ustar\0" else b""
        return above + b"/" + name if above else name


class Reader:
    """The objects of a tar in their order, as they come; it holds one extended header, and the last buffer.

    Take an object's bytes by `whole` or `open`, or leave them: `next` passes over what is left. The names
    lie below `prefix`. Raises StoreError: INCOMPLETE for a tar cut short, INVALID for what is none.
    """

    def __init__(self, stream: AsyncIterator[Buffer], prefix: Key = ROOT) -> None:
        self._stream = stream
        self._prefix = prefix
        self._held = b""
        self._place = 0
        self._left = 0
        self._padding = 0
        self._everywhere: Records = {}

    async def next(self) -> ObjectMeta | StoreError | None:
        """The next object, or why there can be none of that name; None at the end."""
        while True:
            await self._pass_over(self._left + self._padding)
            if (member := await self._member()) is None:
                return None
            self._left = 0 if member.kind in _EMPTY else _size(member)
            self._padding = -self._left % BLOCK
            if not _is_folder(member):
                return self._entry(member)

    async def whole(self) -> bytes:
        """All bytes of the object, which must be known to be small."""
        data = await self._take(self._left)
        self._left = 0
        return data

    async def open(self) -> AsyncIterator[Buffer]:
        """The bytes of the object, as they come."""
        while self._left:
            if self._place == len(self._held):
                await self._gather(1)
            data = memoryview(self._held)[self._place : self._place + self._left]
            self._place += len(data)
            self._left -= len(data)
            yield data

    # -- members ------------------------------------------------------------------------------------------

    async def _member(self) -> _Member | None:
        """The next header that is about a file or the like; None at the end, with the stream read to its."""
        records, room = self._everywhere.copy(), HEAD_LIMIT
        while (block := await self._take(BLOCK)) != _ZEROS:
            member = _Member(block, _checked_kind(block), records)
            if member.kind not in _EXTENSIONS:
                await self._pass_over_map(member)
                return member
            size = _number(block[_SIZE])
            if not 0 <= size <= room:
                raise _invalid(f"a header has more than {HEAD_LIMIT} bytes")
            room -= size
            self._extend(member, await self._take(size))
            await self._pass_over(-size % BLOCK)
        async for _ in self._stream:
            pass
        return None

    def _extend(self, member: _Member, data: bytes) -> None:
        if member.kind == b"L":
            member.records[b"path"] = data.partition(b"\0")[0]
        elif member.kind != b"K":
            records = _records(data)
            member.records.update(records)
            if member.kind == b"g":
                self._everywhere.update(records)

    async def _pass_over_map(self, member: _Member) -> None:
        """Pass over the blocks behind the header of a sparse file."""
        goes_on = member.kind == b"S" and member.block[_GOES_ON]
        while goes_on:
            goes_on = (await self._take(BLOCK))[_GOES_ON_STILL]

    def _entry(self, member: _Member) -> ObjectMeta | StoreError:
        name = _relative(member.name)
        if (why := _refusal(member, name)) is not None:
            shown = name[:_NAME_MAX].decode(errors="backslashreplace")
            return store_error(Kind.INVALID, f"'{shown}' {why}.", key=shown)
        try:
            key = keys.join(self._prefix, name.decode())
        except StoreError as error:
            return error
        return _error(member, key) if member.kind == _FAILED else _meta(member, key)

    # -- bytes --------------------------------------------------------------------------------------------

    async def _take(self, size: int) -> bytes:
        if self._place + size > len(self._held):
            await self._gather(size)
        data = self._held[self._place : self._place + size]
        self._place += size
        return data

    async def _pass_over(self, size: int) -> None:
        while size > (there := len(self._held) - self._place):
            size -= there
            self._place = len(self._held)
            await self._gather(1)
        self._place += size

    async def _gather(self, size: int) -> None:
        """Hold at least `size` bytes from here on."""
        held = bytearray(memoryview(self._held)[self._place :])
        while len(held) < size:
            if (data := await anext(self._stream, None)) is None:
                raise store_error(Kind.INCOMPLETE, "The tar was cut short: it has no end. Send it again.")
            held += data
        self._held, self._place = bytes(held), 0


def _checked_kind(block: bytes) -> bytes:
    """The kind of a member whose header's checksum is right; old writers add the bytes up as signed."""
    claimed = _number(block[_CHECKSUM])
    actual = _sum(block[:256]) + _sum(block[256:]) - _sum(block[_CHECKSUM]) + 8 * ord(" ")
    if claimed != actual and claimed != actual - 256 * sum(byte > 127 for byte in block):
        raise _invalid("the checksum of a header is wrong")
    return block[_KIND]


def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set (GNU's, for what has no room in octal)."""
    if field[0] in {0x80, 0xFF}:
        return int.from_bytes(field, signed=True) if field[0] == 0xFF else int.from_bytes(field[1:])
    try:
        return int(field.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise _invalid("a header has no number where one belongs") from None


def _size(member: _Member) -> int:
    told = member.records.get(b"size")
    if told and not _DIGITS.fullmatch(told):
        raise _invalid("an extended header has no number where one belongs")
    size = int(told) if told else _number(member.block[_SIZE])
    if not 0 <= size < 2**63:
        raise _invalid("a member has an impossible size")
    return size


def _records(data: bytes) -> Records:
    """The records of an extended header that are known here; an empty value takes a record back."""
    records: Records = {}
    place = 0
    while place < len(data):
        length = data[place : place + 20].partition(b" ")[0]
        end = place + int(length) if _DIGITS.fullmatch(length) else 0
        name, equals, value = data[place + len(length) + 1 : end - 1].partition(b"=")
        if not equals or data[end - 1 : end] != b"\n":
            raise _invalid("an extended header can't be understood")
        if name in _KNOWN:
            records[name] = value
        place = end
    return records


def _is_folder(member: _Member) -> bool:
    """Whether it only says that there is a folder, or what the tar is called."""
    return member.kind in _PASSED or (member.kind in _FILES and member.name.endswith(b"/"))


def _refusal(member: _Member, name: bytes) -> str | None:
    """Why the member is no object, if so."""
    if not _SPARSE.isdisjoint(member.records):
        return _REFUSED[b"S"]
    if member.kind not in _OBJECTS:
        return _REFUSED.get(member.kind, "is of a kind that isn't known")
    try:
        return None if name.decode() else "is no name"
    except UnicodeDecodeError:
        return "is no name in UTF-8"


def _relative(name: bytes) -> bytes:
    """Without the `./` that names begin with in a tar of the folder one is in."""
    while name.startswith(b"./"):
        name = name[2:]
    return name


def _meta(member: _Member, key: Key) -> ObjectMeta:
    records = member.records
    told = records.get(b"mtime", b"")
    modified = float(told) if _SECONDS.fullmatch(told) else float(_number(member.block[_TIME]))
    etag, digest, content_type = (_text(records.get(name)) for name in (_ETAG, _DIGEST, _TYPE))
    return ObjectMeta(key, _size(member), modified, etag, digest, content_type)


def _text(value: bytes | None) -> str | None:
    return value.decode(errors="replace") if value else None


def _error(member: _Member, key: Key) -> StoreError:
    value = _text(member.records.get(_ERROR))
    kind = Kind(value) if value in {kind.value for kind in Kind} else Kind.UNEXPECTED
    return store_error(kind, _text(member.records.get(_MESSAGE)) or f"'{key}' failed.", key=key)


def _invalid(why: str) -> StoreError:
    return store_error(Kind.INVALID, f"This is no plain tar, or a compressed or damaged one: {why}.")
