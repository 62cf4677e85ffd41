"""A migration under way: what it talks to, what is told on the way, and what it came to."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import click

from shoso.cli.groups import Interrupted
from shoso.cli.session import interruptible
from shoso.cli.shapes import Migrated, MigratedExperiment, MigrationState, show
from shoso.cli.words import moment, table
from shoso.client import blocking
from shoso.client.progress import Meter, shown
from shoso.client.settings import client_settings
from shoso.core import locations
from shoso.core.amounts import count, duration, size
from shoso.maintenance.estate import Estate
from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Asked, Result
from shoso.maintenance.migrate.moving import Outcome, Shard
from shoso.metadata.moves import Move, State
from shoso.transfer import Progress, Silent

T = TypeVar("T")

SHOWN = 10
"""Artifacts that are told by name."""

GO_ON = "Interrupted. Run the same command again: it goes on with what is missing."

Work = Callable[[Estate, Progress], Awaitable[T]]


def migrated(
    source: str,
    target: str,
    experiments: Sequence[str],
    shard: tuple[int, int],
    flags: Mapping[str, Any],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move, and say what it came to; exit code 1 where an experiment failed."""
    asked = Asked(source, target, experiments, Shard(*shard), dry_run)
    _ended(
        "Would move" if dry_run else "Moved",
        flags,
        dry_run,
        as_json,
        lambda estate, told: migration.migrate(estate, asked, told),
    )


def finished(
    experiments: Sequence[str], flags: Mapping[str, Any], *, running: bool, dry_run: bool, as_json: bool
) -> None:
    """Finish, and say what it came to; exit code 1 where an experiment isn't."""
    _ended(
        "Would finish" if dry_run else "Finished",
        flags,
        dry_run,
        as_json,
        lambda estate, told: migration.finish(estate, experiments, told, running=running, dry_run=dry_run),
    )


def rolled_back(
    experiments: Sequence[str],
    flags: Mapping[str, Any],
    *,
    delete: bool,
    running: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Roll back, and say what it came to; exit code 1 where an experiment isn't."""
    _ended(
        "Would roll back" if dry_run else "Rolled back",
        flags,
        dry_run,
        as_json,
        lambda estate, told: migration.rollback(
            estate, experiments, told, delete=delete, running=running, dry_run=dry_run
        ),
    )


def told(flags: Mapping[str, Any], *, as_json: bool) -> None:
    """Say what is being moved."""
    found = _with_estate(flags, lambda estate, _: migration.status(estate))
    states = [_state(move, name) for move, name in found]
    rows = [
        [
            each.experiment_id,
            each.name,
            each.state,
            each.source,
            each.target,
            each.begun,
            _waiting(each.waiting),
        ]
        for each in states
    ]
    titles = ["experiment", "name", "state", "from", "to", "begun", "shards missing"]
    show(states, table(titles, rows) if rows else "Nothing is being moved.", as_json)


def _state(move: Move, name: str) -> MigrationState:
    waiting = move.missing if move.state == "copying" and move.shards > 1 else []
    return MigrationState(
        experiment_id=str(move.experiment_id),
        name=name,
        state=str(move.state),
        source=locations.shown(move.source),
        target=locations.shown(move.target),
        begun=moment(move.begun / 1000),
        waiting=waiting,
    )


def _ended(verb: str, flags: Mapping[str, Any], dry_run: bool, as_json: bool, work: Work[Result]) -> None:
    began = time.monotonic()
    result = _with_estate(flags, work)
    done = Migrated(
        dry_run=dry_run,
        experiments=[_experiment(one) for one in result.outcomes],
        failed=result.failed,
        seconds=round(time.monotonic() - began, 3),
    )
    show(done, "\n".join(_in_words(verb, done)), as_json)
    if result.stopped:
        raise click.ClickException(f"Given up: {result.stopped}")
    if done.failed:
        raise SystemExit(1)


def _with_estate(flags: Mapping[str, Any], work: Work[T]) -> T:
    bar = client_settings(os.environ).progress_bar
    meter = Meter(time.monotonic()) if bar else None
    with interruptible():
        try:
            with shown(meter) if meter else nullcontext():
                return blocking.run(_opened(flags, work, meter or Silent()))
        except KeyboardInterrupt:
            raise Interrupted(GO_ON) from None


async def _opened(flags: Mapping[str, Any], work: Work[T], told: Progress) -> T:
    given = {name: value for name, value in flags.items() if value not in {None, ()}}
    estate = Estate.open(given, os.environ)
    try:
        return await work(estate, told)
    finally:
        await estate.close()


def _experiment(one: Outcome) -> MigratedExperiment:
    return MigratedExperiment(
        experiment_id=str(one.experiment_id),
        name=one.name,
        state=str(one.state),
        runs=one.runs,
        models=one.models,
        versions=one.versions,
        copied=one.copied,
        bytes=one.bytes,
        deleted=one.deleted,
        deleted_bytes=one.deleted_bytes,
        waiting=list(one.waiting),
        running=list(one.running),
        unsure=sorted(one.unsure),
        kept=sorted(one.kept),
        error=one.error or None,
    )


def _in_words(verb: str, done: Migrated) -> Iterator[str]:
    """A line for each experiment that isn't done, then the sums."""
    for each in done.experiments:
        yield from _trouble(each)
    found = [
        each for each in done.experiments if not (each.error or each.waiting or each.running or each.unsure)
    ]
    rows = ", ".join(
        count(sum(getattr(each, what) for each in found), word)
        for what, word in (("runs", "run"), ("models", "logged model"), ("versions", "registered version"))
    )
    when = "" if done.dry_run else f" in {duration(done.seconds)}"
    copied = count(sum(each.copied for each in done.experiments), "artifact")
    sent = size(sum(each.bytes for each in done.experiments))
    yield f"{verb} {count(len(found), 'experiment')} ({rows}); {copied} ({sent}) copied{when}."
    if deleted := sum(each.deleted for each in done.experiments):
        gone = size(sum(each.deleted_bytes for each in done.experiments))
        yield f"{count(deleted, 'artifact')} ({gone}) deleted."


def _trouble(each: MigratedExperiment) -> Iterator[str]:
    who = f"Experiment {each.experiment_id} ({each.name})"
    if each.error:
        yield f"{who}: {each.error}"
    if each.waiting:
        yield f"{who} is copied, but for the shards {_waiting(each.waiting)}."
    if each.unsure:
        yield (
            f"{who}: {count(len(each.unsure), 'artifact')} that nobody can tell which place has the later one"
            f" of, kept at both: {_some(each.unsure)}. Delete, in the storage, the one of each that isn't"
            " wanted, and give the same command again."
        )
    if each.kept and each.state in {State.FINISHING, "finished"}:
        yield (
            f"{who}: {count(len(each.kept), 'folder')} kept at the old place, for it doesn't carry the id of"
            " its run or model, so others may have files there, or it has files whose names no artifact can"
            f" have: {_some(each.kept)}."
        )
    elif each.kept:
        yield (
            f"{who}: {count(len(each.kept), 'object')} kept at the new place, where no move has put them:"
            f" {_some(each.kept)}."
        )
    if each.running:
        ids = ", ".join(each.running)
        yield (
            f"{who} is {each.state}, and not done with: runs that began before are still RUNNING, and write"
            f" to where it was ({ids}). Give the same command again when they have ended, or say --running."
        )


def _some(paths: Sequence[str]) -> str:
    """A few of them, and how many there are."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(f"'{path}'" for path in paths[:SHOWN]) + more


def _waiting(shards: Sequence[int]) -> str:
    return ", ".join(map(str, shards))
