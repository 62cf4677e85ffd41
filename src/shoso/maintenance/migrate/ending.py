"""The end of a move: `finish` deletes what is at the source, `rollback` makes the rows name it again.

Nothing is deleted but objects of moved runs and models, each compared with what is at the other place just
before. What a row names there still, of whichever experiment or version, stays; at the source, so does what
is in no folder that carries the id of its run or model: it may be anybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from shoso.core import keys
from shoso.core.clock import now_ms
from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, TrackingError, store_error
from shoso.maintenance.gc.guard import is_own
from shoso.maintenance.migrate.book import Origin
from shoso.maintenance.migrate.ends import Ends, unseen, within
from shoso.maintenance.migrate.judging import Verdict, judge
from shoso.maintenance.migrate.moving import ROUNDS, Mover, Outcome
from shoso.maintenance.migrate.remains import origins
from shoso.maintenance.migrate.renaming import Renaming, at
from shoso.metadata import moves, relocating
from shoso.metadata.connect import Database
from shoso.metadata.moves import Move, State
from shoso.transfer import Comparison, Settle, Settled

Owners = Mapping[Key, set[int]]
"""Paths below the source that runs and models name still, and of which experiments these are."""


async def owners(database: Database, renaming: Renaming) -> Owners:
    """Who names something below the source of `renaming`."""
    return await database.read(_owners, renaming)


class _Folders(NamedTuple):
    """Folders by their paths: runs' and models' own; those of deleted ones; what may be anybody's."""

    own: set[Key]
    gone: set[Key]
    others: set[Key]


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of moves between two places, one at a time; each call may be made again."""

    database: Database
    renaming: Renaming
    ends: Ends
    owners: Owners

    async def finish(self, move: Move, outcome: Outcome) -> None:
        """Bring the rest, compare everything, delete what is at the source. Raises INVALID, StoreError.

        What was written at both places stays at both, and the move isn't over as long as there is any.
        """
        outcome.state = move.state
        if move.state not in {State.MOVED, State.FINISHING}:
            raise _not(move, "finished")
        mover = Mover(self.database, self.renaming, self.ends)
        if move.state is State.MOVED and await self._is_there(move):
            await mover.follow(outcome, move)
        folders = await mover.folders(move.experiment_id)
        if move.state is State.FINISHING:  # what came after it had begun
            await mover.bring(outcome, folders)
        await self._compare(mover, folders, outcome)
        await self.database.write(_finishing, move.experiment_id)
        outcome.state = State.FINISHING
        found = await self._folders(outcome.experiment_id)
        await self._delete(mover, folders, found.own, outcome)
        await self._delete_gone(mover, found, outcome)
        await self._name_kept(found, outcome)
        if not outcome.unsure:
            await self.database.write(moves.end, move.experiment_id)
            outcome.state = "finished"

    async def rollback(self, move: Move, outcome: Outcome, *, delete: bool, running: bool) -> None:
        """Make the rows name the source again, with all that was written since; `delete` the copies then.

        Runs that are under way may write to the target still: unless `running` says that they may be, it
        isn't over then, and reads find what they write. As long as something was written at both places,
        it stays at both, and rows that name the target go on to. Raises INVALID where it is too late,
        StoreError.
        """
        outcome.state = move.state
        if move.state is State.FINISHING:
            raise _not(move, "rolled back")
        mover = Mover(self.database, self.renaming, self.ends)
        if move.has_turned and await self._is_there(move):
            await self._return(mover, move, outcome)
        if outcome.unsure:
            return
        if not running:
            outcome.running = tuple(await self.database.read(moves.under_way, move.experiment_id))
        if outcome.running:
            return
        if move.state is State.COPYING:
            await self.database.write(_returned, move.experiment_id)
            outcome.state = State.RETURNED
        if delete:
            await self._delete_copies(mover, move, outcome)
        await self.database.write(moves.end, move.experiment_id, forget=delete)
        outcome.state = "rolled back"

    async def _is_there(self, move: Move) -> bool:
        return await self.database.read(moves.has_experiment, move.experiment_id)

    async def _return(self, mover: Mover, move: Move, outcome: Outcome) -> None:
        back = Mover(self.database, self.renaming.reverse, self.ends.reverse)
        for left in reversed(range(ROUNDS)):
            folders = await mover.folders(move.experiment_id)
            if not await back.bring(outcome, folders, last=not left):
                break
        if outcome.unsure:
            return
        for left in reversed(range(ROUNDS)):
            changed = await self.database.write(relocating.unflip, move, self.renaming.reverse, now_ms())
            outcome.state = State.RETURNED
            outcome.count(changed)
            folders = await mover.folders(move.experiment_id)
            if not await back.bring(outcome, folders, last=not left):
                return

    async def _compare(self, mover: Mover, folders: Collection[Key], outcome: Outcome) -> None:
        """Raise CORRUPT unless the target has everything, or what was written over it since."""
        book = mover.book(outcome)

        async def settle(group: Sequence[Settled]) -> Sequence[bool]:
            await book.note(group)
            return [verdict is not Verdict.DUE for verdict in await mover.judge(group)]

        found = await self.ends.agree(folders, book, settle)
        if found.different:
            first = next(iter(found.different))
            message = (
                f"{len(found.different)} artifacts at the source aren't the same at the target, '{first}'"
                " among them; nothing was deleted. If they are being written, finish when that is over."
            )
            raise store_error(Kind.CORRUPT, message, op="migrate", key=first)

    async def _folders(self, experiment_id: int) -> _Folders:
        live = await self.database.read(relocating.folders, experiment_id, self.renaming)
        gone = await self.database.read(relocating.gone, experiment_id)
        old = {id_: path for id_, one in gone if (path := self.renaming.inside(one)) is not None}
        own, lost = self._own(live), self._own(old)
        return _Folders(own, lost, {*live.values(), *old.values()} - own - lost)

    def _own(self, found: Mapping[str, Key]) -> set[Key]:
        return {path for id_, path in found.items() if is_own(id_, at(self.renaming.source, path))}

    async def _delete(
        self, mover: Mover, folders: Collection[Key], own: Collection[Key], outcome: Outcome
    ) -> None:
        """Delete at the source what the target has, of `own` folders. Raises CHANGED for what it hasn't."""
        outcome.unsure.clear()
        staying, going = await self._staying(outcome.experiment_id), self._at_source(own)

        def goes(key: Key, verdict: Verdict) -> bool:
            late = verdict in {Verdict.DUE, Verdict.UNSURE}
            return not late and within(key, going) and not within(key, staying)

        settle = self._deleting(mover, outcome, goes)
        _require_settled(await self.ends.agree(folders, mover.book(outcome), settle))

    def _deleting(self, mover: Mover, outcome: Outcome, goes: Callable[[Key, Verdict], bool]) -> Settle:
        """What deletes at the source what goes by its key and what it is; what is unsure is named."""

        async def settle(group: Sequence[Settled]) -> Sequence[bool]:
            judged = [*zip(group, await mover.judge(group), strict=True)]
            outcome.unsure.update(one.path for one, verdict in judged if verdict is Verdict.UNSURE)
            await self._remove([one.meta for one, verdict in judged if goes(one.meta.key, verdict)], outcome)
            return [verdict is not Verdict.DUE for _, verdict in judged]

        return settle

    async def _delete_copies(self, mover: Mover, move: Move, outcome: Outcome) -> None:
        """Delete at the target what is the same at the source, and what the move has put there.

        What was written there by somebody else stays, and is named. Raises CHANGED for what was just now.
        """
        back = Ending(self.database, self.renaming.reverse, self.ends.reverse, self.owners)
        book, staying = mover.book_back(outcome), await back._staying(outcome.experiment_id)

        async def settle(group: Sequence[Settled]) -> Sequence[bool]:
            found = [*zip(group, await origins(book, group), strict=True)]
            going = [one for one, origin in found if _is_copy(one, origin)]
            await back._remove([one.meta for one in going if not within(one.meta.key, staying)], outcome)
            rest = [one for one, origin in found if not _is_copy(one, origin)]
            judged = await judge(back.ends.source, back.ends.target, rest)
            late = {one.path for one, each in zip(rest, judged, strict=True) if each is Verdict.DUE}
            late = late if move.has_turned else set()
            outcome.kept.update(one.path for one in rest if one.path not in late)
            return [one.path not in late for one in group]

        folders = await mover.folders(outcome.experiment_id)
        _require_settled(await back.ends.agree(folders, book, settle))

    async def _delete_gone(self, mover: Mover, found: _Folders, outcome: Outcome) -> None:
        """Delete the copies of runs and models that were deleted for good after they had moved.

        What is unsure stays, and so do folders of others inside of theirs.
        """
        inside = [path for path in found.others if within(path, found.gone)]
        staying = await self._staying(outcome.experiment_id) | self._at_source(inside)

        def goes(key: Key, verdict: Verdict) -> bool:
            return verdict is not Verdict.UNSURE and not within(key, staying)

        settle = self._deleting(mover, outcome, goes)
        await self.ends.agree(found.gone, mover.book(outcome), settle)

    async def _name_kept(self, found: _Folders, outcome: Outcome) -> None:
        """Name the folders in which something stays: nobody's own, or with files that nobody can name."""
        left = [path for path in found.others if not await self.ends.is_empty([path])]
        left += await asyncio.to_thread(unseen, self.ends.source, found.own)
        outcome.kept.update(shown(at(self.renaming.source, path)) for path in left)

    async def _remove(self, going: Sequence[ObjectMeta], outcome: Outcome) -> None:
        await self.ends.source.store.delete([meta.key for meta in going])
        outcome.deleted += len(going)
        outcome.deleted_bytes += sum(meta.size for meta in going)

    async def _staying(self, experiment_id: int) -> set[Key]:
        """The keys at the source that are named by rows of others, or of registered versions."""
        versions = await self.database.read(relocating.registered)
        paths = [path for one in versions if (path := self.renaming.inside(one)) is not None]
        paths += [path for path, whose in self.owners.items() if whose - {experiment_id}]
        return self._at_source(paths)

    def _at_source(self, paths: Iterable[Key]) -> set[Key]:
        return {keys.join(self.ends.source.key, path) for path in paths}


