"""`migrate`, killed anywhere again and again: what is read is always whole, and the end is as asked for."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.maintenance.proof import ROOT, Proof, Thing

from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Asked
from shoso.maintenance.migrate.moving import Shard

LARGE = 6 << 20
"""Bytes of an artifact that goes in parts."""

BESIDE = ["local", "s3"] if "SHOSO_TEST_KILLS" in os.environ else ["local"]
"""Storages on which one shard is killed beside another: S3 takes ten seconds."""

pytestmark = pytest.mark.timeout(7200)
"""There may be asked for more than is tried by default."""


class Moved:
    """An experiment on its way, written to meanwhile."""

    def __init__(self, proof: Proof) -> None:
        self.proof, self.world, self.dice = proof, proof.world, proof.dice
        self.things: list[Thing] = []
        self.late: dict[str, dict[str, bytes]] = {}
        self.serial = 0

    async def fill(self) -> None:
        """Runs, one of them deleted, one of them with a large artifact, a model and a version."""
        name = self.dice.randbytes(6).hex()
        self.experiment = await self.world.experiment(f"e {name}")
        ids = [await self.proof.run(self.experiment) for _ in range(3)]
        await self.world.delete_run(ids[1])
        self.things = [self.proof.things[id_] for id_ in (*ids, await self.proof.model(self.experiment))]
        self.version = f"m {name}"
        await self.world.version(self.version, ids[0], "v")
        await self._put(self.things[0], {"v/MLmodel": name.encode()})
        if self.dice.random() < 0.4:
            await self._put(self.things[2], {"large": self.dice.randbytes(LARGE)})

    async def location(self, thing: Thing) -> str:
        """Where its row says that it is."""
        return await self.world.location(thing.kind, thing.id)

    async def between(self) -> None:
        """All of it is where the rows say; then somebody writes."""
        await self.check()
        if self.dice.random() < 0.4:
            thing = self.dice.choice(self.things)
            self.serial += 1
            path = self.dice.choice([f"new {self.serial}", *thing.files])
            await self._put(thing, {path: self.dice.randbytes(100 + self.serial)})
        if self.dice.random() < 0.2:
            self.things.append(self.proof.things[await self.proof.run(self.experiment)])

    async def _put(self, thing: Thing, files: dict[str, bytes]) -> None:
        await self.world.put(await self.location(thing), files)
        thing.files |= files

    async def write_late(self) -> None:
        """Somebody who has begun before the move writes to where the run was."""
        for thing in self.dice.sample(self.things, 2):
            self.serial += 1
            files = {f"late {self.serial}": self.dice.randbytes(50)}
            await self.world.put(f"{ROOT}{thing.key}", files)
            self.late.setdefault(thing.id, {}).update(files)

    async def through(self, verb: str, name: str, **arguments: Any) -> dict[str, Any]:
        """Until it isn't killed any more, and writes between.

        What was killed between a copy and its record, and was written again then, nobody can tell from what
        was written at both places: as one is told to, the one that the rows don't name is deleted then.
        """
        while both := _at_both(done := await self.proof.through(verb, name, self.between, **arguments)):
            await self.check()
            for path in both:
                [thing] = (one for one in self.things if path.startswith(f"{one.key}/"))
                named = (await self.location(thing)).startswith(ROOT)
                await self.world.delete(f"{self.proof.there}/{path}" if named else f"{ROOT}{path}")
        return done

    async def check(self, *, ended: bool = False) -> None:
        """Everything is read at its recorded location; what came late may be there, at the end it is."""
        for thing in self.things:
            late = self.late.get(thing.id, {})
            found = await self.world.files(await self.location(thing))
            assert {path: found.get(path) for path in thing.files} == thing.files, thing.key
            assert found.items() <= (thing.files | late).items(), thing.key
            assert not ended or found == thing.files | late, thing.key
        source = await self.world.database.read(_source, self.version)
        assert source == f"{await self.location(self.things[0])}/v"

    async def ended(self, root: str, left: str | None) -> None:
        """All of it is below `root`, and nothing below `left`."""
        await self.check(ended=True)
        for thing in self.things:
            thing.files |= self.late.pop(thing.id, {})
            assert await self.location(thing) == f"{root}{thing.key}"
            assert left is None or await self.world.files(f"{left}{thing.key}") == {}
        assert await self.world.database.read(_moves) == (0, 0)


def _at_both(done: dict[str, Any]) -> list[str]:
    """What is named because it is another object at each place."""
    strange = [re.search("nobody knows of a move .*'(.+)' among them", error) for error in done["errors"]]
    return [*done["unsure"], *(found[1] for found in strange if found is not None)]


def _source(conn: Connection, name: str) -> str:
    query = text("SELECT source FROM model_versions WHERE name = :name")
    return str(conn.scalar(query, {"name": name}))


def _moves(conn: Connection) -> tuple[int, ...]:
    return tuple(
        conn.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in ("shoso_moves", "shoso_moved")
    )


async def _beside(proof: Proof) -> None:
    """The second half, as somebody else copies it, again and again."""
    for _ in range(3):
        asked = Asked(ROOT, proof.there, (), Shard(2, 2))
        done = await migration.migrate(proof.world.estate, asked)
        errors = [outcome.error for outcome in done.outcomes]
        assert all(not error or "somebody else" in error for error in errors), errors


@pytest.mark.parametrize("proof", BESIDE, indirect=True)
async def test_a_shard_that_is_killed_beside_another_one_loses_nothing_and_leaves_no_copies(proof):
    there = f"{proof.there}/"
    while not proof.enough("shard"):
        moved = Moved(proof)
        await moved.fill()
        while not all(any(thing.id in Shard(n, 2) for thing in moved.things) for n in (1, 2)):
            moved.things.append(proof.things[await proof.run(moved.experiment)])
        give_up = proof.dice.random() < 0.5
        half = {"source": ROOT, "to": proof.there, "shard": (1, 2)}
        beside, done = asyncio.create_task(_beside(proof)), None
        while done is None:
            done = await proof.attempt("shard", "migrate", **half)
            await moved.check()
            if done is None and give_up:
                break
        await beside
        if done is None:
            done = await proof.through("rollback", "rollback", moved.check, delete=True)
            assert not any(done.values()), done
            await moved.ended(ROOT, there)
        done = await moved.through("shard", "migrate", **half)
        await _beside(proof)
        done = await proof.through("finish", "finish", moved.check)
        assert not any(done.values()), done
        await moved.ended(there, ROOT)


async def test_a_move_that_is_killed_loses_nothing_and_ends_where_it_should(proof):
    finished: list[Moved] = []
    there, moved = f"{proof.there}/", None
    while not proof.enough("migrate", "finish", "rollback"):
        if moved is None:
            moved = Moved(proof)
            await moved.fill()
        done = await moved.through("migrate", "migrate", source=ROOT, to=proof.there)
        assert not any(done.values()), done
        await moved.check()
        if not proof.enough("rollback") and proof.dice.random() < 0.6:
            delete = proof.dice.random() < 0.7
            done = await moved.through("rollback", "rollback", delete=delete)
            assert not any(done.values()), done
            await moved.ended(ROOT, there if delete else None)
        else:
            await moved.write_late()
            done = await proof.through("finish", "finish", moved.check)
            assert not any(done.values()), done
            await moved.ended(there, ROOT)
            finished.append(moved)
            moved = None
    for each in finished:
        await each.check()
