"""An experiment on its way: copied, compared, its rows rewritten, and what came too late brought after it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from shoso.core.clock import now_ms
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.errors import Kind, ShosoError, TrackingError, store_error
from shoso.maintenance.migrate.book import Book
from shoso.maintenance.migrate.ends import Ends
from shoso.maintenance.migrate.judging import Verdict, judge
from shoso.maintenance.migrate.remains import look, weed
from shoso.maintenance.migrate.renaming import Renaming
from shoso.metadata import moves, relocating
from shoso.metadata.connect import Database
from shoso.metadata.moves import Move, State
from shoso.metadata.relocating import Changed
from shoso.transfer import CopyError, Settled
from shoso.transfer.plan import version
from shoso.transfer.window import crew

ROUNDS = 5
"""Passes before the rows are rewritten, and again after: of a run that never rests the rest comes later."""

BEAT = 1.0
"""Seconds after which somebody who copies looks whether the rows are still to be rewritten."""

MOST = 50_000
"""Objects that are brought in one go, for they are in memory by name."""

_PASSING = {Kind.NOT_FOUND, Kind.CHANGED, Kind.INCOMPLETE}
"""Failures of artifacts that somebody is writing or deleting meanwhile."""

_HEX = re.compile(r"[0-9a-f]{8}")
_SPACE = 2**32


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the runs and models, by their ids: the `number`th of `count`."""

    number: int = 1
    count: int = 1

    def __contains__(self, id_: object) -> bool:
        text = str(id_).removeprefix("m-")[:8]
        hexadecimal = text if _HEX.fullmatch(text) else digest(text.encode())[:8]
        place = int(hexadecimal, 16)
        return place * self.count // _SPACE == self.number - 1


WHOLE = Shard()


@dataclass(slots=True)
class Outcome:
    """What became of an experiment: rows rewritten, artifacts copied and deleted, and the state it is in.

    `waiting` are shards that aren't complete, `running` runs that are still under way, `error` why it
    didn't go on. `kept` are objects at the target that stay as they are, for no move has put them there, or
    of `finish` folders at the source that do, for they aren't one run's or model's own or have files whose
    names no key can have, by their locations;
    `unsure` are objects that were written at both places, and stay at both.
    """

    experiment_id: int
    name: str
    state: str = ""
    runs: int = 0
    models: int = 0
    versions: int = 0
    copied: int = 0
    bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    waiting: tuple[int, ...] = ()
    running: tuple[str, ...] = ()
    kept: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    error: str = ""

    def count(self, changed: Changed) -> None:
        """Rows were rewritten."""
        self.runs += changed.runs
        self.models += changed.models
        self.versions += changed.versions


