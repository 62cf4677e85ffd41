"""What rows refer to: the artifacts of versions and models, and the versions of aliases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from shoso.client.uris import ModelUri, VersionUri, parse_model, parse_run
from shoso.core import locations
from shoso.core.clock import now_ms
from shoso.errors import ShosoError
from shoso.maintenance.fsck.findings import Finding, Kind, Report
from shoso.maintenance.fsck.places import is_there
from shoso.maintenance.inventory import DAY, Inventory
from shoso.maintenance.plans import ORPHAN
from shoso.maintenance.recorded import versions
from shoso.metadata import claims, references
from shoso.metadata.connect import Database
from shoso.metadata.references import Alias, Owner, Recorded, Version
from shoso.metadata.schema import WORKSPACE

AT_ONCE = 16
"""Places that are looked at at once."""


async def check(inventory: Inventory, report: Report) -> None:
    """Find what rows refer to and isn't there. Raises StoreError, TrackingError."""
    await _check_versions(inventory, report)
    await _check_models(inventory, report)
    await _check_histories(inventory, report)
    await _check_aliases(inventory.estate.database, report)
    await _check_claims(inventory.estate.database, report)


# -- versions of registered models ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """Those of the runs and models that some versions name that have a row, with their locations."""

    runs: dict[str, str]
    models: dict[str, str]

    @classmethod
    async def of(cls, database: Database, page: Sequence[Version]) -> _Known:
        """Looked up at once."""
        runs = {id_ for each in page for id_ in (each.run_id, _run_of(each.made_of)) if id_}
        models = {id_ for each in page if (id_ := _model_of(each.source or ""))}
        return cls(
            await database.read(references.located, Owner.RUN, sorted(runs)),
            await database.read(references.located, Owner.MODEL, sorted(models)),
        )


async def _check_versions(inventory: Inventory, report: Report) -> None:
    async for page in versions(inventory.estate.database):
        known = await _Known.of(inventory.estate.database, page)
        for some in (page[start : start + AT_ONCE] for start in range(0, len(page), AT_ONCE)):
            problems = await asyncio.gather(*(_unmade(inventory, known, each) for each in some))
            for version, problem in zip(some, problems, strict=True):
                await _add_version(report, version, problem)


async def _add_version(report: Report, version: Version, problem: str | None) -> None:
    if problem is None:
        report.totals.unchecked += 1
    elif problem:
        name = _shown(f"models:/{version.name}/{version.version}", version.workspace)
        await report.add(Finding(Kind.SOURCE, name, problem, "Bring it back, or delete the version."))


async def _unmade(inventory: Inventory, known: _Known, version: Version) -> str | None:
    """What is wrong with a version; "" if nothing is, None for what can't be looked at."""
    if (model := _model_of(version.source or "")) and model not in known.models:
        return f"It is made of the logged model {model}, which isn't there."
    return await _unmade_of(inventory, known, version)


async def _unmade_of(inventory: Inventory, known: _Known, version: Version) -> str | None:
    place = version.made_of
    if place.startswith("models:"):
        return await _unmade_of_version(inventory.estate.database, version)
    if run := _run_of(place):
        if run not in known.runs:
            return f"It is made of {place}, and there is no such run."
        place = locations.below(known.runs[run], parse_run(place).path)
    there = await is_there(inventory, place)
    return None if there is None else "" if there else f"There is nothing at {locations.shown(place)}."


async def _unmade_of_version(database: Database, version: Version) -> str:
    found = _parsed_model(version.made_of)
    if not isinstance(found, VersionUri) or not found.version:
        return ""
    number = int(found.version)
    if await database.read(references.is_version, version.workspace, found.name, number):
        return ""
    return f"It is made of {version.made_of}, and there is no such version."


# -- logged models ----------------------------------------------------------------------------------------


async def _check_models(inventory: Inventory, report: Report) -> None:
    async for page in _ready(inventory.estate.database):
        empty = await _nothing_at(inventory, report, page)
        claimed = await inventory.estate.database.read(claims.known, "model", [one.id for one in empty])
        for model in empty:
            if model.id not in claimed:
                problem = f"It is finished, and there is nothing at {locations.shown(model.location)}."
                remedy = "Log it again, or delete it."
                await report.add(Finding(Kind.MODEL, f"models:/{model.id}", problem, remedy))


async def _ready(database: Database) -> AsyncIterator[list[Recorded]]:
    after = ""
    while page := await database.read(references.ready, after):
        yield page
        after = page[-1].id


async def _nothing_at(inventory: Inventory, report: Report, page: Sequence[Recorded]) -> list[Recorded]:
    """Those that have nothing where they are recorded to be; the location of each is a folder."""
    empty: list[Recorded] = []
    for some in (page[start : start + AT_ONCE] for start in range(0, len(page), AT_ONCE)):
        there = await asyncio.gather(*(is_there(inventory, each.location) for each in some))
        report.totals.unchecked += there.count(None)
        empty += [each for each, found in zip(some, there, strict=True) if found is False]
    return empty


# -- what runs say of the models that they logged ---------------------------------------------------------


async def _check_histories(inventory: Inventory, report: Report) -> None:
    database, after = inventory.estate.database, ""
    while page := await database.read(references.histories, after):
        after = page[-1][0]
        empty = await _nothing_at(inventory, report, [*_logged(page)])
        for each in await _unfound(database, empty):
            problem = f"The run has logged a model; there is nothing at {locations.shown(each.location)}."
            await report.add(Finding(Kind.LOGGED, f"runs:/{each.id}", problem, "Log it again."))


def _logged(page: Sequence[tuple[str, str, str]]) -> Iterator[Recorded]:
    """The models in the own artifacts of these runs, as run/path; one with an id is looked at as such."""
    for run_id, location, history in page:
        for entry in _listed(history):
            path = str(entry.get("artifact_path") or "").strip("/")
            if path and not entry.get("model_id"):
                yield Recorded(f"{run_id}/{path}", locations.below(location, path))


def _listed(text: str) -> list[dict[str, object]]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


async def _unfound(database: Database, empty: Sequence[Recorded]) -> list[Recorded]:
    """Those of these, as run/path, that aren't logged models of that name either; nor being deleted."""
    runs = sorted({each.id.partition("/")[0] for each in empty})
    models = {f"{run_id}/{name}" for run_id, name in await database.read(references.models_of, runs)}
    claimed = await database.read(claims.known, "run", runs)
    return [each for each in empty if each.id not in models and each.id.partition("/")[0] not in claimed]


# -- aliases and claims -----------------------------------------------------------------------------------


async def _check_aliases(database: Database, report: Report) -> None:
    for alias in await database.read(references.broken_aliases):
        name = _shown(f"models:/{alias.name}@{alias.alias}", alias.workspace)
        problem = f"It is an alias of version {alias.version}, which isn't there."
        fix = partial(_drop_alias, database, alias)
        await report.add(Finding(Kind.ALIAS, name, problem, "shoso fsck --repair removes it.", fix=fix))


async def _drop_alias(database: Database, alias: Alias) -> str:
    return "The alias was removed." if await database.write(references.drop_alias, alias) else ""


async def _check_claims(database: Database, report: Report) -> None:
    now = now_ms()
    for kind in ("run", "model", "experiment", ORPHAN):
        after = ""
        while page := await database.read(claims.page, kind, after=after):
            after = page[-1].id
            for claim in page:
                until = claim.until if claim.until and claim.is_shelved else 0
                if max(claim.time, until) < now - DAY * 1000:
                    problem = f"gc has begun to delete this {kind} and not finished (plan {claim.plan})."
                    remedy = f"Run shoso gc apply with the plan {claim.plan} again."
                    await report.add(Finding(Kind.CLAIM, f"{kind} {claim.id}", problem, remedy))


# -- names ------------------------------------------------------------------------------------------------


def _shown(name: str, workspace: str) -> str:
    return name if workspace == WORKSPACE else f"{name} (workspace {workspace})"


def _run_of(place: str) -> str:
    """The id in a runs:/ URI; "" for anything else."""
    try:
        return parse_run(place).run_id if place.startswith("runs:") else ""
    except ShosoError:
        return ""


def _model_of(place: str) -> str:
    """The id of the logged model in a models:/ URI; "" for anything else."""
    found = _parsed_model(place)
    return found.model_id if isinstance(found, ModelUri) else ""


def _parsed_model(place: str) -> ModelUri | VersionUri | None:
    try:
        return parse_model(place) if place.startswith("models:") else None
    except ShosoError:
        return None
