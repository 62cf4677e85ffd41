"""Servers without MLST and MLSD, vsftpd above all: SIZE, MDTM and CWD tell of one file, LIST of a folder.

LIST is whatever the server likes; here it is what `ls -l` prints, as vsftpd and most others do. It tells a
time to the minute only, and after half a year to the day.
"""

from __future__ import annotations

import calendar
import re
import time
from datetime import UTC, datetime, timedelta

from shoso.stores.files.system import Found, Status
from shoso.stores.ftp.session import Refused, Session, code

_LINE = re.compile(rb"([-d])\S{9}\S*\s+\d+\s+\S+\s+\S+\s+(\d+)\s+(\w{3})\s+(\d{1,2})\s+([\d:]{4,5}) (.+)")
_MONTHS = dict(zip(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), range(1, 13), strict=True))
_NOTHING = {"450", "501", "550", "553"}


async def facts(session: Session, place: str) -> str:
    """What MLST would tell of it; "" for nothing. Raises Refused."""
    try:
        [size] = await session.ask(f"SIZE {place}", "213")
        [changed] = await session.ask(f"MDTM {place}", "213")
    except Refused as refused:
        if code(refused) not in _NOTHING:
            raise
        return await _folder(session, place)
    return f"type=file;size={size.strip()};modify={changed.strip()};"


async def _folder(session: Session, place: str) -> str:
    try:
        await session.ask(f"CWD {place}", "2xx")
    except Refused as refused:
        if code(refused) not in _NOTHING:
            raise
        return ""
    return "type=dir;"


def found_in(line: bytes) -> Found | None:
    """The entry that a line of LIST names; None for links, devices, and what isn't such a line."""
    if (match := _LINE.fullmatch(line.rstrip(b"\r\n"))) is None:
        return None
    kind, size, month, day, rest, raw = match.groups()
    try:
        name, modified = raw.decode(), _seconds(_MONTHS[month], int(day), rest.decode())
    except (ValueError, KeyError):
        return None
    if name in {".", ".."}:
        return None
    return Found(name, Status(kind == b"d", int(size), modified))


def _seconds(month: int, day: int, rest: str) -> float:
    """Of a year, or of a time of day within the last twelve months."""
    if ":" not in rest:
        return datetime(int(rest), month, day, tzinfo=UTC).timestamp()
    now = datetime.now(UTC)
    hour, minute = rest.split(":")
    for year in (now.year, now.year - 1):
        if month == 2 and day == 29 and not calendar.isleap(year):
            continue
        found = datetime(year, month, day, int(hour), int(minute), tzinfo=UTC)
        if found <= now + timedelta(days=1):
            return found.timestamp()
    return time.time()
