"""What became of a copy: counts, and the errors of what failed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from shoso.errors import Kind, StoreError

KEPT = 1000
"""Errors that a report holds; of more there is only the number."""

NAMED = 3
"""Errors whose words are in the message."""

STREAK = 8
"""Objects in a row that fail for a reason that seems to be everybody's, before the copy is given up."""

_FATAL = {Kind.NO_SPACE, Kind.CONFIG, Kind.UNAUTHENTICATED}
_GONE = {Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.THROTTLED}
_REFUSED = {Kind.FORBIDDEN, Kind.UNSUPPORTED, Kind.UNEXPECTED}
"""Everybody's as long as nothing else was possible; then some objects' own."""


@dataclass(frozen=True, slots=True)
class Report:
    """Objects copied, skipped as unchanged, failed; bytes sent; `failures` has the first of the errors."""

    copied: int
    skipped: int
    failed: int
    sent: int
    seconds: float
    failures: tuple[StoreError, ...] = ()


class CopyError(StoreError):
    """Not everything arrived; the copy made again goes on with the rest. The kind is the first failure's."""

    def __init__(self, report: Report) -> None:
        first = report.failures[0]
        super().__init__(
            first.kind, _sentence(report), retry=first.retry, op="copy", key=first.key, store=first.store
        )
        self.report = report
        self.failures = report.failures


def _sentence(report: Report) -> str:
    total = report.copied + report.skipped + report.failed
    named = " ".join(error.message for error in report.failures[:NAMED])
    more = report.failed - NAMED
    rest = f" And {more} more." if more > 0 else ""
    return f"{report.failed} of {total} objects could not be copied: {named}{rest}"


class Tally:
    """Counts as objects end, and decides when to go on is of no use."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._failures: list[StoreError] = []
        self._streak: Counter[Kind] = Counter()
        self.copied = self.skipped = self.failed = self.sent = 0

    def foresee(self, objects: int, size: int) -> None:
        """A dry run would copy these."""
        self.copied += objects
        self.sent += size

    def succeed(self) -> None:
        """An object has arrived."""
        self.copied += 1
        self._streak.clear()

    def fail(self, error: StoreError) -> None:
        """An object has failed; raises the error where the others would fail like it."""
        self._streak[error.kind] += 1
        if error.kind in _FATAL or self._hopeless(error.kind):
            raise error
        self.failed += 1
        if len(self._failures) < KEPT:
            self._failures.append(error)

    def _hopeless(self, kind: Kind) -> bool:
        shared = kind in _GONE or (kind in _REFUSED and not (self.copied or self.skipped))
        return shared and self._streak[kind] >= STREAK

    def report(self) -> Report:
        """So far."""
        seconds = time.monotonic() - self._start
        return Report(self.copied, self.skipped, self.failed, self.sent, seconds, tuple(self._failures))
