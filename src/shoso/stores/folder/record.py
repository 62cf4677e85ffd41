"""Which parts of an upload there are: a line of JSON for each, in a file beside the draft.

A line is added when its bytes are in the draft, in one write: a killed process leaves either both or no line.
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
    """The line as it is kept."""
    return msgspec.json.encode(line) + b"\n"


def decoded(text: bytes) -> Record:
    """The record in a file. Raises ValueError for one that is none of ours."""
    first, _, rest = text.partition(b"\n")
    whole, _, _ = rest.rpartition(b"\n")
    return Record(_head.decode(first), {line.number: line for line in _line.decode_lines(whole)})
