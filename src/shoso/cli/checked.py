"""A check under way: its findings as they come, and what they come to."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import click
import msgspec
from msgspec import Struct

from shoso.cli.groups import Interrupted
from shoso.cli.session import interruptible
from shoso.cli.shapes import CheckFound, CheckTotal
from shoso.cli.words import printable
from shoso.client import blocking
from shoso.core.amounts import count, duration, size
from shoso.maintenance.estate import Estate
from shoso.maintenance.fsck import check
from shoso.maintenance.fsck.findings import Asked, Finding, Kind, Totals

GO_ON = "Interrupted."


def checked(asked: Mapping[str, Any], as_json: bool) -> CheckTotal:
    """What was found, told as it is found. Raises ConfigError, StoreError, TrackingError."""
    started = time.monotonic()
    tell = _tell_json if as_json else _tell
    with interruptible():
        try:
            totals = blocking.run(_checked(asked, tell))
        except KeyboardInterrupt:
            raise Interrupted(GO_ON) from None
    total = _total(totals, time.monotonic() - started)
    click.echo(_encoded(total) if as_json else _in_words(total))
    return total


async def _checked(asked: Mapping[str, Any], tell: Any) -> Totals:
    estate = Estate.open(asked, os.environ)
    try:
        return await check(estate, Asked(asked["repair"], {Kind(kind) for kind in asked["ignored"]}), tell)
    finally:
        await estate.close()


def _tell_json(found: Finding) -> None:
    line = CheckFound(found.kind.value, found.name, found.problem, found.remedy, found.done)
    click.echo(_encoded(line))


def _tell(found: Finding) -> None:
    """missing  mlflow-artifacts:/…: It was stored (3 B), and isn't there. What repairs it."""
    what = f"Repaired: {found.done}" if found.done else found.remedy
    click.echo(printable(f"{found.kind.value:10}  {found.name}: {found.problem} {what}".rstrip()))


def _total(totals: Totals, seconds: float) -> CheckTotal:
    state = "clean" if not totals.found else "repaired" if totals.repaired == totals.found else "damaged"
    return CheckTotal(
        state=state,
        objects=totals.objects,
        bytes=totals.bytes,
        found=totals.found,
        repaired=totals.repaired,
        unchecked=totals.unchecked,
        seconds=round(seconds, 3),
    )


def _in_words(total: CheckTotal) -> str:
    """Checked 3 objects (1.2 KiB) in 0.2 s: 2 findings, 1 repaired."""
    found = f"{count(total.found, 'finding')}, {total.repaired:,} repaired" if total.found else "all is well"
    what = f"{count(total.objects, 'object')} ({size(total.bytes)})"
    lines = [f"Checked {what} in {duration(total.seconds)}: {found}."]
    if total.unchecked:
        lines.append(f"{count(total.unchecked, 'place')} outside of the server's roots can't be looked at.")
    return "\n".join(lines)


def _encoded(line: Struct) -> str:
    return msgspec.json.encode(line).decode()
