"""The journal: what a copy has done, a line of JSON each, so that the next one goes on from there.

    ["done", path, version at the source, version at the destination, digest]
    ["begin", path]                                         an upload is about to be begun, or may be left
    ["upload", path, version at the source, id, part size]  it is under way, and no other one
    ["end", path]                                           it is finished or aborted

Appended to only. It is an advice, not a promise: a line is believed where both ends still have the versions
it names, and without a journal a copy only takes longer. In memory an object takes one number, the place of
its line in the file. `shelf` says where journals are.
"""

from __future__ import annotations

import logging
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

import msgspec

SPARE = 1000
"""Lines that may be outdated, beyond as many as aren't, before the file is written anew."""

_OFFSET = 40
"""Bits of a place in the file; above them are the 64 bits of the path's hash."""

_log = logging.getLogger("shoso.transfer")


class Done(msgspec.Struct, array_like=True, frozen=True, tag="done"):
    """An object that has arrived; a source of "" was too young to tell its versions by their times."""

    path: str
    source: str
    target: str
    digest: str | None


class Begin(msgspec.Struct, array_like=True, frozen=True, tag="begin"):
    """An upload of that path may be under way whose id isn't known."""

    path: str


class Upload(msgspec.Struct, array_like=True, frozen=True, tag="upload"):
    """An upload under way."""

    path: str
    source: str
    id: str
    part_size: int


class End(msgspec.Struct, array_like=True, frozen=True, tag="end"):
    """No upload of that path is under way any more."""

    path: str


Line = Done | Begin | Upload | End

_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


class Journal:
    """The journal in an open file, which it closes; without one (None) it knows nothing and keeps nothing.

    `uploads` are under way, by path; `begun` the paths of those of which only that is known. A path may be in
    both.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = file
        self._text: mmap.mmap | bytes = b""
        self._index: list[int] = []
        self._unwritten = bytearray()
        self.uploads: dict[str, Upload] = {}
        self.begun: set[str] = set()
        if file is not None:
            self._read(file)

    @property
    def kept(self) -> bool:
        """Whether the next copy will find what is noted."""
        return self._file is not None

    def find(self, path: str) -> Done | None:
        """The last line of an object that had arrived before this copy."""
        place, found = _place(path), None
        for at in range(bisect_left(self._index, place), len(self._index)):
            if self._index[at] >> _OFFSET != place >> _OFFSET:
                break
            line = self._done(self._index[at])
            found = line if line.path == path else found
        return found

    def note(self, *lines: Line) -> None:
        """Keep these, with the next `flush` at the latest."""
        for line in lines:
            self._follow(line)
            if self._file is not None:
                self._unwritten += _encode(line) + b"\n"

    def flush(self) -> None:
        """Write what was noted. A disk that takes no more ends the journal, not the copy."""
        text, self._unwritten = self._unwritten, bytearray()
        if self._file is None or not text:
            return
        try:
            complete = os.write(self._file, text) == len(text)
        except OSError:
            complete = False
        if not complete:
            _log.warning("The journal can't be written: a copy that breaks off will begin again.")
            self.close()

    def close(self) -> None:
        """Write the rest, and let others have the file; may be called again."""
        if self._unwritten:
            self.flush()
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
        self._text, self._index = b"", []  # the map holds the file too, and with it the lock

    # -- the file -----------------------------------------------------------------------------------------

    @property
    def wasteful(self) -> bool:
        """Whether most of its lines are outdated."""
        lines = len(self._index)
        return lines > SPARE and lines > SPARE + 2 * sum(1 for _ in self._newest())

    def live(self) -> Iterator[bytes]:
        """The lines that aren't outdated."""
        for place in self._newest():
            yield _encode(self._done(place)) + b"\n"
        for line in (*self.uploads.values(), *map(Begin, self.begun)):
            yield _encode(line) + b"\n"

    def _newest(self) -> Iterator[int]:
        """The last place of each path."""
        for place, following in pairwise([*self._index, 0]):
            if place >> _OFFSET != following >> _OFFSET:
                yield place

    def _read(self, file: int) -> None:
        """Take in every line that is whole; what a crash has left of one is cut off."""
        if size := os.fstat(file).st_size:
            self._text = mmap.mmap(file, size, prot=mmap.PROT_READ)
        start = 0
        while (stop := self._text.find(b"\n", start)) >= 0:
            self._take(start, stop)
            start = stop + 1
        self._index.sort()
        os.ftruncate(file, start)

    def _take(self, start: int, stop: int) -> None:
        try:
            line = _decode(self._text[start:stop])
        except (msgspec.MsgspecError, UnicodeError):
            return
        if isinstance(line, Done):
            self._index.append(_place(line.path) | start)
        self._follow(line)

    def _follow(self, line: Line) -> None:
        """What a line says of uploads; an object that has arrived may have done so another way."""
        if isinstance(line, Done):
            return
        if isinstance(line, Begin):
            self.begun.add(line.path)
            return
        self.uploads.pop(line.path, None)
        self.begun.discard(line.path)
        if isinstance(line, Upload):
            self.uploads[line.path] = line

    def _done(self, place: int) -> Done:
        start = place & ((1 << _OFFSET) - 1)
        line = _decode(self._text[start : self._text.find(b"\n", start)])
        assert isinstance(line, Done)  # noqa: S101  (the index has no others)
        return line


def _place(path: str) -> int:
    """The place of a path's first possible line in the index."""
    return (hash(path) & 0xFFFF_FFFF_FFFF_FFFF) << _OFFSET
