"""What goes: what was named, or all that is deleted and old enough; and what stays, and why.

A run or a model goes only with what lies in the folder that carries its id, so nobody's files but its own
are deleted, whatever location somebody recorded. It stays while a registered version is made from it, or an
experiment keeps its artifacts inside; an experiment stays while anything in it does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace

from shoso.core.amounts import count
from shoso.core.clock import now_ms
from shoso.errors import Kind as ErrorKind
from shoso.errors import TrackingError
from shoso.maintenance.gc.guard import IMPORTED, MOVING, Guard
from shoso.maintenance.plans import Item
from shoso.metadata import claims, holdings, imported, moves
from shoso.metadata.claims import Claim
from shoso.metadata.connect import Database
from shoso.metadata.holdings import Holding, Kind, Lived, Wanted
from shoso.metadata.lifecycle import DELETED

DAY = 86_400_000
"""Milliseconds."""

ABSENT = "it isn't there, or not any more"
"""Why what was named doesn't go, beside others that do: what broke off is called again by the same names."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to collect: what is deleted for `older_than` seconds; if anything is named, that alone.

    `registered` takes also what registered versions are made from, `imported` what was imported while its
    artifacts stayed where they were, `orphans` what nobody refers to.
    """

    older_than: float = 0.0
    run_ids: Sequence[str] = ()
    experiment_ids: Sequence[str] = ()
    model_ids: Sequence[str] = ()
    registered: bool = False
    imported: bool = False
    orphans: bool = False

    @property
    def named(self) -> bool:
        """Whether anything is."""
        return bool(self.run_ids or self.experiment_ids or self.model_ids)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What goes, for that reason; or stays, if there is an `obstacle`. `trash` is where its artifacts are."""

    holding: Holding
    reason: str
    obstacle: str = ""
    trash: str = ""

    @property
    def is_absent(self) -> bool:
        """Whether it was named, and isn't there."""
        return self.obstacle == ABSENT

    @property
    def item(self) -> Item:
        """It as a plan has it, without what is there."""
        holding = self.holding
        return Item(
            kind=holding.kind.value,
            id=holding.id,
            reason=self.reason,
            location=holding.location,
            name=holding.name or "",
            experiment_id=(
                "" if holding.kind is Kind.EXPERIMENT or self.is_absent else str(holding.experiment_id)
            ),
            since=holding.since,
            trash=self.trash,
        )


async def chosen(database: Database, asked: Asked) -> AsyncIterator[Chosen]:
    """Runs, then models, then experiments, then what was named and isn't there.

    Raises TrackingError for a name that can't go, and where nothing is there of what was named.
    """
    async for one in _Choice(database, asked).run():
        yield one


