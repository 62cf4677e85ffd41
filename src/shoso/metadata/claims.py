"""Claims: what `gc` has begun to delete. From then on nobody restores it, until it is gone or given back.

Artifacts can't be deleted in the transaction of their rows. So a run is claimed first, which is refused when
it was restored in between; then its artifacts go, then its rows and the claim. What a killed `gc` leaves is
claimed still, and the next one knows that some of its artifacts may be gone. A claim with a `trash` has had
its artifacts moved there, and is given back by `gc undo` until the time is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, select, update

from shoso.core.clock import now_ms
from shoso.errors import Kind, TrackingError
from shoso.metadata.clauses import listed, locked, parts
from shoso.metadata.own import claims
from shoso.metadata.schema import logged_models, runs

DAY = 86_400_000
"""Milliseconds."""

FOREVER = 2**53
"""A time, in milliseconds, that is never over."""


class Claim(NamedTuple):
    """A row; `trash` is the folder of the trash, as a URI, where its `objects` are until `until`.

    Without `until` (milliseconds) they are on their way there. It is FOREVER while they are brought back.
    `location` is that of a plan, without a password; `maintenance.recorded` finds it again.
    """

    kind: str
    id: str
    plan: str
    time: int
    location: str
    trash: str | None = None
    until: int | None = None
    objects: int | None = None

    @property
    def is_shelved(self) -> bool:
        """Whether all of it is in the trash, and nobody brings it back."""
        return self.until is not None and self.until < FOREVER

    @property
    def is_left(self) -> bool:
        """Whether its artifacts began to go to the trash over a day ago, and not all have gone there."""
        return self.trash is not None and self.until is None and self.time <= now_ms() - DAY

    @property
    def shelved(self) -> int:
        """How many objects must be in the trash: none has gone from there unless another plan took it."""
        is_whole = self.trash is not None and self.trash.endswith(f"/{self.plan}") and self.until is not None
        return (self.objects or 0) if is_whole else 0

    def is_over(self, location: str, trash: str) -> bool:
        """Whether what was at that location has been in that folder of the trash for its time."""
        over = self.until is not None and self.until <= now_ms()
        return over and (self.location, self.trash) == (location, trash)


_LISTED = and_(claims.c.kind == bindparam("of"), listed(claims.c.id))
_KNOWN, _RELEASE = select(claims).where(_LISTED), delete(claims).where(_LISTED)


def known(conn: Connection, kind: str, ids: Sequence[str]) -> dict[str, Claim]:
    """The claims that there are on these, by id."""
    found: dict[str, Claim] = {}
    for some in parts(ids):
        rows = conn.execute(_KNOWN, {"of": kind, "ids": some})
        found |= {row.id: Claim(*row) for row in rows}
    return found


def add(conn: Connection, new: Iterable[Claim]) -> None:
    """Claim what nobody has claimed."""
    if rows := [claim._asdict() for claim in new]:
        conn.execute(insert(claims), rows)


def shelve(conn: Connection, going: Sequence[Claim], until: int) -> None:
    """Artifacts of these claims, of one kind and plan, are in the trash until then.

    What `undo` gave back while they were on their way there is claimed anew: else nobody would find them.
    """
    for some in parts(going):
        kind, ids = some[0].kind, [claim.id for claim in some]
        ours = and_(_these(kind, ids), claims.c.plan == some[0].plan)
        conn.execute(update(claims).where(ours).values(until=until))
        there = known(conn, kind, ids)
        add(conn, [claim._replace(until=until) for claim in some if claim.id not in there])


def end(conn: Connection, claim: Claim, until: int, objects: int) -> bool:
    """Shelve what was left on the way to the trash: so many of its objects; whether it is left still."""
    same = and_(_these(claim.kind, [claim.id]), claims.c.plan == claim.plan, claims.c.until.is_(None))
    return bool(conn.execute(update(claims).where(same).values(until=until, objects=objects)).rowcount)


def take(conn: Connection, claim: Claim, plan: str) -> bool:
    """Whether its time in the trash is over; then it is the other plan's, and nobody brings it back."""
    over = and_(_these(claim.kind, [claim.id]), claims.c.plan == claim.plan, claims.c.until <= now_ms())
    return bool(conn.execute(update(claims).where(over).values(plan=plan)).rowcount)


