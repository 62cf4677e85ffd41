"""Sizes, times and tables, for people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def size(count: float) -> str:
    """Bytes: 512 B, 1.5 KiB, 32 MiB."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1024
        if count < 1000 or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}" if count < 99.95 else f"{count:.0f} {unit}"


def duration(seconds: float) -> str:
    """0.4 s, 25 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: int, noun: str) -> str:
    """1 object, 2,000 objects."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601, in UTC: 2026-11-24T02:54:30Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def printable(text: str) -> str:
    """The text without what would steer a terminal or break a line: somebody else may have written it."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, below their titles."""
    widths = [max(map(_width, map(printable, column))) for column in zip(titles, *rows, strict=True)]
    return "\n".join(_line(row, widths) for row in (titles, *rows))


def facts(known: Mapping[str, str]) -> str:
    """A line for each, name and value."""
    widest = max(_width(printable(name)) for name in known)
    return "\n".join(_line((name, value), (widest, 0)) for name, value in known.items())


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = map(printable, row)
    padded = [cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns on a terminal: two for a wide character, none for one that combines."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )
