"""Copying, deleting and verifying as a command does it: what is told on the way, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from shoso.cli.groups import Interrupted
from shoso.cli.places import look, path_of, require_recursive, require_removable, target
from shoso.cli.session import Session
from shoso.cli.shapes import Copied, Failure, Removed, Sized, Verified
from shoso.client import blocking
from shoso.client.policy import policy
from shoso.client.progress import Counter, Meter, foreseen, shown
from shoso.core import locations
from shoso.core.keys import ROOT, Key
from shoso.errors import StoreError
from shoso.transfer import CopyError, Progress, Selection, Silent, Unchanged, copy, remove, verify

T = TypeVar("T")

GO_ON = "Interrupted. Run the same command again: it goes on with what is missing."
SEND_ALL = "Interrupted. Run the same command again; with --force, it also sends again what has arrived."


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of a command say."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    recursive: bool = True
    dry_run: bool = False
    force: bool = False

    def selection(self, key: Key, to: Key = ROOT) -> Selection:
        """The selection that is meant."""
        return Selection(key, to, self.include, self.exclude)


class Named(Silent):
    """Remembers what would be done, by name."""

    def __init__(self) -> None:
        self.sizes: dict[Key, int] = {}

    def planned(self, key: Key, size: int) -> None:
        """See transfer.Progress."""
        self.sizes[key] = size

    def skipped(self, key: Key, size: int) -> None:
        """See transfer.Progress."""
        self.sizes.pop(key, None)


# -- copy -------------------------------------------------------------------------------------------------


def copied(opened: Session, source: str, destination: str, asked: Asked) -> tuple[Copied, CopyError | None]:
    """What a copy came to, and the error where some of it failed. Raises StoreError, ClickException."""
    told = Named() if asked.dry_run else _meter(opened, Meter)
    go_on = SEND_ALL if asked.force else GO_ON
    return _watched(told, _copied(opened, source, destination, asked, told), go_on)


async def _copied(
    opened: Session, source: str, destination: str, asked: Asked, told: Progress
) -> tuple[Copied, CopyError | None]:
    here, there = await opened.places.find(source), await opened.places.open(destination)
    kind = await look(source, here)
    require_recursive(source, kind, asked.recursive)
    to = await target(destination, there, here, kind)
    selection = asked.selection(here.key, to)
    failure = None
    chosen = policy(opened.settings, here.store, told, dry_run=asked.dry_run)
    if asked.force:
        chosen = replace(chosen, unchanged=Unchanged.SEND)
    try:
        async with foreseen(told, here.store, selection):
            report = await copy(here.store, there.store, selection, chosen)
    except CopyError as error:
        failure, report = error, error.report
    done = Copied(
        source=locations.shown(source),
        destination=locations.shown(destination),
        dry_run=asked.dry_run,
        copied=report.copied,
        skipped=report.skipped,
        failed=report.failed,
        bytes=report.sent,
        seconds=round(report.seconds, 3),
        objects=_objects(told, to),
        failures=_failures(report.failures, here.key),
    )
    return done, failure


# -- remove -----------------------------------------------------------------------------------------------


def removed(opened: Session, uri: str, asked: Asked) -> Removed:
    """What a deletion came to. Raises StoreError, ClickException."""
    told = Named() if asked.dry_run else _meter(opened, Counter)
    return _watched(told, _removed(opened, uri, asked, told))


async def _removed(opened: Session, uri: str, asked: Asked, told: Progress) -> Removed:
    place = await opened.places.open(uri)
    require_removable(uri, place, asked.include)
    require_recursive(uri, await look(uri, place), asked.recursive)
    chosen = policy(opened.settings, place.store, told, dry_run=asked.dry_run)
    done = await remove(place.store, asked.selection(place.key), chosen)
    shown_uri = locations.shown(uri)
    return Removed(shown_uri, asked.dry_run, done.removed, done.size, _objects(told, place.key))


# -- verify -----------------------------------------------------------------------------------------------


def verified(opened: Session, uri: str, against: str | None, asked: Asked) -> Verified:
    """What a verification found. Raises StoreError."""
    told = _meter(opened, Meter)
    return _watched(told, _verified(opened, uri, against, asked, told))


async def _verified(opened: Session, uri: str, against: str | None, asked: Asked, told: Progress) -> Verified:
    place = await opened.places.find(uri)
    kind = await look(uri, place)
    selection, other = asked.selection(place.key), None
    if against is not None:
        copy_place = await opened.places.find(against)
        selection = asked.selection(place.key, await target(against, copy_place, place, kind))
        other = copy_place.store
    async with foreseen(told, place.store, selection):
        found = await verify(place.store, selection, other, policy(opened.settings, place.store, told))
    return Verified(
        uri=locations.shown(uri),
        against=against and locations.shown(against),
        verified=found.verified,
        unrecorded=found.unrecorded,
        failed=found.failed,
        bytes=found.size,
        seconds=round(found.seconds, 3),
        failures=_failures(found.failures, place.key),
    )


# -- on the way -------------------------------------------------------------------------------------------


def _meter(opened: Session, kind: type[Meter]) -> Progress:
    """A meter, where the user wants to see one."""
    return kind(time.monotonic()) if opened.settings.progress_bar else Silent()


def _watched(told: Progress, work: Coroutine[Any, Any, T], go_on: str = GO_ON) -> T:
    """What the work returns; meanwhile the user sees how far it is, and may stop it."""
    try:
        with shown(told) if isinstance(told, Meter) else nullcontext():
            return blocking.run(work)
    except KeyboardInterrupt:
        raise Interrupted(go_on) from None


def _objects(told: Progress, folder: Key) -> list[Sized]:
    """What a dry run would do, by path."""
    sizes = told.sizes if isinstance(told, Named) else {}
    return [Sized(path_of(key, folder), size) for key, size in sizes.items()]


def _failures(errors: Sequence[StoreError], folder: Key) -> list[Failure]:
    return [Failure(path_of(Key(error.key), folder), error.kind.value, error.message) for error in errors]
