"""The end of a move: `finish` deletes what is at the source, `rollback` makes the rows name it again.

Nothing is deleted but objects of moved runs and models, each compared with what is at the other place just
before. What a row names there still, of whichever experiment or version, stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, TrackingError, store_error
from shoso.maintenance.migrate.ends import Ends, within
from shoso.maintenance.migrate.moving import ROUNDS, Mover, Outcome
from shoso.maintenance.migrate.renaming import Renaming
from shoso.metadata import moves, relocating
from shoso.metadata.connect import Database
from shoso.metadata.experiments import now_ms
from shoso.metadata.moves import Move, State
from shoso.transfer.agreement import Judge

COARSE = 2.0
"""Seconds in which the times of two machines may differ."""

Owners = Mapping[Key, set[int]]
"""Paths below the source that runs and models name still, and of which experiments these are."""


async def owners(database: Database, renaming: Renaming) -> Owners:
    """Who names something below the source of `renaming`."""
    return await database.read(_owners, renaming)


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of moves between two places, one at a time; each call may be made again."""

    database: Database
    renaming: Renaming
    ends: Ends
    owners: Owners

    async def finish(self, move: Move, outcome: Outcome) -> None:
        """Bring the rest, compare everything, delete what is at the source. Raises INVALID, StoreError."""
        outcome.state = move.state
        if move.state not in {State.MOVED, State.FINISHING}:
            raise _not(move, "finished")
        mover = Mover(self.database, self.renaming, self.ends)
        if move.state is State.MOVED and await self._is_there(move):
            await mover.follow(outcome, move)
        folders = await mover.folders(move.experiment_id)
        if move.state is State.FINISHING:  # what came after it had begun
            await mover.bring(outcome, folders)
        await self._compare(folders, move)
        await self.database.write(_finishing, move.experiment_id)
        outcome.state = State.FINISHING
        await self._delete(folders, move, outcome)
        await self._delete_gone(move, outcome)
        await self.database.write(moves.end, move.experiment_id)
        outcome.state = "finished"

    async def rollback(self, move: Move, outcome: Outcome, *, delete: bool, running: bool) -> None:
        """Make the rows name the source again, with all that was written since; `delete` the copies then.

        Runs that are under way may write to the target still: unless `running` says that they may be, it
        isn't over then, and reads find what they write. Raises INVALID where it is too late, StoreError.
        """
        outcome.state = move.state
        if move.state is State.FINISHING:
            raise _not(move, "rolled back")
        mover = Mover(self.database, self.renaming, self.ends)
        if move.state is not State.COPYING and await self._is_there(move):
            await self._return(mover, move, outcome)
        if not running:
            outcome.running = tuple(await self.database.read(moves.under_way, move.experiment_id))
        if outcome.running:
            return
        if delete:
            back = Ending(self.database, self.renaming.reverse, self.ends.reverse, self.owners)
            await back._delete(await mover.folders(move.experiment_id), move, outcome)
        await self.database.write(moves.end, move.experiment_id)
        outcome.state = "rolled back"

    async def _is_there(self, move: Move) -> bool:
        return await self.database.read(moves.has_experiment, move.experiment_id)

    async def _return(self, mover: Mover, move: Move, outcome: Outcome) -> None:
        back = Mover(self.database, self.renaming.reverse, self.ends.reverse)
        for left in reversed(range(ROUNDS)):
            folders = await mover.folders(move.experiment_id)
            if not await back.bring(outcome, folders, last=not left):
                break
        for left in reversed(range(ROUNDS)):
            changed = await self.database.write(relocating.unflip, move, self.renaming.reverse, now_ms())
            outcome.state = State.RETURNED
            outcome.count(changed)
            folders = await mover.folders(move.experiment_id)
            if not await back.bring(outcome, folders, last=not left):
                return

    async def _compare(self, folders: Collection[Key], move: Move) -> None:
        """Raise CORRUPT unless the target has everything, or what was written over it since."""
        found = await self.ends.agree(folders, _judge(move))
        if found.different:
            first = next(iter(found.different))
            message = (
                f"{len(found.different)} artifacts at the source aren't the same at the target, '{first}'"
                " among them; nothing was deleted. If they are being written, finish when that is over."
            )
            raise store_error(Kind.CORRUPT, message, op="migrate", key=first)

    async def _delete(self, folders: Collection[Key], move: Move, outcome: Outcome) -> None:
        """Delete at the source what the target has. Raises CHANGED for what it hasn't."""
        staying = await self._staying(move.experiment_id)

        async def agreed(found: Sequence[ObjectMeta]) -> None:
            await self._remove([meta for meta in found if not within(meta.key, staying)], outcome)

        found = await self.ends.agree(folders, _judge(move), agreed)
        if found.different:
            first = next(iter(found.different))
            message = f"'{first}' was written meanwhile, and is still there; run the same command again."
            raise store_error(Kind.CHANGED, message, op="migrate", key=first)

    async def _delete_gone(self, move: Move, outcome: Outcome) -> None:
        """Delete the copies of runs and models that were deleted for good after they had moved."""
        staying = await self._staying(move.experiment_id)
        for location in await self.database.read(relocating.gone, move.experiment_id):
            if path := self.renaming.inside(location):
                folder, found = keys.join(self.ends.source.key, path), list[ObjectMeta]()
                async for meta in self.ends.source.store.list(folder, deep=True):
                    if isinstance(meta, ObjectMeta) and not within(meta.key, staying):
                        found.append(meta)
                await self._remove(found, outcome)

    async def _remove(self, going: Sequence[ObjectMeta], outcome: Outcome) -> None:
        await self.ends.source.store.delete([meta.key for meta in going])
        outcome.deleted += len(going)
        outcome.deleted_bytes += sum(meta.size for meta in going)

    async def _staying(self, experiment_id: int) -> set[Key]:
        """The keys at the source that are named by rows of others, or of registered versions."""
        versions = await self.database.read(relocating.registered)
        paths = [path for one in versions if (path := self.renaming.inside(one)) is not None]
        paths += [path for path, whose in self.owners.items() if whose - {experiment_id}]
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


def _judge(move: Move) -> Judge:
    turned = (move.turned or 0) / 1000 - COARSE

    def superseded(meta: ObjectMeta, there: ObjectMeta) -> bool:
        """Whether the other place has something newer, written there after the rows named it."""
        return there.modified >= max(turned, meta.modified)

    return superseded


def _not(move: Move, done: str) -> TrackingError:
    why = {
        State.COPYING: "its rows name the source still; run shoso migrate --from … --to … to its end first",
        State.RETURNED: "it is being rolled back; go on with shoso migrate rollback",
        State.FINISHING: "copies at the source are being deleted; go on with shoso migrate finish",
    }
    message = f"The move of experiment {move.experiment_id} can't be {done}: {why[move.state]}."
    return TrackingError(Kind.INVALID, message)