def _owners(conn: Connection, renaming: Renaming) -> Owners:
    found: dict[Key, set[int]] = {}
    for number, location in relocating.named(conn):
        if (path := renaming.inside(location)) is not None:
            found.setdefault(path, set()).add(number)
    return found


def _finishing(conn: Connection, experiment_id: int) -> None:
    """From here on it is finished, and not rolled back any more."""
    moves.turn(conn, experiment_id, (State.MOVED, State.FINISHING), State.FINISHING)


def _returned(conn: Connection, experiment_id: int) -> None:
    """From here on it is rolled back; whoever copies for it still breaks off."""
    moves.turn(conn, experiment_id, (State.COPYING, State.RETURNED), State.RETURNED)


def _is_copy(one: Settled, origin: Origin) -> bool:
    return origin is Origin.COPIED or (one.same and origin is Origin.UNKNOWN)


def _require_settled(found: Comparison) -> None:
    """Raise CHANGED for what is at one place alone."""
    if found.different:
        first = next(iter(found.different))
        message = f"'{first}' was written meanwhile, and is still there; run the same command again."
        raise store_error(Kind.CHANGED, message, op="migrate", key=first)


def _not(move: Move, done: str) -> TrackingError:
    why = {
        State.COPYING: "its rows name the source still; run shoso migrate --from … --to … to its end first",
        State.RETURNED: "it is being rolled back; go on with shoso migrate rollback",
        State.FINISHING: "copies at the source are being deleted; go on with shoso migrate finish",
    }
    message = f"The move of experiment {move.experiment_id} can't be {done}: {why[move.state]}."
    return TrackingError(Kind.INVALID, message)