def keep(conn: Connection, claim: Claim) -> bool:
    """Whether it is its plan's still; then its time in the trash isn't over before it is brought back."""
    same = and_(_these(claim.kind, [claim.id]), claims.c.plan == claim.plan)
    return bool(conn.execute(update(claims).where(same).values(until=FOREVER)).rowcount)


def give_back(conn: Connection, claim: Claim) -> bool:
    """Let go of what is brought back; False if more of it has come to the trash since `keep`."""
    kept = and_(_these(claim.kind, [claim.id]), claims.c.plan == claim.plan, claims.c.until == FOREVER)
    done = conn.execute(delete(claims).where(kept)).rowcount
    return bool(done) or claim.id not in known(conn, claim.kind, [claim.id])


def release(conn: Connection, kind: str, ids: Sequence[str]) -> None:
    """Nobody has a claim on these any more."""
    for some in parts(ids):
        conn.execute(_RELEASE, {"of": kind, "ids": some})


def page(conn: Connection, kind: str, *, plan: str = "", after: str = "", limit: int = 1000) -> list[Claim]:
    """Claims of a kind behind the id `after`, of one plan or of all, in the order of ids."""
    query = select(claims).where(claims.c.kind == kind, claims.c.id > after)
    if plan:
        query = query.where(claims.c.plan == plan)
    return [Claim(*row) for row in conn.execute(query.order_by(claims.c.id).limit(limit))]


def refuse_claimed(conn: Connection, kind: str, id_: str) -> None:
    """Raise INVALID if this is being deleted: its artifacts may be gone already.

    To be asked when its row is locked, as whoever claims it has it.
    """
    _refuse(conn, _these(kind, [id_]))


def refuse_claimed_in(conn: Connection, experiment_id: int) -> None:
    """Raise INVALID if a run or logged model of the experiment is being deleted."""
    for condition in _inside(experiment_id):
        _refuse(conn, condition)


def refuse_shelved_in(conn: Connection, experiment_id: int) -> None:
    """Raise INVALID if artifacts of the experiment are in the trash: they would be left behind there."""
    for condition in _inside(experiment_id):
        _refuse(conn, and_(condition, claims.c.trash.is_not(None)))


def _inside(experiment_id: int) -> Iterator[ColumnElement[bool]]:
    """The conditions of claims on what is in the experiment."""
    for kind, id_, table in (
        ("run", runs.c.run_uuid, runs),
        ("model", logged_models.c.model_id, logged_models),
    ):
        inside = select(id_).where(table.c.experiment_id == experiment_id)
        yield and_(claims.c.kind == kind, claims.c.id.in_(inside))


def _refuse(conn: Connection, condition: ColumnElement[bool]) -> None:
    query = locked(select(claims), claims).where(condition).limit(1)  # locked: of now, whatever was read
    if (row := conn.execute(query).one_or_none()) is not None:
        raise _claimed(Claim(*row))


def _these(kind: str, ids: Sequence[str]) -> ColumnElement[bool]:
    return and_(claims.c.kind == kind, claims.c.id.in_(ids))


def _claimed(claim: Claim) -> TrackingError:
    what = f"The {claim.kind} {claim.id}"
    if claim.trash:
        message = f"{what} is in the trash of gc; bring it back with: shoso gc undo {claim.plan}"
    else:
        message = f"{what} is being deleted by gc (plan {claim.plan}), and can't be restored any more."
    return TrackingError(Kind.INVALID, message)
