"""Ranges of a body (RFC 9110, 14): how they are asked for, and what was sent."""

from __future__ import annotations

import re
from collections.abc import Mapping

from shoso.core.types import ByteRange, From, FromTo, Last
from shoso.http.credentials import Headers

_SENT = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


def range_header(wanted: ByteRange) -> Headers:
    """The header that asks for it; none for the whole."""
    match wanted:
        case From(0):
            return {}
        case From(start):
            return {"range": f"bytes={start}-"}
        case FromTo(start, stop):
            return {"range": f"bytes={start}-{stop - 1}"}
        case Last(count):
            return {"range": f"bytes=-{count}"}


def sent(headers: Mapping[str, str]) -> tuple[int, int, int]:
    """(start, stop, size of the whole) of a 206. Raises ValueError where it doesn't say so."""
    found = _SENT.fullmatch(headers.get("content-range", ""))
    if found is None:
        raise ValueError("a reply with a range doesn't say which")
    return int(found[1]), int(found[2]) + 1, int(found[3])
