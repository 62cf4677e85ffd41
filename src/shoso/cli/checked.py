"""A check under way: its findings as they come, and what they come to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from msgspec import Struct

from shoso.cli.groups import Interrupted
from shoso.cli.progress import Lines
from shoso.cli.session import interruptible
from shoso.cli.shapes import CheckFound, CheckTotal
from shoso.cli.words import printable
from shoso.client import blocking
from shoso.core.amounts import count, duration, size
from shoso.maintenance.estate import Estate
from shoso.maintenance.fsck import check
from shoso.maintenance.fsck.findings import Asked, Data, Finding, Kind, Totals

GO_ON = "Interrupted. Run the same command again: what it has read, it doesn't read again."


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
    ignored = {Kind(kind) for kind in asked["ignored"]}
    wanted = Asked(
        asked["repair"], asked["source"], asked["replace"], _data(asked), ignored, told=Lines("object")
    )
    try:
        return await check(estate, wanted, tell)
    finally:
        await estate.close()


def _data(asked: Mapping[str, Any]) -> Data | None:
    if not asked["data"] and asked["sample"] is None:
        return None
    return Data(
        asked["sample"] or 1.0, asked["seed"] or datetime.now(UTC).date().isoformat(), asked["limit_rate"]
    )


def _tell_json(found: Finding) -> None:
    line = CheckFound(found.kind.value, found.name, found.problem, found.remedy, found.done)
    click.echo(_encoded(line))


def _tell(found: Finding) -> None:
    """missing  mlflow-artifacts:/…: It was stored (3 B), and isn't there. What repairs it."""
    what = f"Repaired: {found.done}" if found.done else found.remedy
    click.echo(printable(f"{found.kind.value:10}  {found.name}: {found.problem} {what}".rstrip()))


def _total(totals: Totals, seconds: float) -> CheckTotal:
    state = "clean" if not totals.found else "repaired" if totals.repaired == totals.found else "damaged"
    return CheckTotal(state=state, **asdict(totals), seconds=round(seconds, 3))


def _in_words(total: CheckTotal) -> str:
    """Checked 3 objects (1.2 KiB) in 0.2 s: 2 findings, 1 repaired."""
    found = f"{count(total.found, 'finding')}, {total.repaired:,} repaired" if total.found else "all is well"
    what = f"{count(total.objects, 'object')} ({size(total.bytes)})"
    lines = [f"Checked {what} in {duration(total.seconds)}: {found}."]
    lines += [*_of_data(total)]
    if total.unchecked:
        outside = count(total.unchecked, "place")
        lines.append(f"{outside} outside of the roots weren't looked at; --allow-artifact-root adds theirs.")
    return "\n".join(lines)


def _of_data(total: CheckTotal) -> Iterator[str]:
    """Read 3 objects (1.2 KiB), after 7 of an interrupted check; 2 have no digest, 2 were recorded."""
    if total.read or total.before:
        before = f", after {total.before:,} of a check that was interrupted" if total.before else ""
        yield f"Read {count(total.read, 'object')} ({size(total.read_bytes)}){before}."
    if total.unrecorded:
        kept = f"; {total.recorded:,} of these were recorded" if total.recorded else ""
        yield f"{count(total.unrecorded, 'object')} had no digest to compare with{kept}."


def _encoded(line: Struct) -> str:
    return msgspec.json.encode(line).decode()
