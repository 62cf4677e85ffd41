"""Applying a plan of retention: what it has is marked deleted, unless the policies keep it by now.

The policies are those of the plan, asked again of the database as it is, in the transaction that marks. What
is registered later keeps its artifacts from gc. `undoing` brings runs back, until gc has been.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby, islice

from sqlalchemy import Connection

from shoso.errors import TrackingError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import Account
from shoso.maintenance.plans import Item, Retention, require
from shoso.maintenance.report import Told
from shoso.maintenance.retention.keeping import Registered, Standing
from shoso.maintenance.retention.policies import matching
from shoso.metadata import experiments, retention
from shoso.metadata.holdings import Kind
from shoso.metadata.lifecycle import DELETED
from shoso.metadata.retention import Model

BATCH = 500
"""Items that are marked in one transaction."""

GONE = ""
"""What becomes of an item that is deleted already, or gone; None is one that is marked now."""


async def apply(estate: Estate, plan: Retention, items: Iterable[Item], told: Told) -> Account:
    """Mark what the plan has.

    Raises ConfigError for a plan of another database, TrackingError where the database fails.
    """
    require(plan, estate.settings.backend_store_uri)
    done = Account(plan.id)
    database, versions = estate.database, Registered()
    for number, some in groupby(items, key=lambda item: item.experiment_id):
        while batch := [*islice(some, BATCH)]:
            outcomes = await database.write(_mark, plan, number, versions, batch)
            for item, why in zip(batch, outcomes, strict=True):
                _note(done, item, why)
            told.done(len(batch))
    return done


def _note(done: Account, item: Item, why: str | None) -> None:
    if why is None:
        done.went(item, item.objects, item.bytes)
    elif why == GONE:
        done.gone += 1
    else:
        done.refuse(item, why)


def _standing(conn: Connection, plan: Retention, number: str, versions: Registered) -> Standing | str:
    """What stays of an experiment by now; or what becomes of all its items."""
    try:
        found = experiments.get(conn, number)
    except TrackingError:
        return GONE
    if found.lifecycle_stage == DELETED:
        return GONE
    if (at := matching(plan.policy, found.name)) is None:
        return f"no policy of the plan is about its experiment '{found.name}'"
    standing = Standing(conn, int(number), plan.policy[at], plan.made, versions.now(conn))
    if standing.unmeasured:
        return "no run in its experiment has the metric of keep_best any more"
    return standing


def _mark(
    conn: Connection, plan: Retention, number: str, versions: Registered, items: Sequence[Item]
) -> list[str | None]:
    """Mark those that go, runs first; of each None, GONE, or why it stays.

    What stays is asked once they are locked: whatever was registered, tagged or logged by then counts.
    """
    runs = [item.id for item in items if item.kind == Kind.RUN]
    there = retention.those(conn, int(number), runs, lock=True)
    standing = _standing(conn, plan, number, versions)
    if isinstance(standing, str):
        return [standing for _ in items]
    reasons = standing.judged(conn, there)
    found: dict[str, str | None] = {run.id: None for run in there}
    found |= {run_id: reason.text for run_id, reason in reasons.items()}
    retention.mark_runs(conn, [run_id for run_id, why in found.items() if why is None], plan.made)
    models = [item.id for item in items if item.kind == Kind.MODEL]
    found |= _mark_models(conn, standing, models, plan.made)
    return [found.get(item.id, GONE) for item in items]


def _mark_models(
    conn: Connection, standing: Standing, ids: Sequence[str], made: int
) -> dict[str, str | None]:
    """The same with logged models: they go when their runs have gone."""
    models = retention.models(conn, ids)
    deleted = {*retention.deleted(conn, [model.run_id for model in models])}
    found = {model.id: _kept(model, standing, deleted) for model in models}
    retention.mark_models(conn, [model_id for model_id, why in found.items() if why is None], made)
    return found


def _kept(model: Model, standing: Standing, deleted: Collection[str]) -> str | None:
    """Why a logged model stays, if it does."""
    if model.experiment_id != standing.experiment_id:
        return "it is of another experiment than the plan says"
    if model.run_id not in deleted:
        return f"the run {model.run_id}, which made it, stays" if model.run_id else "no run made it"
    if model.wanted:
        return f"the run {model.wanted} reads it"
    version = standing.version(model.id)
    return f"version {version} of a registered model is made from it" if version else None
