"""A migration: the experiments that it is about, one after the other, and what it came to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from shoso.core import mounted
from shoso.errors import ConfigError, Kind, ShosoError, TrackingError
from shoso.maintenance.estate import Estate
from shoso.maintenance.migrate.apart import require_apart
from shoso.maintenance.migrate.ending import Ending, owners
from shoso.maintenance.migrate.ends import Ends
from shoso.maintenance.migrate.moving import WHOLE, Mover, Outcome, Shard
from shoso.maintenance.migrate.renaming import Renaming, end
from shoso.metadata import copied, holdings, moves, relocating
from shoso.metadata.dialects.texts import same
from shoso.metadata.holdings import PAGE, Wanted
from shoso.metadata.moves import Move, State
from shoso.metadata.schema import experiments
from shoso.metadata.workspace import SERVED
from shoso.transfer import Progress

_EVERYBODYS = {Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.NO_SPACE, Kind.CONFIG, Kind.UNAUTHENTICATED}
"""Failures after which no other experiment would fare better."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of the command say; without `experiments`, it is about all that have something."""

    source: str
    target: str
    experiments: Sequence[str] = ()
    shard: Shard = WHOLE
    dry_run: bool = False


@dataclass(slots=True)
class Result:
    """What became of each experiment; `stopped` is why the rest wasn't tried."""

    outcomes: list[Outcome] = field(default_factory=list)
    stopped: str = ""

    @property
    def failed(self) -> int:
        """Experiments that something went wrong with."""
        return sum(1 for one in self.outcomes if one.error or one.running or one.unsure)


async def migrate(estate: Estate, asked: Asked, progress: Progress | None = None) -> Result:
    """Move every experiment that has something below the source. Raises ConfigError, TrackingError."""
    renaming = Renaming(end("--from", asked.source), end("--to", asked.target))
    found = await estate.database.read(_concerned, renaming, asked.experiments)
    await asyncio.to_thread(mounted.require_there, "--from", estate.root_around(renaming.source))
    await _require_mounted(estate, "--from", renaming.source, [one.experiment_id for one in found])
    for outcome in found:
        await _require_movable(estate, renaming, outcome.experiment_id)
    ends = await Ends.open(estate, renaming, progress)
    await ends.require_target()
    mover = Mover(estate.database, renaming, ends)
    if asked.dry_run:
        return await _each(found, mover.foresee)
    await require_apart(renaming, ends.source, ends.target)
    return await _each(found, lambda outcome: mover.move(outcome, asked.shard))


async def finish(
    estate: Estate,
    names: Sequence[str],
    progress: Progress | None = None,
    *,
    running: bool = False,
    dry_run: bool = False,
) -> Result:
    """Finish the moves of these experiments, or all that are moved. Raises ConfigError, TrackingError.

    One with runs that were under way before is passed by, unless `running` says that they may be.
    """
    found = [one for one in await _moves(estate, names) if names or one.state is not State.COPYING]
    endings = _Endings(estate, progress, reverse=False, deletes=True)

    async def work(outcome: Outcome) -> None:
        move = by_id[outcome.experiment_id]
        outcome.state = move.state
        if not running:
            outcome.running = tuple(await estate.database.read(moves.under_way, move.experiment_id))
        if not dry_run and not outcome.running:
            await (await endings.of(move)).finish(move, outcome)

    by_id = {one.experiment_id: one for one in found}
    return await _each(await estate.database.read(_named_moves, found), work)


async def rollback(
    estate: Estate,
    names: Sequence[str],
    progress: Progress | None = None,
    *,
    delete: bool = False,
    running: bool = False,
    dry_run: bool = False,
) -> Result:
    """Roll back the moves of these experiments, or all that can be. Raises ConfigError, TrackingError.

    That of one with runs that were under way before isn't over, unless `running` says that they may be.
    """
    found = [one for one in await _moves(estate, names) if names or one.state is not State.FINISHING]
    endings = _Endings(estate, progress, reverse=True, deletes=delete)

    async def work(outcome: Outcome) -> None:
        move = by_id[outcome.experiment_id]
        outcome.state = move.state
        if not dry_run:
            await (await endings.of(move)).rollback(move, outcome, delete=delete, running=running)

    by_id = {one.experiment_id: one for one in found}
    return await _each(await estate.database.read(_named_moves, found), work)


async def status(estate: Estate) -> list[tuple[Move, str]]:
    """The moves that there are, each with the name of its experiment."""
    found = await estate.database.read(moves.open_moves)
    named = await estate.database.read(_named_moves, found)
    return [(move, outcome.name) for move, outcome in zip(found, named, strict=True)]


