"""How far long work is, said now and then."""

from __future__ import annotations

import time

import click

from shoso.core.amounts import count

SECONDS = 10.0
"""Between two lines."""


class Lines:
    """Says now and then how far it is, to standard error; `what` is what it counts."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._all = self._done = 0
        self._next = time.monotonic() + SECONDS

    def planned(self, number: int) -> None:
        """See maintenance.report.Told."""
        self._all += number

    def done(self, number: int) -> None:
        """See maintenance.report.Told."""
        self._done += number
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS
            of = (
                f"{self._done:,} of {count(self._all, self._what)}"
                if self._all
                else count(self._done, self._what)
            )
            click.echo(f"{of} so far", err=True)
