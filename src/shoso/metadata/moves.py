"""Moves: experiments whose artifacts `migrate` brings from one place to another; one move each at a time.

    copying     the rows name the source; some artifacts are at the target already
    moved       the rows name the target; the source has its copies still, and what came too late
    finishing   the target has everything; the copies at the source are being deleted
    returned    the rows name the source again; what was written meanwhile is being brought back

A move that is finished or rolled back has no row any more.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from shoso.core.locations import shown
from shoso.errors import Kind, TrackingError
from shoso.metadata import claims
from shoso.metadata.clauses import locked
from shoso.metadata.own import copied, moved, moves
from shoso.metadata.schema import experiments, runs
from shoso.metadata.workspace import SERVED


class State(enum.StrEnum):
    """How far a move is."""

    COPYING = "copying"
    MOVED = "moved"
    FINISHING = "finishing"
    RETURNED = "returned"


class Move(NamedTuple):
    """A row. `folder` is what its runs and models have in common, below both ends.

    It is copied in so many `shards`; those in `done` (1,3) are complete. `turned` is when the rows were
    rewritten last; times in milliseconds.
    """

    experiment_id: int
    source: str
    target: str
    folder: str
    state: State
    shards: int
    done: str
    begun: int
    turned: int | None

    @property
    def has_turned(self) -> bool:
        """Whether its rows have ever named the target."""
        return self.turned is not None

    @property
    def missing(self) -> list[int]:
        """The shards that aren't complete."""
        done = {int(number) for number in self.done.split(",") if number}
        return [number for number in range(1, self.shards + 1) if number not in done]


def open_moves(conn: Connection) -> list[Move]:
    """Every move that there is, by experiment."""
    return [_move(row) for row in conn.execute(select(moves).order_by(moves.c.experiment_id))]


def find(conn: Connection, experiment_id: int) -> Move | None:
    """The move of that experiment; nobody else changes it until the commit."""
    query = locked(select(moves).where(moves.c.experiment_id == experiment_id), moves)
    row = conn.execute(query).one_or_none()
    return None if row is None else _move(row)


def state(conn: Connection, experiment_id: int) -> State | None:
    """How far the move of that experiment is; None where there is none."""
    found = conn.scalar(select(moves.c.state).where(moves.c.experiment_id == experiment_id))
    return None if found is None else State(found)


def has_turned(conn: Connection, experiment_id: int) -> bool:
    """Whether the rows of that experiment have named the target in its move."""
    return conn.scalar(select(moves.c.turned).where(moves.c.experiment_id == experiment_id)) is not None


def begin(conn: Connection, wanted: Move) -> Move:
    """The move of that experiment, begun now or before.

    Raises INVALID where another one is under way, something of it is in the trash of gc, or gc deletes it.
    """
    lock(conn, wanted.experiment_id)
    found = find(conn, wanted.experiment_id)
    if found is None:
        claims.refuse_claimed(conn, "experiment", str(wanted.experiment_id))
        claims.refuse_shelved_in(conn, wanted.experiment_id)
        conn.execute(insert(moves).values(**wanted._asdict()))
        return wanted
    _require_same(found, wanted)
    if found.state is State.COPYING and wanted.shards > 1 and found.shards == 1:
        change(conn, wanted.experiment_id, shards=wanted.shards, done="")
        return found._replace(shards=wanted.shards, done="")
    return found


def complete(conn: Connection, experiment_id: int, shard: int) -> Move:
    """Say that the shard is complete; the move as it is then. Raises NOT_FOUND where it was given up."""
    move = require(conn, experiment_id)
    if shard in move.missing:
        done = ",".join(filter(None, [move.done, str(shard)]))
        change(conn, experiment_id, done=done)
        return move._replace(done=done)
    return move


def require(conn: Connection, experiment_id: int) -> Move:
    """As `find`. Raises NOT_FOUND where there is none."""
    if (move := find(conn, experiment_id)) is None:
        message = f"The experiment {experiment_id} isn't being moved any more."
        raise TrackingError(Kind.NOT_FOUND, message)
    return move


def change(conn: Connection, experiment_id: int, **values: object) -> None:
    """Set columns of a move."""
    conn.execute(update(moves).where(moves.c.experiment_id == experiment_id).values(**values))


def turn(conn: Connection, experiment_id: int, allowed: Sequence[State], to: State, **values: object) -> Move:
    """Set the state of a move, which was in one of these. Raises INVALID where somebody else ends it."""
    move = require(conn, experiment_id)
    if move.state not in allowed:
        message = (
            f"The move of experiment {experiment_id} is {move.state}: somebody else has gone on with it."
        )
        raise TrackingError(Kind.INVALID, message)
    change(conn, experiment_id, state=to.value, **values)
    return move


def end(conn: Connection, experiment_id: int, *, forget: bool = True) -> None:
    """The move is over: finished, or rolled back; unless to `forget` them, its copies are known still."""
    for table in (moved, moves, copied) if forget else (moved, moves):
        conn.execute(delete(table).where(table.c.experiment_id == experiment_id))


def lock(conn: Connection, experiment_id: int) -> None:
    """Nobody makes a run or model in the experiment until the commit. Raises NOT_FOUND."""
    query = select(experiments.c.experiment_id).where(experiments.c.experiment_id == experiment_id, SERVED)
    if conn.execute(locked(query, experiments)).one_or_none() is None:
        raise TrackingError(Kind.NOT_FOUND, f"No Experiment with id={experiment_id} exists")


def has_experiment(conn: Connection, experiment_id: int) -> bool:
    """Whether the experiment is there still: gc may have deleted it for good after it had moved."""
    query = select(experiments.c.experiment_id).where(experiments.c.experiment_id == experiment_id)
    return conn.scalar(query) is not None


def under_way(conn: Connection, experiment_id: int) -> Sequence[str]:
    """Ids of runs that have been RUNNING since before the rows were rewritten, in any number up to ten."""
    query = select(runs.c.run_uuid).where(
        runs.c.experiment_id == experiment_id,
        moves.c.experiment_id == experiment_id,
        runs.c.status == "RUNNING",
        runs.c.lifecycle_stage == "active",
        runs.c.start_time < moves.c.turned,
    )
    return conn.scalars(query.order_by(runs.c.start_time).limit(10)).all()


def _require_same(found: Move, wanted: Move) -> None:
    """Refuse what would mix two moves."""
    who, tail = f"The experiment {found.experiment_id}", f"--experiment {found.experiment_id}"
    if (found.source, found.target) != (wanted.source, wanted.target):
        ends = f"from {shown(found.source)} to {shown(found.target)}"
        raise TrackingError(
            Kind.INVALID,
            f"{who} is being moved {ends}; end that first: shoso migrate finish {tail}, or rollback.",
        )
    if found.state in {State.FINISHING, State.RETURNED}:
        verb, doing = (
            ("finish", "finished") if found.state is State.FINISHING else ("rollback", "rolled back")
        )
        message = f"The move of experiment {found.experiment_id} is being {doing}; go on with that:"
        raise TrackingError(Kind.INVALID, f"{message} shoso migrate {verb} {tail}.")
    if found.state is State.COPYING and found.shards > 1 and wanted.shards not in {1, found.shards}:
        message = f"{who} is being copied in {found.shards} shards: say --shard i/{found.shards}."
        raise TrackingError(Kind.INVALID, message)


def _move(row: Sequence[object]) -> Move:
    found = Move(*row)  # type: ignore[arg-type]
    return found._replace(state=State(found.state))
