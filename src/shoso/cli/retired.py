"""Retention as its commands do it: plans made, shown and applied."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from shoso.cli.collected import ROWS, kinds, outcome, problems, with_estate
from shoso.cli.progress import Lines
from shoso.cli.retained import Leaving, Retaining, Retired, Stayed, Staying
from shoso.cli.words import table
from shoso.core.amounts import count, duration, size
from shoso.maintenance import plans
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import Account
from shoso.maintenance.plans import Item, Kept, Retention, Stays, Total, new_id
from shoso.maintenance.report import Told
from shoso.maintenance.retention.applying import apply
from shoso.maintenance.retention.planning import plan
from shoso.maintenance.retention.policies import load
from shoso.maintenance.retention.undoing import undo

_Work = Callable[[Estate, Retention, Iterable[Item], Told], Awaitable[Account]]

RULES = {
    "running": "not ended",
    "keep_for": "young",
    "keep_best": "best",
    "keep_last": "last",
    "keep_registered": "registered",
    "keep_tags": "tagged",
    "family": "nested with one that stays",
}
"""Why runs stay, in few words."""


def previewed(policy: Path, asked: Mapping[str, Any], *, whole: bool) -> tuple[Retaining, str]:
    """What would go, and the first of it as a table; `whole` names all of it."""
    with tempfile.TemporaryDirectory(prefix="shoso-retention-") as folder:
        path = Path(folder) / "plan.jsonl"
        total = _plan(policy, path, asked, "")
        going = [_leaving(item) for item in _items(path)] if whole else []
        return _shape(path, total, None, going), _table(path)


def planned(policy: Path, output: Path | None, asked: Mapping[str, Any]) -> tuple[Retaining, str]:
    """Make a plan. Raises ConfigError, TrackingError, StoreError."""
    id_ = new_id()
    path = output or Path(f"retention-{time.strftime('%Y%m%d-%H%M%S')}-{id_}.jsonl")
    total = _plan(policy, path, asked, id_)
    return _shape(path, total, str(path), []), _table(path)


def applied(path: Path, asked: Mapping[str, Any]) -> Retired:
    """Apply a plan. Raises ConfigError, TrackingError."""
    return _gone_through(path, asked, apply)


def undone(path: Path, asked: Mapping[str, Any]) -> Retired:
    """Bring back what a plan marked. Raises ConfigError, TrackingError."""
    return _gone_through(path, asked, undo)


def _gone_through(path: Path, asked: Mapping[str, Any], work: _Work) -> Retired:
    found, items = plans.read_retention(path)
    started, told = time.monotonic(), Lines("item")
    told.planned(sum(1 for _ in _items(path)))
    done = with_estate(asked, lambda estate: work(estate, found, items, told))
    return outcome(done, started)


def _plan(policy: Path, path: Path, asked: Mapping[str, Any], id_: str) -> Total:
    policies = load(policy)

    async def made(estate: Estate) -> Total:
        return await plan(estate, policies, path, Lines("item"), id_)

    return with_estate(asked, made)


def _items(path: Path) -> Iterator[Item]:
    return plans.read_retention(path)[1]


def _shape(path: Path, total: Total, plan: str | None, going: list[Leaving]) -> Retaining:
    kept, stays = [], []
    for line in plans.lines(path):
        if isinstance(line, Kept):
            kept.append(Stayed(line.kind, line.id, not line.failed, line.reason))
        elif isinstance(line, Stays):
            stays.append(Staying(line.experiment_id, line.name, line.policy, line.runs))
    return Retaining(plan, total.items, total.objects, total.bytes, kept, total.failed, stays, going)


def _leaving(item: Item) -> Leaving:
    return Leaving(
        item.kind,
        item.id,
        item.name,
        item.experiment_id,
        item.reason,
        item.location,
        item.objects,
        item.bytes,
    )


# -- in words ---------------------------------------------------------------------------------------------


def _table(path: Path) -> str:
    """The first items of a plan."""
    first: list[Item] = []
    number = 0
    for number, item in enumerate(_items(path), 1):
        if number <= ROWS:
            first.append(item)
    rows = [(one.kind, one.id, one.name, f"{one.objects:,}", size(one.bytes), one.reason) for one in first]
    more = [f"And {number - ROWS:,} more."] if number > ROWS else []
    return "\n".join([table(("what", "id", "name", "objects", "size", "why"), rows), *more]) if rows else ""


def looked(done: Retaining, first: str) -> str:
    """The first items, what stays, and what it all comes to."""
    stays = [_stays(one) for one in done.stays]
    problems = [f"The {one.kind} {one.id} stays: {one.message}." for one in done.kept]
    amount = f"{count(done.objects, 'object')} ({size(done.bytes)})"
    what = kinds(done.items)
    sums = [f"{what} would go: {amount}." if what else "Nothing would go."]
    if what and done.plan:
        sums.append(f"The plan is in {done.plan}; apply it with: shoso retention apply {done.plan}")
    return "\n".join([*filter(None, [first]), *stays, *problems, *sums])


def _stays(one: Staying) -> str:
    number = sum(one.runs.values())
    said = [f"{many:,} {RULES[rule]}" for rule, many in one.runs.items()]
    why = f" ({', '.join(said)})" if said else ""
    return f"In '{one.name}', by policy {one.policy}, {count(number, 'run')} would stay{why}."


def in_words(done: Retired, path: Path) -> str:
    """A line for each problem, what was marked, and how it goes on."""
    return "\n".join([*problems(done), *_sums(done, path)])


def back_in_words(done: Retired) -> str:
    """A line for each problem, then what came back."""
    there = f"; {done.gone:,} were active" if done.gone else ""
    what = kinds(done.items) or "Nothing"
    return "\n".join([*problems(done), f"{what} restored in {duration(done.seconds)}{there}."])


def _sums(done: Retired, path: Path) -> list[str]:
    what = kinds(done.items)
    there = f"; {done.gone:,} had gone before" if done.gone else ""
    marked = f"{what or 'Nothing'} marked deleted in {duration(done.seconds)}{there}."
    amount = f"{count(done.objects, 'object')} ({size(done.bytes)})"
    further = [
        f"Until they are collected, this brings them back: shoso retention undo {path}",
        f"To let their {amount} go for good: shoso gc --older-than 30d",
    ]
    return [marked, *(further if what else [])]
