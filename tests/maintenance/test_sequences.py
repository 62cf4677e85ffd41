"""Any sequence of logging, deleting, restoring, collecting, moving and checking, against a plain model.

The model knows what is where from what was done, and nothing from what is tested. SHOSO_TEST_SEQUENCES is how
many sequences are tried on each database.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.maintenance import world
from tests.maintenance.verbs import Quiet
from tests.maintenance.world import World
from tests.metadata import places

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import TrackingError
from shoso.maintenance import fsck, plans
from shoso.maintenance.fsck.findings import Asked as Checked
from shoso.maintenance.fsck.findings import Finding
from shoso.maintenance.gc.applying import apply
from shoso.maintenance.gc.chosen import Asked
from shoso.maintenance.gc.planning import plan
from shoso.maintenance.gc.trash import undo
from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.moving import Shard
from shoso.metadata import experiments, models, runs, versions
from shoso.metadata.holdings import Kind
from shoso.wire.registry import ModelVersionByNumber
from shoso.wire.requests import LoggedModelById

SEQUENCES = int(os.environ.get("SHOSO_TEST_SEQUENCES", "10"))
STEPS = 40

pytestmark = pytest.mark.timeout(7200)
"""There may be asked for more than is tried by default."""

ROOT = world.ROOT
PATHS = st.sampled_from(["a", "b/c", "b/d", "MLmodel"])
DATA = st.binary(max_size=30)
FILES = st.dictionaries(PATHS, DATA, max_size=3)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass
class Thing:
    """A run or a model; its `state` is another one after each change that a plan must notice.

    `stamps` has when artifacts were written since the beginning: one that is written and deleted again is no
    change. Nor is a move and its way back: only copies that are made `again`, at a location, are others.
    `copies` are where moves may have left some of it.
    """

    kind: Kind
    id: str
    experiment: str
    location: str
    files: dict[str, bytes]
    deleted: bool = False
    version: int = 0
    trash: str = ""
    named_by: set[str] = field(default_factory=set)
    copies: set[str] = field(default_factory=set)
    stamps: dict[str, int] = field(default_factory=dict)
    again: dict[str, int] = field(default_factory=dict)

    @property
    def state(self) -> tuple[int, str, dict[str, tuple[int, int]]]:
        again = self.again.get(self.location, 0)
        return self.version, self.location, {path: (self.stamps.get(path, 0), again) for path in self.files}


@dataclass
class Experiment:
    """An experiment, how far it is moved ("", "copying" or "moved"), and where to, if its row says so."""

    id: str
    deleted: bool = False
    version: int = 0
    trash: str = ""
    moving: str = ""
    location: str = ""

    @property
    def state(self) -> tuple[int, str]:
        return self.version, self.location


@dataclass
class Planned:
    """A plan: the state of each thing that it has, and the orphans."""

    path: Path
    id: str
    states: dict[str, Any]
    orphans: dict[str, dict[str, bytes]]
    registered: bool


class Sequences(RuleBasedStateMachine):
    """A world, and the model of it."""

    database: ClassVar[str] = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.do = self.runner.run
        self.folder = Path(tempfile.mkdtemp(prefix="shoso-sequences-", dir=MEMORY))
        self.count = itertools.count(1)
        self.things: dict[str, Thing] = {}
        self.experiments: dict[str, Experiment] = {}
        self.plans: list[Planned] = []
        self.loose: dict[str, dict[str, bytes]] = {}
        self.shelved: dict[str, dict[str, dict[str, bytes]]] = {}
        self.left: set[str] = set()
        self.unmade: set[str] = set()
        self.there = str(self.folder / "there")
        Path(self.there).mkdir()
        self.world = self.do(self._open())

    async def _open(self) -> World:
        flags, environment = await self._made()
        flags |= {"allow_artifact_root": (self.there,)}
        return World(flags, environment | {"SHOSO_STATE": str(self.folder / "state")})

    async def _made(self) -> tuple[dict[str, Any], dict[str, str]]:
        return await world.make(self.database, "local", self.folder)

    def teardown(self) -> None:
        self.do(self.world.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    # -- what is in the model -----------------------------------------------------------------------------

    def pick(self, index: int, things: list[Any]) -> Any:
        return things[index % len(things)]

    def open_experiments(self) -> list[Experiment]:
        return [one for one in self.experiments.values() if not one.deleted]

    def writable(self) -> list[Thing]:
        return [one for one in self.things.values() if not one.trash]

    # -- logging ------------------------------------------------------------------------------------------

    @initialize(files=st.lists(FILES, min_size=4, max_size=4))
    def begin(self, files: list[dict[str, bytes]]) -> None:
        for _ in range(2):
            self.make_experiment()
        for number, some in enumerate(files):
            self.make_thing(number, some, number == 3)

    @precondition(lambda self: len(self.experiments) < 4)
    @rule()
    def make_experiment(self) -> None:
        id_ = self.do(self.world.experiment(f"e {next(self.count)}"))
        self.experiments[id_] = Experiment(id_)

    @precondition(lambda self: self.open_experiments() and len(self.things) < 10)
    @rule(index=st.integers(0, 9), files=FILES, model=st.booleans())
    def make_thing(self, index: int, files: dict[str, bytes], model: bool) -> None:
        experiment: Experiment = self.pick(index, self.open_experiments())
        make = self.world.model if model else self.world.run
        kind = Kind.MODEL if model else Kind.RUN
        id_ = self.do(make(experiment.id, files))
        thing = self.things[id_] = Thing(kind, id_, experiment.id, "", dict(files))
        thing.location = self._there(thing) if experiment.location else self._here(thing)

    @precondition(lambda self: self.writable())
    @rule(index=st.integers(0, 9), path=PATHS, data=DATA)
    def log(self, index: int, path: str, data: bytes) -> None:
        thing = self.pick(index, self.writable())
        self.do(self.world.put(thing.location, {path: data}))
        thing.files[path] = data
        thing.stamps[path] = next(self.count)

    @precondition(lambda self: any(one.files for one in self.writable()))
    @rule(index=st.integers(0, 9))
    def delete_artifact(self, index: int) -> None:
        thing = self.pick(index, [one for one in self.writable() if one.files])
        if self.experiments[thing.experiment].moving == "moved":
            return  # past the server, it would come back from the other place
        path = min(thing.files)

        async def delete() -> None:
            place = await self.world.estate.place(thing.location)
            await place.store.delete([keys.join(place.key, Key(path))])

        self.do(delete())
        del thing.files[path]

    @precondition(lambda self: len(self.loose) < 2)
    @rule(files=st.dictionaries(PATHS, DATA, min_size=1, max_size=2))
    def litter(self, files: dict[str, bytes]) -> None:
        folder = f"{ROOT}77/{next(self.count):032x}/artifacts"
        self.do(self.world.put(folder, files))
        self.loose[folder] = dict(files)

    @precondition(lambda self: any(one.kind is Kind.RUN and not one.deleted for one in self.things.values()))
    @rule(index=st.integers(0, 9))
    def register(self, index: int) -> None:
        run = self.pick(
            index, [one for one in self.things.values() if one.kind is Kind.RUN and not one.deleted]
        )
        name = f"m {next(self.count)}"
        self.do(self.world.version(name, run.id, "b"))
        run.named_by.add(name)

    @precondition(lambda self: any(one.named_by for one in self.things.values()))
    @rule(index=st.integers(0, 9))
    def delete_version(self, index: int) -> None:
        run = self.pick(index, [one for one in self.things.values() if one.named_by])
        self.do(self.world.database.write(versions.delete, ModelVersionByNumber(run.named_by.pop(), "1")))

    # -- deleting and restoring ---------------------------------------------------------------------------

    def _mark(self, one: Thing | Experiment, deleted: bool) -> None:
        one.deleted = deleted
        one.version = next(self.count)
        time.sleep(0.002)  # rows tell times in milliseconds

    @precondition(lambda self: any(self._lives(one) for one in self.things.values()))
    @rule(index=st.integers(0, 9))
    def delete(self, index: int) -> None:
        thing = self.pick(index, [one for one in self.things.values() if self._lives(one)])
        self.do(
            self.world.delete_model(thing.id) if thing.kind is Kind.MODEL else self.world.delete_run(thing.id)
        )
        self._mark(thing, deleted=True)

    def _lives(self, one: Thing) -> bool:
        return not one.deleted and not self.experiments[one.experiment].deleted

    @precondition(lambda self: any(one.deleted for one in self.things.values()))
    @rule(index=st.integers(0, 9))
    def restore(self, index: int) -> None:
        thing = self.pick(index, [one for one in self.things.values() if one.deleted])
        database = self.world.database
        if self.experiments[thing.experiment].deleted:
            return
        back = (
            database.write(models.restore, LoggedModelById(thing.id))
            if thing.kind is Kind.MODEL
            else database.write(runs.restore, thing.id)
        )
        if thing.trash:
            with pytest.raises(TrackingError, match="shoso gc undo"):
                self.do(back)
        else:
            self.do(back)
            self._mark(thing, deleted=False)

    @precondition(lambda self: self.open_experiments())
    @rule(index=st.integers(0, 9))
    def delete_experiment(self, index: int) -> None:
        one = self.pick(index, self.open_experiments())
        self.do(self.world.database.write(experiments.delete, one.id))
        self._mark(one, deleted=True)
        for thing in self._inside(one, Kind.RUN):
            self._mark(thing, deleted=True)

    @precondition(lambda self: any(one.deleted for one in self.experiments.values()))
    @rule(index=st.integers(0, 9))
    def restore_experiment(self, index: int) -> None:
        one = self.pick(index, [one for one in self.experiments.values() if one.deleted])
        inside = self._inside(one)
        if one.trash or any(thing.trash for thing in inside):
            with pytest.raises(TrackingError, match="shoso gc undo"):
                self.do(self.world.database.write(experiments.restore, one.id))
            return
        self.do(self.world.database.write(experiments.restore, one.id))
        self._mark(one, deleted=False)
        for thing in inside:
            if thing.kind is Kind.RUN:
                self._mark(thing, deleted=False)

    def _inside(self, one: Experiment, *kinds: Kind) -> list[Thing]:
        return [
            thing for thing in self.things.values()
            if thing.experiment == one.id and thing.kind in (kinds or tuple(Kind))
        ]  # fmt: skip

    # -- collecting ---------------------------------------------------------------------------------------

    @rule(orphans=st.booleans(), registered=st.booleans())
    def plan_all(self, orphans: bool, registered: bool) -> None:
        self._plan(Asked(orphans=orphans, registered=registered), self._collectable(registered))

    @precondition(lambda self: self._collectable(True))
    @rule(index=st.integers(0, 9))
    def plan_one(self, index: int) -> None:
        found = self._collectable(True)
        one = self.pick(index, found)
        if isinstance(one, Thing) and not one.deleted:
            return  # only its experiment is
        if isinstance(one, Experiment):
            going = [one, *(thing for thing in self._inside(one) if thing in found)]
            self._plan(Asked(experiment_ids=[one.id], registered=True), going)
        elif one.kind is Kind.RUN:
            self._plan(Asked(run_ids=[one.id], registered=True), [one])
        else:
            self._plan(Asked(model_ids=[one.id], registered=True), [one])

    def _collectable(self, registered: bool) -> list[Thing | Experiment]:
        """What a plan of everything has to have."""
        leaving = [
            one for one in self.experiments.values()
            if one.deleted and not one.trash and not one.moving
            and all(run.deleted for run in self._inside(one, Kind.RUN))
        ]  # fmt: skip
        ids = {one.id for one in leaving}
        going = [
            one for one in self.things.values()
            if (one.deleted or one.experiment in ids) and not one.trash and (registered or not one.named_by)
        ]  # fmt: skip
        kept = {one.experiment for one in self.things.values() if one not in going}
        return [*going, *(one for one in leaving if one.id not in kept)]

    def _plan(self, asked: Asked, expected: list[Thing | Experiment]) -> None:
        path = self.folder / f"plan {next(self.count)}"
        self.do(plan(self.world.estate, asked, path, Quiet()))
        first, items = plans.read(path)
        found = [*items]
        litter = {item.location for item in found if item.kind == plans.ORPHAN} - self._copies()
        orphans = {folder: dict(self.loose[folder]) for folder in litter}
        assert {item.id for item in found if item.kind != plans.ORPHAN} == {one.id for one in expected}
        assert orphans == (self.loose if asked.orphans else {})
        known = {one.id: one.state for one in expected}
        self.plans.append(Planned(path, first.id, known, orphans, asked.registered))

    @precondition(lambda self: self.plans)
    @rule(index=st.integers(0, 9), trash=st.booleans())
    def apply(self, index: int, trash: bool) -> None:
        chosen = self.pick(index, self.plans)
        items = plans.read(chosen.path)
        self.do(apply(self.world.estate, *items, Quiet(), trash=3600.0 if trash else None))
        self._went(chosen, chosen.id if trash else "")

    def _went(self, chosen: Planned, trash: str) -> None:
        """What hasn't changed since the plan is gone, or in the trash; nothing else is."""
        for id_, thing in [*self.things.items()]:
            same = chosen.states.get(id_) == thing.state and not thing.trash
            marked = thing.deleted or self.experiments[thing.experiment].deleted
            moving = trash and self.experiments[thing.experiment].moving
            if same and marked and not moving and (chosen.registered or not thing.named_by):
                self._let_go(self.things, thing, trash)
        for id_, one in [*self.experiments.items()]:
            same = chosen.states.get(id_) == one.state and not one.trash
            if same and one.deleted and not one.moving and (trash or not self._inside(one)):
                self._let_go(self.experiments, one, trash)
        for folder, files in chosen.orphans.items():
            if folder in self.loose:
                del self.loose[folder]
                self.shelved.setdefault(trash, {})[folder] = files

    def _let_go(self, whose: dict[str, Any], one: Thing | Experiment, trash: str) -> None:
        if trash:
            one.trash = trash
        else:
            del whose[one.id]
            if isinstance(one, Thing):
                self.left |= one.copies
                self.unmade |= {f"models:/{name}/1" for name in one.named_by}

    @precondition(lambda self: any(one.trash for one in (*self.things.values(), *self.experiments.values())))
    @rule(index=st.integers(0, 9))
    def undo(self, index: int) -> None:
        shelved = [one for one in (*self.things.values(), *self.experiments.values()) if one.trash]
        plan_id = self.pick(index, shelved).trash
        account = self.do(undo(self.world.estate, plan_id, Quiet()))
        assert account.problems == []
        for one in shelved:
            if one.trash == plan_id:
                one.trash = ""
        self.loose |= self.shelved.pop(plan_id, {})

    # -- moving -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.experiments)
    @rule(index=st.integers(0, 9), half=st.booleans())
    def migrate(self, index: int, half: bool) -> None:
        one = self.pick(index, [*self.experiments.values()])
        if one.location and not one.moving:
            return
        shard = Shard(1, 2) if half and not one.moving else Shard()
        asked = migration.Asked(ROOT, self.there, [one.id], shard)
        result = self.do(migration.migrate(self.world.estate, asked))
        if not one.moving and (one.trash or any(thing.trash for thing in self._inside(one))):
            assert all("shoso gc undo" in outcome.error for outcome in result.outcomes)
            return
        assert not any(outcome.error for outcome in result.outcomes)
        inside = [thing for thing in self._inside(one) if not thing.trash]
        for thing in inside:
            thing.copies |= {self._here(thing), self._there(thing)}
        if shard.count == 1:
            one.moving, one.location = "moved", self.there
            self._located(inside, self._there)
        else:
            one.moving = "copying"

    @precondition(lambda self: any(one.moving == "moved" for one in self.experiments.values()))
    @rule(index=st.integers(0, 9))
    def finish(self, index: int) -> None:
        one = self.pick(index, [one for one in self.experiments.values() if one.moving == "moved"])
        result = self.do(migration.finish(self.world.estate, [one.id], running=True))
        assert not any(outcome.error for outcome in result.outcomes)
        one.moving = ""
        inside = [thing for thing in self._inside(one) if not thing.trash]
        self._located(inside, self._there)
        for thing in inside:
            thing.copies = set()

    @precondition(lambda self: any(one.moving for one in self.experiments.values()))
    @rule(index=st.integers(0, 9), delete=st.booleans())
    def roll_back(self, index: int, delete: bool) -> None:
        one = self.pick(index, [one for one in self.experiments.values() if one.moving])
        result = self.do(migration.rollback(self.world.estate, [one.id], delete=delete, running=True))
        assert not any(outcome.error for outcome in result.outcomes)
        one.moving = one.location = ""
        inside = [thing for thing in self._inside(one) if not thing.trash]
        self._located(inside, self._here)
        for thing in inside:  # also of what was made at the new place, which stays there
            thing.copies = set() if delete else thing.copies | {self._there(thing)}
            if delete:
                thing.again[self._there(thing)] = next(self.count)

    def _here(self, thing: Thing) -> str:
        return f"{ROOT}{self._path(thing)}"

    def _there(self, thing: Thing) -> str:
        return f"{self.there}/{self._path(thing)}"

    def _path(self, thing: Thing) -> str:
        folder = f"{thing.experiment}/models" if thing.kind is Kind.MODEL else thing.experiment
        return f"{folder}/{thing.id}/artifacts"

    def _located(self, things: list[Thing], where: Callable[[Thing], str]) -> None:
        for thing in things:
            thing.location = where(thing)

    # -- checking -----------------------------------------------------------------------------------------

    @invariant()
    def everything_is_where_it_should_be(self) -> None:
        self.do(self._check())

    async def _check(self) -> None:
        expected = {
            f"{folder}/{path}": data
            for folder, files in (
                *((one.location, one.files) for one in self.writable()),
                *self.loose.items(),
            )
            for path, data in files.items()
        }
        found = {
            f"{root}{key}": data
            for root in (ROOT, f"{self.there}/")
            for key, data in (await self.world.files(root)).items()
            if not key.startswith(".shoso-trash/")
        }
        copies = self.left.union(*(one.copies - {one.location} for one in self.things.values()))
        rest = {
            key: data
            for key, data in found.items()
            if key.partition("/artifacts/")[0] + "/artifacts" not in copies
        }
        assert rest == expected
        for thing in self.things.values():
            assert await self.world.location(thing.kind, thing.id) == thing.location
        for kind in (Kind.RUN, Kind.MODEL):
            ids = sorted(one.id for one in self.things.values() if one.kind is kind)
            assert await self.world.there(kind, *ids) == ids
        ids = sorted(self.experiments)
        assert await self.world.there(Kind.EXPERIMENT, *ids) == ids

    @rule()
    def check(self) -> None:
        found: list[Finding] = []
        self.do(fsck.check(self.world.estate, Checked(age=-60.0), found.append))
        told = {one.name for one in found if one.kind.value == "orphan"}
        assert told - self._copies() == {*self.loose}
        rest = {one.name for one in found if one.kind.value != "orphan"}
        unmade = {
            f"models:/{name}/1"
            for one in self.things.values()
            for name in one.named_by
            if one.trash or not any(path.startswith("b/") for path in one.files)
        }
        assert rest == unmade | self.unmade, found

    def _copies(self) -> set[str]:
        """What moves that are over have left, and may be without a row."""
        ended = [one for one in self.things.values() if not self.experiments[one.experiment].moving]
        return self.left.union(*(one.copies for one in ended))


class OnPostgres(Sequences):
    """The same on PostgreSQL."""

    async def _made(self) -> tuple[dict[str, Any], dict[str, str]]:
        (self.folder / "artifacts").mkdir()
        uri = places.fresh("postgres", by_mlflow=False).uri
        return {"backend_store_uri": uri, "artifacts_destination": str(self.folder / "artifacts")}, {}


@pytest.mark.parametrize("machine", [Sequences, OnPostgres])
def test_any_sequence_leaves_what_should_be_there(machine, monkeypatch):
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)
    monkeypatch.setattr("shoso.server.books.LINGER", 0.0)
    for module in ("records", "data"):
        monkeypatch.setattr(f"shoso.maintenance.fsck.{module}.SETTLING", 0.25)
    chosen = settings(
        max_examples=SEQUENCES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate],  # to make a failure shorter takes minutes
        database=None,
    )
    run_state_machine_as_test(machine, settings=chosen)