class Mover:
    """Moves experiments between two places, one at a time; each call may be made again."""

    def __init__(self, database: Database, renaming: Renaming, ends: Ends) -> None:
        self._database, self._renaming, self.ends = database, renaming, ends

    async def foresee(self, outcome: Outcome) -> None:
        """Count what would be moved. Raises INVALID for what can't be, StoreError."""
        number = outcome.experiment_id
        outcome.count(await self._database.read(relocating.foresee, number, self._renaming))
        if folders := await self.folders(number):
            report = await self.ends.carry(folders, dry_run=True)
            outcome.copied, outcome.bytes = report.copied, report.sent

    async def move(self, outcome: Outcome, shard: Shard = WHOLE) -> None:
        """Move an experiment, or a shard of it. Raises TrackingError, StoreError."""
        number = outcome.experiment_id
        wanted = Move(
            number,
            self._renaming.source,
            self._renaming.target,
            "",
            State.COPYING,
            shard.count,
            "",
            now_ms(),
            None,
        )
        move = await self._database.write(relocating.begin, wanted, self._renaming)
        outcome.state = move.state
        if move.state is State.COPYING:
            await self._copy(outcome, shard)
            if shard != WHOLE:
                move = await self._database.write(moves.complete, number, shard.number)
                outcome.waiting = tuple(move.missing)
        if not outcome.waiting:
            await self.follow(outcome, move)

    async def follow(self, outcome: Outcome, move: Move) -> None:
        """Rewrite the rows, and bring what was written to the source since it was copied."""
        for left in reversed(range(ROUNDS)):
            changed = await self._database.write(relocating.flip, move, self._renaming, now_ms())
            outcome.state = State.MOVED
            outcome.count(changed)
            if not await self.bring(outcome, await self.folders(outcome.experiment_id), last=not left):
                return

    async def bring(self, outcome: Outcome, folders: Collection[Key], *, last: bool = True) -> int:
        """Copy what is missing at the target, or was written at the source alone since both had the same.

        How many it was, or should have been: what is deleted or written just then fails only the `last` time.
        """
        brought, book = 0, self.book(outcome)
        while due := await self._due(outcome, folders, book):
            tried = await self._pass(outcome, folders, last=last, over=due)
            await self.ends.agree(folders, book, only=due)
            brought += tried
            if len(due) < MOST or not tried:
                break
        return brought

    async def _due(self, outcome: Outcome, folders: Collection[Key], book: Book) -> dict[Key, str]:
        """What is to be copied, and over which versions; not more than MOST."""
        due: dict[Key, str] = {}
        outcome.unsure.clear()

        async def settle(group: Sequence[Settled]) -> Sequence[bool]:
            await book.note(group)
            for one, verdict in zip(group, await self.judge(group), strict=True):
                if verdict is Verdict.DUE and len(due) < MOST:
                    due[Key(one.path)] = version(one.there) if one.there else ""
                elif verdict is Verdict.UNSURE:
                    outcome.unsure.add(one.path)
            return [True] * len(group)

        await self.ends.agree(folders, book, settle)
        return due

    async def judge(self, group: Sequence[Settled]) -> list[Verdict]:
        """What is to become of each of these. Raises StoreError."""
        return await judge(self.ends.source, self.ends.target, group)

    def book(self, outcome: Outcome) -> Book:
        """What is known of the objects of an experiment."""
        return self.ends.book(self._database, outcome.experiment_id, self._renaming)

    def book_back(self, outcome: Outcome) -> Book:
        """The same, on the way back."""
        return self.ends.reverse.book(self._database, outcome.experiment_id, self._renaming.reverse)

    async def folders(self, number: int) -> list[Key]:
        """Where the runs and models of an experiment are, below both ends."""
        return [*(await self._database.read(relocating.folders, number, self._renaming)).values()]

    async def _copy(self, outcome: Outcome, shard: Shard) -> None:
        """Copy until both ends agree. Raises StoreError, CORRUPT where they won't."""
        before: dict[str, str] = {}
        for left in reversed(range(ROUNDS)):
            covered = await self._database.write(relocating.cover, outcome.experiment_id, self._renaming)
            mine = {id_: path for id_, path in covered.items() if id_ in shard}
            if not (folders := [*mine.values()]):
                return
            async with self._nobody_turns(outcome.experiment_id):
                await self._look(outcome, mine, again=left == ROUNDS - 1)
                await self._pass(outcome, folders, last=not left)
            found = await self.ends.agree(folders, self.book(outcome))
            if not found.different:
                await self._weed(outcome, folders)
                return
            _refuse_stuck(before, found.different)
            before = found.different

    async def _look(self, outcome: Outcome, mine: Mapping[str, Key], *, again: bool) -> None:
        """Know what is at the target before anything is copied there. Raises EXISTS.

        `again`: also in the folders that were seen before. Not after a copy: what is new there is ours.
        """
        fresh = await self._database.read(relocating.unseen, outcome.experiment_id, mine)
        seen = [path for id_, path in mine.items() if id_ not in fresh]
        ends, book = self.ends.reverse, self.book_back(outcome)
        if fresh:
            await look(ends, book, [mine[id_] for id_ in fresh], first=True)
            await self._database.write(relocating.see, outcome.experiment_id, fresh)
        if again:
            await look(ends, book, seen, first=False)

    async def _weed(self, outcome: Outcome, folders: Collection[Key]) -> None:
        """Leave no copy at the target of what is gone at the source."""
        number = outcome.experiment_id

        async def copying() -> None:
            if (state := await self._database.read(moves.state, number)) is not State.COPYING:
                raise _gone_on(number, state)

        outcome.kept |= await weed(self.ends.reverse, self.book_back(outcome), folders, copying)

    @asynccontextmanager
    async def _nobody_turns(self, number: int) -> AsyncIterator[None]:
        """Break off with INVALID when somebody else rewrites the rows, or gives the move up.

        From then on clients write to the target, and what is copied might be older than what is there.
        """
        async with crew() as group:
            watching = group.create_task(self._watch(number))
            yield
            watching.cancel()

    async def _watch(self, number: int) -> None:
        state: State | None = State.COPYING
        while state is State.COPYING:
            await asyncio.sleep(BEAT)
            with suppress(ShosoError):  # a database that is away for a while
                state = await self._database.read(moves.state, number)
        raise _gone_on(number, state)

    async def _pass(
        self, outcome: Outcome, folders: Collection[Key], *, last: bool, over: Mapping[Key, str] | None = None
    ) -> int:
        """Copy what is new; what is just being written has another pass, except after the last."""
        try:
            report = await self.ends.carry(folders, over=over)
        except CopyError as error:
            if last or any(failure.kind not in _PASSING for failure in error.failures):
                raise
            report = error.report
        outcome.copied += report.copied
        outcome.bytes += report.sent
        return report.copied + report.failed


def _gone_on(number: int, state: State | None) -> TrackingError:
    message = (
        f"The move of experiment {number} is {state or 'over'}: somebody else has gone on with it while this"
        " copied."
    )
    return TrackingError(Kind.INVALID, message)


def _refuse_stuck(before: dict[str, str], now: dict[str, str]) -> None:
    """Raise CORRUPT for what differs again, though nobody has changed it at the source."""
    stuck = [path for path, version in now.items() if version and before.get(path) == version]
    if stuck:
        message = f"'{stuck[0]}' differs at the target, though it was copied again; nothing was rewritten."
        raise store_error(Kind.CORRUPT, message, op="migrate", key=stuck[0])
