"""Making a plan of retention: which runs no rule keeps, with their logged models, and what is at each.

Nothing is touched. A run's logged models go with it; one that another active run reads stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from shoso.client.places import Place
from shoso.core.clock import now_ms
from shoso.core.locations import shown
from shoso.core.streams import grouped
from shoso.errors import ShosoError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.contents import Contents, look
from shoso.maintenance.gc.planning import LOOKED, in_order
from shoso.maintenance.plans import Draft, Item, Kept, Retention, Stays, Total, new_id
from shoso.maintenance.report import Told
from shoso.maintenance.retention.keeping import Registered, Standing, leaving
from shoso.maintenance.retention.policies import Policy, matching
from shoso.metadata import holdings, retention
from shoso.metadata.holdings import Holding, Kind, Wanted
from shoso.metadata.retention import Candidate, Model

Line = Item | Kept | Stays


async def plan(estate: Estate, policies: Sequence[Policy], path: Path, told: Told, id_: str = "") -> Total:
    """Write the plan; what it comes to. Raises TrackingError, ConfigError, StoreError, OSError."""
    job = _Planning(estate, policies)
    shown_uri = shown(estate.settings.backend_store_uri)
    draft = Draft(path, Retention(id_ or new_id(), job.now, shown_uri, [*policies]))
    try:
        async for lines in in_order(grouped(job.run(), LOOKED), lambda some: _sized(estate, some)):
            for line in lines:
                draft.add(line)
            told.done(len(lines))
        return draft.finish()
    except BaseException:
        draft.discard()
        raise


class _Planning:
    """One plan in the making, of a moment."""

    def __init__(self, estate: Estate, policies: Sequence[Policy]) -> None:
        self._database, self._policies = estate.database, policies
        self.now = now_ms()

    async def run(self) -> AsyncIterator[Line]:
        """Experiment by experiment, of each first what goes."""
        versions = await self._database.read(Registered().now)
        async for experiment in self._experiments():
            at = matching(self._policies, experiment.name)
            if at is not None:
                async for line in self._of(experiment, at, versions):
                    yield line

    async def _experiments(self) -> AsyncIterator[Holding]:
        after = ""
        while page := await self._database.read(holdings.page, Kind.EXPERIMENT, Wanted(), after):
            for one in page:
                if not one.deleted:
                    yield one
            after = page[-1].id

    async def _of(self, one: Holding, at: int, versions: Mapping[str, str]) -> AsyncIterator[Line]:
        number, policy = int(one.id), self._policies[at]
        standing = await self._database.read(Standing, number, policy, self.now, versions)
        stays: Counter[str] = Counter()
        after = ""
        while page := await self._database.read(retention.page, number, after):
            after = page[-1].id
            reasons = await self._database.read(standing.judged, page)
            stays.update(reason.rule for reason in reasons.values())
            going = [run for run in page if run.id not in reasons]
            if going and standing.unmeasured:
                yield _unmeasured(one, policy)
                return
            models = await self._database.read(retention.models_of, [run.id for run in going])
            for run in going:
                yield _run(one, run, f"policy {at + 1}: {leaving(policy, run, self.now)}")
                for model in models:
                    if model.run_id == run.id:
                        yield _model(one, model)
        yield Stays(one.id, one.name, at + 1, dict(stays))


def _unmeasured(one: Holding, policy: Policy) -> Kept:
    metric = policy.keep_best.metric if policy.keep_best else ""
    reason = f"no run in it that has ended has the metric '{metric}', so keep_best can't tell which stay"
    return Kept(Kind.EXPERIMENT.value, one.id, reason, one.name)


def _run(one: Holding, run: Candidate, reason: str) -> Item:
    return Item(Kind.RUN.value, run.id, reason, run.location, run.name, one.id)


def _model(one: Holding, model: Model) -> Item | Kept:
    if model.wanted:
        reason = f"the run {model.wanted} reads it"
        return Kept(Kind.MODEL.value, model.id, reason, model.name, one.id)
    reason = f"the run {model.run_id}, which made it, goes"
    return Item(Kind.MODEL.value, model.id, reason, model.location, model.name, one.id)


async def _sized(estate: Estate, lines: Sequence[Line]) -> list[Line]:
    """The items with what is there; what can't be looked at stays."""
    items = [line for line in lines if isinstance(line, Item)]
    found = iter(await look(estate, items))
    return [_with(line, next(found)) if isinstance(line, Item) else line for line in lines]


def _with(item: Item, found: tuple[Place, Contents] | ShosoError) -> Line:
    if isinstance(found, ShosoError):
        return Kept(item.kind, item.id, found.message, item.name, item.experiment_id, failed=True)
    return replace(item, objects=found[1].objects, bytes=found[1].bytes)