class _Endings:
    """What ends moves, opened once for each two places."""

    def __init__(self, estate: Estate, progress: Progress | None, *, reverse: bool, deletes: bool) -> None:
        self._estate, self._progress, self._reverse, self._deletes = estate, progress, reverse, deletes
        self._known: dict[tuple[str, str], Ending] = {}

    async def of(self, move: Move) -> Ending:
        """For that move. Raises ConfigError where something would be deleted, and both places are one."""
        ends = move.source, move.target
        if ends not in self._known:
            renaming = Renaming(*ends)
            database = self._estate.database
            for option, uri in (("--from", move.source), ("--to", move.target)):
                await _require_mounted(self._estate, option, uri, [move.experiment_id])
            whose = await owners(database, renaming.reverse if self._reverse else renaming)
            places = await Ends.open(self._estate, renaming, self._progress)
            if self._deletes:
                await require_apart(renaming, places.source, places.target)
            self._known[ends] = Ending(database, renaming, places, whose)
        return self._known[ends]


async def _require_movable(estate: Estate, renaming: Renaming, number: int) -> None:
    """Raise INVALID for a location that its column can't hold, ConfigError for what another server keeps.

    Rows of such would come to name what was never copied.
    """
    await estate.database.read(relocating.foresee, number, renaming)
    for location in await estate.database.read(relocating.going, number, renaming):
        estate.require_own(location)


async def _require_mounted(estate: Estate, option: str, uri: str, experiments: Sequence[int]) -> None:
    """Raise ConfigError for a bare folder of this machine in which there was something of an experiment."""
    root = estate.root_around(uri)
    if await asyncio.to_thread(mounted.is_bare, root):
        for number in experiments:
            if await estate.database.read(copied.is_begun, number):
                raise mounted.bare(option, root)


async def _each(found: Sequence[Outcome], work: Callable[[Outcome], Awaitable[None]]) -> Result:
    """Do it for one after the other; stop where it would be of no use to go on."""
    result = Result()
    for outcome in found:
        result.outcomes.append(outcome)
        try:
            await work(outcome)
        except ShosoError as error:
            outcome.error = error.message
            if error.kind in _EVERYBODYS:
                result.stopped = error.message
                break
    return result


async def _moves(estate: Estate, names: Sequence[str]) -> list[Move]:
    """The moves of these experiments, or all. Raises NOT_FOUND for one that has none."""
    found = await estate.database.read(moves.open_moves)
    if not names:
        return found
    wanted = await estate.database.read(_numbers, names)
    if absent := [
        name for name, number in wanted.items() if number not in {one.experiment_id for one in found}
    ]:
        raise TrackingError(Kind.NOT_FOUND, f"The experiment '{absent[0]}' isn't being moved.")
    return [one for one in found if one.experiment_id in wanted.values()]


def _named_moves(conn: Connection, found: Sequence[Move]) -> list[Outcome]:
    names = _names(conn)
    return [Outcome(one.experiment_id, names.get(one.experiment_id, "")) for one in found]


def _concerned(conn: Connection, renaming: Renaming, names: Sequence[str]) -> list[Outcome]:
    """The experiments with something below the source, or that are being moved from there."""
    wanted = list(_numbers(conn, names).values()) if names else None
    numbers = {
        one.experiment_id
        for one in moves.open_moves(conn)
        if (one.source, one.target) == (renaming.source, renaming.target)
    } & set(wanted if wanted is not None else _names(conn))
    for kind in holdings.Kind:
        after = ""
        while found := holdings.page(conn, kind, Wanted(experiments=wanted), after):
            after = found[-1].id
            numbers |= {one.experiment_id for one in found if renaming.inside(one.location or "") is not None}
            if len(found) < PAGE:
                break
    if not numbers:
        message = (
            "names nothing that an experiment, run or logged model has recorded; see artifact_uri of a run."
        )
        raise ConfigError("--from", message)
    known = _names(conn)
    return [Outcome(number, known.get(number, "")) for number in sorted(numbers)]


def _names(conn: Connection) -> dict[int, str]:
    query = select(experiments.c.experiment_id, experiments.c.name).where(SERVED)
    return {row.experiment_id: row.name for row in conn.execute(query)}


def _numbers(conn: Connection, names: Sequence[str]) -> dict[str, int]:
    """The ids of experiments that are named by id or name. Raises NOT_FOUND."""
    row, found = experiments.c, dict[str, int]()
    for name in names:
        number = conn.scalar(select(row.experiment_id).where(SERVED, same(row.name, name)))
        if number is None and name.isdecimal() and len(name) < 10:
            number = conn.scalar(select(row.experiment_id).where(SERVED, row.experiment_id == int(name)))
        if number is None:
            raise TrackingError(Kind.NOT_FOUND, f"There is no experiment '{name}'.")
        found[name] = number
    return found
