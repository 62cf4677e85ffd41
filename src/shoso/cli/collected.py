"""Garbage collection as its commands do it: plans made, shown and applied."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import asdict, replace

from shoso.cli.groups import Interrupted
from shoso.cli.progress import Lines
from shoso.cli.retained import Retired, Stayed
from shoso.cli.session import interruptible
from shoso.cli.shapes import Collected, Planned
from shoso.cli.words import table
from shoso.client import blocking
from shoso.core.amounts import count, duration, size
from shoso.core.locations import shown
from shoso.maintenance import plans
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import KEPT, Account
from shoso.maintenance.gc.chosen import ABSENT, Asked
from shoso.maintenance.gc.collecting import collect
from shoso.maintenance.plans import Item, Kept, Line, new_id
from shoso.metadata.holdings import Kind

T = TypeVar("T")

GO_ON = "Interrupted. Run the same command again: it goes on with what is left."

ROWS = 40
"""Items of a plan that are shown."""

_KINDS = ("run", "model", "experiment", "orphan", "upload")


def planned(asked: Mapping[str, Any], output: Path | None) -> Planned:
    """Make a plan. Raises ConfigError, TrackingError, StoreError."""
    id_ = new_id()
    path = output or _path(id_)
    return with_estate(asked, lambda estate: _planned(estate, asked, path, id_))


def applied(path: Path, asked: Mapping[str, Any], trash: float | None) -> Collected:
    """Apply a plan. Raises ConfigError, TrackingError, StoreError."""
    return with_estate(asked, lambda estate: _applied(estate, path, trash))


def undone(plan: str, asked: Mapping[str, Any], missing_ok: bool) -> Collected:
    """Bring back what the plan, by its file or its id, moved to the trash."""
    is_id = not Path(plan).exists() and re.fullmatch("[0-9a-f]{12}", plan)
    id_ = plan if is_id else plans.read(Path(plan))[0].id
    return with_estate(asked, lambda estate: _undone(estate, id_, missing_ok))


def collected(asked: Mapping[str, Any], trash: float | None, *, ask: bool) -> Collected:
    """Make a plan and apply it; on a terminal, show it and ask in between."""
    if trash is None and not asked["orphans"] and not (ask and _is_terminal()):
        return with_estate(asked, lambda estate: _collected(estate, asked))
    with tempfile.TemporaryDirectory(prefix="shoso-gc-") as folder:
        id_ = new_id()
        # What is moved to the trash by half is moved on by the same plan alone, so that one stays.
        path = Path(folder) / "plan.jsonl" if trash is None else _path(id_)
        found = with_estate(asked, lambda estate: _planned(estate, asked, path, id_))
        if ask and found.items and _is_terminal():
            click.echo("\n".join([*_first(found), *_sums(found)]), err=True)
            question = "Delete this for good?" if trash is None else "Move this to the trash?"
            if not click.confirm(question, err=True):
                raise click.ClickException("Nothing was deleted.")
        else:
            absent = _absent(found)
            _say_kept(found.kept - found.failed - len(absent), absent)
        return _with_failed(applied(path, asked, trash), found)


def _absent(found: Planned) -> list[str]:
    """What was named for the plan, and isn't there."""
    lines = plans.lines(Path(found.plan)) if found.kept else ()
    return [f"{one.kind} {one.id}" for one in lines if isinstance(one, Kept) and one.reason == ABSENT]


def _say_kept(kept: int, absent: Sequence[str]) -> None:
    for name in absent:
        click.echo(f"There is no {name}, or not any more.", err=True)
    if kept:
        click.echo(f"{count(kept, 'item')} can't go; see why: shoso gc plan", err=True)


def _with_failed(done: Collected, found: Planned) -> Collected:
    """Add what couldn't even be looked at when the plan was made."""
    failed = [
        Stayed(line.kind, line.id, False, line.reason)
        for line in (plans.lines(Path(found.plan)) if found.failed else ())
        if isinstance(line, Kept) and line.failed
    ]
    return replace(done, stayed=done.stayed + len(failed), problems=[*failed, *done.problems][:KEPT])


def with_estate(asked: Mapping[str, Any], work: Callable[[Estate], Awaitable[T]]) -> T:
    """What the work comes to; the user may interrupt it."""

    async def done() -> T:
        estate = Estate.open({**asked}, os.environ)
        try:
            return await work(estate)
        finally:
            await estate.close()

    with interruptible():
        try:
            return blocking.run(done())
        except KeyboardInterrupt:
            raise Interrupted(GO_ON) from None


def _path(id_: str) -> Path:
    """Where a plan is written if nobody says so."""
    return Path(f"gc-{time.strftime('%Y%m%d-%H%M%S')}-{id_}.jsonl")


def _is_terminal() -> bool:
    return bool(sys.stdin) and sys.stdin.isatty()


