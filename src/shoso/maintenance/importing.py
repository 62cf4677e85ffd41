"""An MLflow file store, brought to a server or a database: `shoso import`.

First the experiments, then their runs a hundred at a time, then logged models, then registered models: each
refers to what came before. A run that is there is sent again and gets what it lacks, for it may have gone on
since. So an import that was interrupted goes on when it is made again, and of one that is complete nothing
changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from msgspec.structs import replace

from shoso.core import locations
from shoso.errors import ConfigError, Kind, StoreError, TrackingError
from shoso.maintenance import filestore, flow
from shoso.maintenance.artifacts import Artifacts, Source
from shoso.maintenance.filestore import Problems, StoredExperiment
from shoso.maintenance.filestore.experiments import REGISTRY, RESERVED
from shoso.maintenance.filestore.files import subfolders
from shoso.maintenance.report import Counts, Moved, Outcome, Told
from shoso.maintenance.targets import Seen, Target
from shoso.wire.imports import (
    Import,
    Imported,
    ImportedExperiment,
    ImportedModel,
    ImportedRegisteredModel,
    ImportedRun,
    ImportIds,
    PlacedExperiment,
    Refused,
)

FOLDERS = 100
"""Runs that are looked up together."""


async def bring(
    root: Path, there: Seen, target: Target | None, artifacts: Artifacts | None, told: Told
) -> Outcome:
    """Bring the file store in `root`, an absolute path, to the target. `artifacts` copies them, or they stay.

    `there` is asked what it has: the target, or for a dry run what would be it. Raises ConfigError for what
    is no file store; StoreError, TrackingError where the target fails.
    """
    started = time.monotonic()
    job = _Job(root, there, target, artifacts, told)
    await job.run()
    problems = job.problems
    return Outcome(job.counts, job.moved, problems.kept, problems.count, time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _Placed:
    """An experiment of the store, and what it is in the target."""

    stored: StoredExperiment
    there: PlacedExperiment


@dataclass(slots=True)
class _Copies:
    """Artifacts to copy for some runs or models: id → from where, to where."""

    wanted: dict[str, tuple[Path, Source, str]] = field(default_factory=dict)


class _Job:
    """`there` is asked what it has, `target` is given what it has not."""

    def __init__(
        self,
        root: Path,
        there: Seen,
        target: Target | None,
        artifacts: Artifacts | None,
        told: Told,
    ) -> None:
        self.problems = Problems(root)
        self.counts = Counts()
        self.moved: list[Moved] = []
        self._root = root
        self._there = there
        self._target = target
        self._artifacts = artifacts
        self._told = told

    async def run(self) -> None:
        stored = await asyncio.to_thread(self._experiments)
        if not stored and not (self._root / REGISTRY).is_dir():
            message = "holds no experiments. Name the folder of a file store, which MLflow calls mlruns."
            raise ConfigError(str(self._root), message)
        placed = await self._place(stored)
        await flow.in_parallel(partial(self._runs, *each) for each in self._folders(placed, _runs_of))
        await flow.in_parallel(partial(self._models, *each) for each in self._folders(placed, _models_of))
        await self._registered(placed)

    def _folders(
        self, placed: Iterable[_Placed], below: Callable[[StoredExperiment, Problems], list[Path]]
    ) -> Iterator[tuple[_Placed, Sequence[Path]]]:
        for one in placed:
            for folders in flow.chunks(below(one.stored, self.problems), FOLDERS):
                self._told.planned(len(folders))
                yield one, folders

    # -- experiments --------------------------------------------------------------------------------------

    def _experiments(self) -> list[StoredExperiment]:
        found: dict[int, StoredExperiment] = {}
        for one in filestore.experiments(self._root, self.problems):
            if found.setdefault(one.found.experiment_id, one) is not one:
                self.problems.note(one.folder, "Another experiment has the same id.")
            self.counts.traces += len(subfolders(one.folder / "traces", self.problems))
        return [*found.values()]

    async def _place(self, stored: Sequence[StoredExperiment]) -> list[_Placed]:
        there: dict[int, PlacedExperiment] = {}
        small_first = sorted(stored, key=lambda one: one.found.experiment_id)  # those that keep theirs
        for chunk in flow.chunks(small_first, FOLDERS):
            there |= {one.given: one for one in await self._placed([self._sent(one) for one in chunk])}
        found = [
            _Placed(one, there[one.found.experiment_id]) for one in stored if one.found.experiment_id in there
        ]
        self.counts.experiments = sum(one.there.made for one in found)
        self.moved = [
            Moved(one.stored.found.name, one.there.given, one.there.experiment_id)
            for one in found
            if one.there.given != one.there.experiment_id
        ]
        return found

    async def _placed(self, given: Sequence[ImportedExperiment]) -> Sequence[PlacedExperiment]:
        if self._target is None:
            return [
                PlacedExperiment(one.experiment_id, one.experiment_id, one.artifact_location, made=True)
                for one in given
            ]
        reply = await self._target.place(given)
        self._note(reply.refused)
        return reply.placed

    def _sent(self, one: StoredExperiment) -> ImportedExperiment:
        """Where artifacts are copied, the experiment's go below the target's own root."""
        return one.found if self._artifacts is None else replace(one.found, artifact_location="")

    # -- runs ---------------------------------------------------------------------------------------------

    async def _runs(self, one: _Placed, folders: Sequence[Path]) -> None:
        known = (await self._there.known(ImportIds(runs=[folder.name for folder in folders]))).runs
        copies = _Copies()
        looked_at = [folder for folder in folders if self._target is not None or folder.name not in known]
        parts = chain.from_iterable(self._run_parts(one, folder, copies, known) for folder in looked_at)
        async for batch in flow.batches(parts):
            self._count(batch)
            await self._add(Import(runs=batch), copies)
        done = [run_id for run_id in await self._copy(copies) if run_id not in known]
        if self._target is not None and done:
            await self._target.finish(ImportIds(runs=done))
        self.counts.runs += len(done)
        self.counts.there += len(known)
        self._told.done(len(folders))

    def _run_parts(
        self, one: _Placed, folder: Path, copies: _Copies, known: Mapping[str, str]
    ) -> Iterator[ImportedRun]:
        """Artifacts go to where the target will say that they are; not beside, where the run is there."""
        number = one.there.experiment_id
        for run in filestore.runs(one.stored, folder, self.problems):
            if run.part == 0 and self._artifacts is not None:
                to = locations.below(one.there.artifact_location, run.run_id, "artifacts")
                if known.get(run.run_id, to) == to:
                    self._want(copies, run.run_id, folder, run.artifact_uri, to)
            if run.run_id not in copies.wanted:
                yield replace(run, experiment_id=number, stays=run.part == 0)
                continue
            uri = copies.wanted[run.run_id][2] if run.part == 0 else ""
            yield replace(run, experiment_id=number, artifact_uri=uri, more=True)

    def _count(self, batch: Iterable[ImportedRun]) -> None:
        """In a dry run; else the target does."""
        for run in batch if self._target is None else ():
            self.counts.params += len(run.params)
            self.counts.tags += len(run.tags)
            self.counts.points += len(run.metrics)
            self.counts.runs += not run.more

    # -- models -------------------------------------------------------------------------------------------

    async def _models(self, one: _Placed, folders: Sequence[Path]) -> None:
        known = set((await self._there.known(ImportIds(models=[folder.name for folder in folders]))).models)
        copies = _Copies()
        found = (self._model(one, folder, copies) for folder in folders if folder.name not in known)
        async for batch in flow.batches(model for model in found if model):
            await self._add(Import(models=batch), copies)
            self.counts.models += len(batch) if self._target is None else 0
        done = await self._copy(copies)
        if self._target is not None and done:
            await self._target.finish(ImportIds(models=done))
        self.counts.there += len(known)
        self._told.done(len(folders))

    def _model(self, one: _Placed, folder: Path, copies: _Copies) -> ImportedModel | None:
        found = filestore.models(one.stored, folder, self.problems)
        if found is None:
            return None
        if self._artifacts is not None:
            to = locations.below(one.there.artifact_location, "models", found.model_id, "artifacts")
            self._want(copies, found.model_id, folder, found.artifact_location, to)
        number = one.there.experiment_id
        if found.model_id not in copies.wanted:
            return replace(found, experiment_id=number, stays=True)
        to = copies.wanted[found.model_id][2]
        return replace(found, experiment_id=number, artifact_location=to, more=True)

    async def _registered(self, placed: Sequence[_Placed]) -> None:
        there = {one.there.given: one.there for one in placed}
        found = (
            self._rewritten(one, there) for one in filestore.registered_models(self._root, self.problems)
        )
        async for batch in flow.batches(found):
            await self._add(Import(registered_models=batch), _Copies())
            if self._target is None:
                self.counts.versions += sum(len(one.versions) for one in batch)

    def _rewritten(
        self, model: ImportedRegisteredModel, there: dict[int, PlacedExperiment]
    ) -> ImportedRegisteredModel:
        if self._artifacts is None:
            return model
        versions = [
            replace(
                version,
                source=self._artifacts.rewritten(version.source, there),
                storage_location=version.storage_location
                and self._artifacts.rewritten(version.storage_location, there),
            )
            for version in model.versions
        ]
        return replace(model, versions=versions)

    # -- the target ---------------------------------------------------------------------------------------

    async def _add(self, request: Import, copies: _Copies) -> None:
        """Add a batch; what is refused as a whole has no artifacts either."""
        if self._target is None:
            return
        reply = await self._added(self._target, request)
        for name in ("runs", "params", "tags", "points", "models", "versions"):
            setattr(self.counts, name, getattr(self.counts, name) + getattr(reply, name))
        self._note(reply.refused)
        for one in reply.refused:
            if one.whole:
                copies.wanted.pop(one.what.rpartition(" ")[2], None)

    async def _added(self, target: Target, request: Import) -> Imported:
        """What became of a request; a single item that is larger than any request may be is refused."""
        things = [f"run {run.run_id}" for run in request.runs]
        things += [f"model {model.model_id}" for model in request.models]
        things += [f"registered model {model.name}" for model in request.registered_models]
        try:
            return await target.add(request)
        except TrackingError as error:
            if error.kind is not Kind.TOO_LARGE or len(things) > 1:
                raise
            whole = not any(run.part for run in request.runs)
            return Imported(refused=[Refused(things[0], error.message, whole)])

    def _note(self, refused: Iterable[Refused]) -> None:
        for one in refused:
            self.problems.note(one.what, one.message)

    # -- artifacts ----------------------------------------------------------------------------------------

    def _want(self, copies: _Copies, id_: str, folder: Path, recorded: str, to: str) -> None:
        if self._artifacts and (source := self._artifacts.source(folder, recorded, self.problems)):
            copies.wanted[id_] = (folder, source, to)

    async def _copy(self, copies: _Copies) -> list[str]:
        """Copy artifacts; the ids of those that have them all. What fails stays unfinished in the target."""
        if self._artifacts is None or self._target is None:
            return []
        done = []
        for id_, (folder, source, to) in copies.wanted.items():
            try:
                files, size = await self._artifacts.copy(source, to)
            except StoreError as error:
                self.problems.note(folder / "artifacts", error.message)
                continue
            self.counts.files += files
            self.counts.bytes += size
            done.append(id_)
        return done


def _runs_of(one: StoredExperiment, problems: Problems) -> list[Path]:
    return [folder for folder in subfolders(one.folder, problems) if folder.name not in RESERVED]


def _models_of(one: StoredExperiment, problems: Problems) -> list[Path]:
    return subfolders(one.folder / "models", problems)