class _Choice:
    def __init__(self, database: Database, asked: Asked) -> None:
        self._database, self._asked = database, asked
        self._now = now_ms()
        self._absent: list[Chosen] = []
        self._keeping: dict[int, str] = {}  # what stays of an experiment, and so keeps it
        self._before = self._now - int(asked.older_than * 1000) if asked.older_than else None

    async def run(self) -> AsyncIterator[Chosen]:
        asked = self._asked
        runs = await self._named(Kind.RUN, asked.run_ids)
        models = await self._named(Kind.MODEL, asked.model_ids)
        leaving = [one async for one in self._experiments()]
        if self._absent and not (runs or models or leaving):
            first = self._absent[0].holding
            raise TrackingError(ErrorKind.NOT_FOUND, f"There is no {first.kind} {first.id}.")
        going = [int(one.holding.id) for one in leaving if not one.obstacle]
        guard = await Guard.of(self._database, registered=asked.registered)
        for kind, named in ((Kind.RUN, runs), (Kind.MODEL, models)):
            async for page in self._pages(kind, named, going):
                for one in await self._judged(kind, page, {*going}, guard):
                    self._note(one)
                    yield one
        for one in leaving:
            yield one if one.obstacle else replace(one, obstacle=self._keeping.get(int(one.holding.id), ""))
        for one in self._absent:
            yield one

    def _note(self, one: Chosen) -> None:
        if one.obstacle:
            holding = one.holding
            self._keeping.setdefault(holding.experiment_id, f"the {holding.kind} {holding.id} in it stays")

    # -- which --------------------------------------------------------------------------------------------

    async def _named(self, kind: Kind, ids: Sequence[str]) -> list[Holding]:
        """What has these ids; one that isn't there is put by. Raises TrackingError: one may not go."""
        if not ids:
            return []
        try:
            found = {one.id: one async for page in self._all(kind, Wanted(ids)) for one in page}
        except (ValueError, OverflowError):
            raise TrackingError(ErrorKind.INVALID, f"No {kind} has such an id: {', '.join(ids)}.") from None
        for id_ in ids:
            if (one := found.get(id_)) is None:
                self._absent.append(Chosen(Holding(kind, id_, "", 0, DELETED, None, ""), "", ABSENT))
                continue
            if not one.deleted:
                message = f"The {kind} {id_} is active; delete it before it is collected."
                raise TrackingError(ErrorKind.INVALID, message)
            if not self._is_old(one):
                message = (
                    f"The {kind} {id_} was deleted {_ago(self._now, one.since)}, which --older-than spares."
                )
                raise TrackingError(ErrorKind.INVALID, message)
        return [*found.values()]

    async def _experiments(self) -> AsyncIterator[Chosen]:
        if self._asked.named:
            pages = [await self._named(Kind.EXPERIMENT, self._asked.experiment_ids)]
        else:
            wanted = Wanted(deleted=True, before=self._before)
            pages = [page async for page in self._all(Kind.EXPERIMENT, wanted)]
        for page in pages:
            for one in await self._settled(page):
                yield one

    async def _settled(self, page: Sequence[Holding]) -> list[Chosen]:
        """These experiments, each with what keeps it."""
        read, ids = self._database.read, [one.id for one in page]
        taken = await read(claims.known, Kind.EXPERIMENT.value, ids)
        moving = {move.experiment_id for move in await read(moves.open_moves)}
        lived = await read(holdings.lived_in, [int(id_) for id_ in ids], self._before)
        found = []
        for one in page:
            claim, number = taken.get(one.id), int(one.id)
            obstacle = self._shelved(claim) or (MOVING if number in moving else _lived_in(lived.get(number)))
            found.append(Chosen(one, f"deleted {_ago(self._now, one.since)}", obstacle, _trash(claim)))
        return found

    async def _pages(
        self, kind: Kind, named: Sequence[Holding], going: Sequence[int]
    ) -> AsyncIterator[list[Holding]]:
        if self._asked.named:
            yield [one for one in named if one.experiment_id not in going]
        else:
            async for page in self._all(kind, Wanted(deleted=True, before=self._before)):
                yield [one for one in page if one.experiment_id not in going]
        if going:
            async for page in self._all(kind, Wanted(experiments=going)):
                yield page

    async def _all(self, kind: Kind, wanted: Wanted) -> AsyncIterator[list[Holding]]:
        after = ""
        while page := await self._database.read(holdings.page, kind, wanted, after):
            yield page
            after = page[-1].id

    def _is_old(self, one: Holding) -> bool:
        return self._before is None or (one.since is not None and one.since <= self._before)

    # -- whether it may -----------------------------------------------------------------------------------

    async def _judged(
        self, kind: Kind, page: Sequence[Holding], going: Collection[int], guard: Guard
    ) -> list[Chosen]:
        taken = await self._database.read(claims.known, kind.value, [one.id for one in page])
        others = await self._others(kind, page)
        found = []
        for one in page:
            reason = f"deleted {_ago(self._now, one.since)}"
            reason = "its experiment is deleted" if one.experiment_id in going else reason
            claim = taken.get(one.id)
            shared = IMPORTED if one.id in others and claim is None else ""
            obstacle = shared or guard.obstacle(one.id, one.location) or self._shelved(claim)
            found.append(Chosen(one, reason, obstacle, _trash(claim)))
        return found

    async def _others(self, kind: Kind, page: Sequence[Holding]) -> set[str]:
        """Those of these whose artifacts may be another store's; what is named may go all the same."""
        if self._asked.named or self._asked.imported:
            return set()
        places = [(one.id, one.location or "") for one in page]
        return await self._database.read(imported.among, kind.value, places)

    def _shelved(self, claim: Claim | None) -> str:
        if claim is None or claim.trash is None or (claim.until is not None and claim.until <= self._now):
            return ""
        return f"it is in the trash (shoso gc undo {claim.plan})"


def _lived_in(found: Lived | None) -> str:
    """What keeps an experiment."""
    if found is None:
        return ""
    if found.table:
        return (
            f"MLflow keeps rows of it in '{found.table}', which Shoso leaves alone; delete them with MLflow"
        )
    if found.active:
        return f"the run {found.active} in it is active"
    return f"the run {found.late} in it is deleted too lately"


def _trash(claim: Claim | None) -> str:
    return (claim.trash or "") if claim else ""


def _ago(now: int, since: int | None) -> str:
    """3 days ago, today."""
    if since is None:
        return "at a time that nobody knows"
    days = (now - since) // DAY
    return f"{count(days, 'day')} ago" if days > 0 else "today"
