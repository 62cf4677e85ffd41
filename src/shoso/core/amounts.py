"""Sizes, times and counts, for people."""

from __future__ import annotations

import re

_AGE = re.compile(r"(?:(\d+\.?\d*)d)?(?:(\d+\.?\d*)h)?(?:(\d+\.?\d*)m)?(?:(\d+\.?\d*)s)?")
_MOST = 10_000 * 365 * 86_400.0
"""Seconds of the longest age: a database has no room for the time of a longer one."""

_SECONDS = (86_400, 3600, 60, 1)
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


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


def as_age(seconds: float) -> str:
    """The same time as `age` reads it: 30d, 90s, 1.5s."""
    for letter, unit in zip("dhm", _SECONDS, strict=False):
        if seconds and not seconds % unit:
            return f"{seconds / unit:.0f}{letter}"
    return f"{seconds!r}s" if seconds % 1 else f"{seconds:.0f}s"


def age(text: str) -> float | None:
    """The seconds of 30d, 1d12h, 0.5h or 90s, as MLflow writes them; None for what is no such time.

    Nor is what is longer than 10,000 years.
    """
    if not text or (found := _AGE.fullmatch(text)) is None:
        return None
    seconds = sum(float(part) * unit for part, unit in zip(found.groups(), _SECONDS, strict=True) if part)
    return seconds if seconds <= _MOST else None