async def _planned(estate: Estate, asked: Mapping[str, Any], path: Path, id_: str) -> Planned:
    from shoso.maintenance.gc.planning import plan

    total = await plan(estate, _wanted(asked), path, Lines("item"), id_)
    return Planned(str(path), total.items, total.objects, total.bytes, total.kept, total.failed)


def _wanted(asked: Mapping[str, Any]) -> Asked:
    return Asked(**{name: asked[name] for name in Asked.__slots__})


async def _collected(estate: Estate, asked: Mapping[str, Any]) -> Collected:
    started = time.monotonic()
    account, kept = await collect(estate, _wanted(asked), Lines("item"))
    _say_kept(kept, account.absent)
    return _shape(account, started)


async def _applied(estate: Estate, path: Path, trash: float | None) -> Collected:
    from shoso.maintenance.gc.applying import apply

    started = time.monotonic()
    told = Lines("item")
    told.planned(sum(1 for _ in plans.read(path)[1]))
    found, items = plans.read(path)
    return _shape(await apply(estate, found, items, told, trash=trash), started)


async def _undone(estate: Estate, plan: str, missing_ok: bool) -> Collected:
    from shoso.maintenance.gc.trash import undo

    started = time.monotonic()
    return _shape(await undo(estate, plan, Lines("item"), missing_ok=missing_ok), started)


def _shape(done: Account, started: float) -> Collected:
    return Collected(**asdict(outcome(done, started)), trash=done.trash is not None)


def outcome(done: Account, started: float) -> Retired:
    """What became of a plan, since that time of the clock."""
    return Retired(
        plan=done.plan,
        items={**done.items},
        objects=done.objects,
        bytes=done.bytes,
        gone=done.gone,
        stayed=done.stayed,
        problems=[Stayed(one.item.kind, one.item.id, one.refused, one.message) for one in done.problems],
        seconds=round(time.monotonic() - started, 3),
    )


# -- in words ---------------------------------------------------------------------------------------------


def looked(done: Planned) -> str:
    """The first items of a plan as a table, what they all come to, and what to do with it."""
    last = f"The plan is in {done.plan}; apply it with: shoso gc apply {done.plan}"
    return "\n".join([*_first(done), *_sums(done), *([last] if done.items else [])])


def _first(done: Planned) -> list[str]:
    lines = plans.lines(Path(done.plan))
    first: Sequence[Line] = [*islice((one for one in lines if isinstance(one, Item | Kept)), ROWS)]
    parts = (
        [table(("what", "id", "name", "objects", "size", "where", "why"), [_row(one) for one in first])]
        if first
        else []
    )
    more = sum(done.items.values()) + done.kept - len(first)
    return [*parts, f"And {more:,} more."] if more > 0 else parts


def _row(one: Line) -> tuple[str, ...]:
    if isinstance(one, Kept):
        return one.kind, one.id, one.name, "-", "-", "stays", one.reason
    assert isinstance(one, Item)  # noqa: S101  (there is nothing else)
    return one.kind, one.id, one.name, f"{one.objects:,}", size(one.bytes), shown(one.location), one.reason


def _sums(done: Planned) -> list[str]:
    what = kinds(done.items)
    if not what:
        return ["Nothing would go."]
    lines = [f"{what} would go: {count(done.objects, 'object')} ({size(done.bytes)})."]
    if not done.objects and done.items.keys() & {Kind.RUN, Kind.MODEL}:
        lines.append("None of it has an object: make sure that the storage is the right one.")
    return lines


def in_words(done: Collected) -> str:
    """A line for each problem, then what went."""
    where = "went to the trash" if done.trash else "went for good"
    there = f"; {done.gone:,} had gone before" if done.gone else ""
    last = [f"Bring it back with: shoso gc undo {done.plan}"] if done.trash and done.items else []
    return "\n".join([*problems(done), f"{_went(done, where)}{there}.", *last])


def back_in_words(done: Collected) -> str:
    """A line for each problem, then what came back."""
    if not done.items and not done.stayed:
        return f"Nothing in the trash is of a plan {done.plan}."
    return "\n".join([*problems(done), f"{_went(done, 'came back')}."])


def problems(done: Retired) -> list[str]:
    """A line for each."""
    lines = [f"The {one.kind} {one.id} stays: {one.message}" for one in done.problems]
    more = done.stayed - len(done.problems)
    return [*lines, f"And {more:,} more stay."] if more else lines


def _went(done: Collected, where: str) -> str:
    what = kinds(done.items) or "Nothing"
    return f"{what} {where} ({count(done.objects, 'object')}, {size(done.bytes)}) in {duration(done.seconds)}"


def kinds(items: Mapping[str, int]) -> str:
    """3 runs, 1 model and 2 experiments."""
    said = [count(items[kind], kind) for kind in _KINDS if items.get(kind)]
    return " and ".join(filter(None, [", ".join(said[:-1]), *said[-1:]]))
