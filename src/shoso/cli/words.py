"""Moments and tables, for people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


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
