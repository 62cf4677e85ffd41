"""Which parts of an upload there are: a line of JSON for each, in a file beside the draft.

A line is added when its bytes are in the draft, in one write: a killed process leaves either both or no line.
What a full disk or a power cut has made of a line is no part, and spoils no other.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from shoso.core.types import Part


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part that is there; `file` says in which file beside the draft, "" for its place in the draft."""

    number: int
    size: int
    digest: str
    file: str = ""

    @property
    def part(self) -> Part:
        """As the world sees it."""
        return Part(self.number, self.size, self.digest, self.digest)


class Head(msgspec.Struct, frozen=True):
    """What is being uploaded: the first line."""

    key: str
    part_size: int | None


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says: the head, and of the lines of each part the last."""

    head: Head
    lines: dict[int, Line]


_head = msgspec.json.Decoder(Head)
_line = msgspec.json.Decoder(Line)


def encoded(line: Head | Line) -> bytes:
    """The line as it is kept: whatever is before or behind it, it's a line."""
    return b"\n" + msgspec.json.encode(line) + b"\n"


def decoded(text: bytes) -> Record:
    """The record in a file. Raises ValueError for one that is none of ours."""
    first, _, rest = text.lstrip(b"\n").partition(b"\n")
    whole, _, _ = rest.rpartition(b"\n")
    try:
        lines = _line.decode_lines(whole)
    except ValueError:
        lines = [line for text in whole.splitlines() if (line := _decoded(text))]
    return Record(_head.decode(first), {line.number: line for line in lines})


def _decoded(text: bytes) -> Line | None:
    try:
        return _line.decode(text)
    except ValueError:
        return None
