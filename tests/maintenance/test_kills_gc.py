"""`gc`, killed anywhere again and again: nothing is lost that wasn't planned, and a rerun finishes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.maintenance.proof import ROOT, Proof

from shoso.errors import TrackingError
from shoso.maintenance import plans
from shoso.maintenance.gc import planning
from shoso.maintenance.gc.chosen import Asked
from shoso.metadata import experiments, runs
from shoso.metadata.holdings import Kind

pytestmark = pytest.mark.timeout(7200)
"""There may be asked for more than is tried by default."""


class Collected:
    """What a plan has (`going`), and is to refuse: some is `active` again, some `written` to since."""

    def __init__(self, proof: Proof) -> None:
        self.proof = proof
        self.going: list[str] = []
        self.active: list[str] = []
        self.refused: list[str] = []

    async def fill(self) -> None:
        """Runs, models and experiments that stay, that go, and that change after the plan."""
        proof, world = self.proof, self.proof.world
        name = proof.dice.randbytes(6).hex()
        self.kept = await world.experiment(f"kept {name}")
        self.experiment = await world.experiment(f"gone {name}")
        for number in (self.kept, self.experiment):
            proof.gone.pop(number, None)  # SQLite gives the last id once more
        await proof.run(self.kept)
        await proof.model(self.kept)
        self.runs = [await proof.run(self.kept) for _ in range(proof.dice.randint(3, 6))]
        self.going = [*self.runs, await proof.model(self.kept)]
        for run_id in self.runs:
            await world.delete_run(run_id)
        await world.delete_model(self.going[-1])
        self.going += [await proof.run(self.experiment), await proof.model(self.experiment)]
        await world.database.write(experiments.delete, self.experiment)
        await self._litter(name)

    async def _litter(self, name: str) -> None:
        proof = self.proof
        files = proof.some_files()
        self.orphan = {f"{self.kept}/{'0' * 20}{name}/artifacts/{path}": data for path, data in files.items()}
        self.orphan[f"stray {name}"] = b"stray"
        await proof.world.put(ROOT, self.orphan)
        proof.loose |= self.orphan

    async def plan(self, folder: Path) -> str:
        """Whatever is deleted, and what nobody refers to."""
        path = folder / "plan.jsonl"
        await planning.plan(self.proof.world.estate, Asked(orphans=True), path, Quiet())
        self.going, self.refused = [*self.going, *(one for one in self.refused if one not in self.active)], []
        items = [*plans.read(path)[1]]
        owned = {item.id for item in items if item.kind != plans.ORPHAN}
        assert owned == {*self.going, self.experiment}
        assert sum(item.objects for item in items if item.kind == plans.ORPHAN) == len(self.orphan)
        return str(path)

    async def change(self) -> None:
        """A run is restored, another one is written to."""
        restored, written = self.runs[:2]
        await self.proof.world.database.write(runs.restore, restored)
        thing = self.proof.things[written]
        thing.files["late.txt"] = b"late"
        await self.proof.world.put(f"{ROOT}{thing.key}", {"late.txt": b"late"})
        self._stays(restored)
        self._stays(written)
        self.active.append(restored)

    def _stays(self, run_id: str) -> None:
        self.going.remove(run_id)
        self.refused.append(run_id)

    async def between(self) -> None:
        """What isn't planned is there; a run is restored with all it has, or not at all."""
        proof = self.proof
        found = await proof.world.files()
        for thing in proof.things.values():
            if thing.id not in self.going:
                there = {path: found.get(f"{thing.key}/{path}") for path in thing.files}
                assert there == thing.files, thing.key
        restorable = [run_id for run_id in self.runs if run_id in self.going]
        if restorable and proof.dice.random() < 0.3:
            await self._restore(proof.dice.choice(restorable), found)

    async def _restore(self, run_id: str, found: dict[str, bytes]) -> None:
        thing = self.proof.things[run_id]
        try:
            await self.proof.world.database.write(runs.restore, run_id)
        except TrackingError:
            return  # claimed, or gone
        assert {path: found.get(f"{thing.key}/{path}") for path in thing.files} == thing.files
        self._stays(run_id)
        self.active.append(run_id)

    def went(self) -> None:
        """All that was planned and hasn't changed is to be gone."""
        self.proof.let_go(*self.going)
        self.going = []
        self.proof.gone[self.experiment] = Kind.EXPERIMENT
        for key in self.orphan:
            del self.proof.loose[key]


class Quiet:
    """Is told, and tells nobody."""

    def planned(self, number: int) -> None:
        pass

    def done(self, number: int) -> None:
        pass


async def test_gc_that_is_killed_loses_nothing_and_leaves_nothing(proof, tmp_path, monkeypatch):
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)
    while not proof.enough("apply", "apply --trash", "undo", "collect"):
        batch = Collected(proof)
        await batch.fill()
        path = await batch.plan(tmp_path)
        await batch.change()
        if not proof.enough("apply --trash", "undo"):
            await _to_the_trash_and_back(proof, batch, path)
            path = await batch.plan(tmp_path)  # where moves are copies, times are others than planned
        done = await proof.through("apply", "apply", batch.between, plan=path)
        assert {*done["problems"]} == {*batch.refused}
        batch.went()
        await proof.check()
        for run_id in batch.active:
            await proof.world.delete_run(run_id)
        await _go(proof, [*{*batch.active, *batch.refused}])


async def _to_the_trash_and_back(proof: Proof, batch: Collected, path: str) -> None:
    """As far as it gets before the last kill, or all of it; then back, all of it."""
    whole = proof.dice.random() < 0.5
    while (done := await proof.attempt("apply --trash", "apply", plan=path, trash=3600.0)) is None:
        await batch.between()
        if not whole and proof.dice.random() < 0.5:
            break
    if done is not None:
        assert {*done["problems"]} == {*batch.refused}
        found = await proof.world.files()
        for id_ in batch.going:
            assert not any(key.startswith(proof.things[id_].key) for key in found), id_
    plan_id = plans.read(Path(path))[0].id
    over = "Nothing in the trash is of a plan"  # it was killed before the first move, or after the last one
    done = await proof.through("undo", "undo", proof.nothing, allowed=over, plan=plan_id)
    assert not done.get("problems")
    await proof.check()


async def _go(proof: Proof, ids: list[str]) -> None:
    """What is left of a batch goes, and nothing else, by a gc that makes no plan."""

    async def between() -> None:
        found = await proof.world.files()
        for thing in proof.things.values():
            if thing.id not in ids:
                assert {path: found.get(f"{thing.key}/{path}") for path in thing.files} == thing.files

    done = await proof.through("collect", "collect", between)
    assert done["problems"] == {}
    proof.let_go(*ids)
    await proof.check()
