"""What gc, fsck and migrate do while a storage is down, or when it goes away under them, and after that."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from tests.maintenance.moves import SHOSO
from tests.maintenance.verbs import Quiet
from tests.maintenance.world import ROOT, World

from shoso.errors import StoreError
from shoso.layers.retry import RetryPolicy
from shoso.maintenance import plans
from shoso.maintenance.gc import planning
from shoso.maintenance.gc.applying import apply
from shoso.maintenance.gc.chosen import Asked as Chosen
from shoso.maintenance.gc.trash import undo
from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.ending import Ending
from shoso.maintenance.migrate.migration import Asked
from shoso.metadata.holdings import Kind
from shoso.transfer import Silent

TABLES = ("runs", "experiments", "logged_models", "model_versions", "shoso_claims", "shoso_moves")
"""What tells what is there, where, and what has begun."""


def impatient(monkeypatch: Any) -> None:
    """A group has one item, and waits for the one before; nobody is waited for long."""
    monkeypatch.setattr(
        RetryPolicy.__init__, "__defaults__", (2, 0.01, *RetryPolicy.__init__.__defaults__[2:])
    )
    monkeypatch.setattr("shoso.maintenance.gc.applying.GROUP_ITEMS", 1)
    monkeypatch.setattr("shoso.maintenance.gc.applying.GROUPS", 1)


class Outage:
    """An estate whose storage goes `down` and comes `up`; `where` is what an error has to name."""

    def __init__(
        self, opened: World, folder: Path, where: str, down: Callable[[], None], up: Callable[[], None]
    ) -> None:
        self.world, self.folder, self.where, self.down, self.up = opened, folder, where, down, up
        self.near = str(folder / "near")
        self.before: tuple[str, ...] = ()

    async def fill(self) -> None:
        """Runs and a model that stay, with a version; runs that go; runs in a folder of this machine."""
        world = self.world
        one = await world.experiment("one")
        self.runs = [await world.run(one) for _ in range(7)]
        await world.model(one)
        await world.version("m", self.runs[0])
        self.beside = await world.run(await world.experiment("beside", self.near))
        for run_id in self.runs[1:]:
            await world.delete_run(run_id)
        self.plans = []
        for name, some in (("plan", self.runs[1:4]), ("shelved", self.runs[4:])):
            self.plans.append(self.folder / name)
            await planning.plan(world.estate, Chosen(run_ids=some), self.plans[-1], Quiet())

    async def command(self, *words: str) -> tuple[int, str]:
        """`shoso …`: its exit code, and what it says."""
        flags = {"MLFLOW_BACKEND_STORE_URI": self.world.flags["backend_store_uri"]}
        flags["MLFLOW_ARTIFACTS_DESTINATION"] = self.world.flags["artifacts_destination"]
        env = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))
        }
        env |= flags | self.world.environment
        command = (*self.before, SHOSO, *words)
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=PIPE, stderr=STDOUT)
        said, _ = await process.communicate()
        assert process.returncode is not None
        assert b"Traceback" not in said, said.decode()
        return process.returncode, said.decode()

    async def is_refused(self) -> None:
        """While it is down, every command says so, fails, and changes nothing."""
        plan, shelved = map(str, self.plans)
        before = await self.world.database.read(_rows)
        commands = [
            ("gc", "apply", plan),
            ("gc", "apply", shelved, "--trash", "7d"),
            ("fsck",),
            ("migrate", "--from", ROOT, "--to", str(self.folder / "there")),
            ("migrate", "--from", self.near, "--to", ROOT),
        ]
        done = await asyncio.gather(*(self.command(*words) for words in commands))
        for words, (code, said) in zip(commands, done, strict=True):
            assert code, words
            assert self.where in said, (words, said)
            assert not [each for each in ("It was stored", "no row refers") if each in said], (words, said)
        assert await self.world.database.read(_rows) == before

    async def is_interrupted(self, trash: float | None) -> None:
        """It goes away in the middle of a deletion, or of a move to the trash; a rerun does the rest."""
        world, before = self.world, await self.world.files()
        path, going = (self.plans[0], self.runs[1:4]) if trash is None else (self.plans[1], self.runs[4:])
        rest = {key: data for key, data in before.items() if not any(one in key for one in going)}
        assert await self._broken(path, trash) < {*going}
        if trash is not None:
            await self.is_refused()
        self.up()
        assert (await world.files()).items() >= rest.items()
        done = await apply(world.estate, *plans.read(path), Quiet(), trash=trash)
        assert done.problems == []
        assert {key: at for key, at in (await world.files()).items() if ".shoso-trash" not in key} == rest
        if trash is not None:
            assert (await undo(world.estate, done.plan, Quiet())).problems == []
            assert await world.files() == before
        left = [one for one in self.runs if trash is not None or one not in going]
        assert await world.there(Kind.RUN, *left) == sorted(left)

    async def _broken(self, path: Path, trash: float | None) -> set[str]:
        """What is named as not gone, by a report or by an error that ends it all."""
        try:
            done = await apply(self.world.estate, *plans.read(path), Then(1, self.down), trash=trash)
        except StoreError as error:
            said, ids = [error.message], set[str]()
        else:
            said, ids = [one.message for one in done.problems], {one.item.id for one in done.problems}
        assert [one for one in said if self.where not in one] == []
        assert said
        return ids

    async def is_left(self, monkeypatch: Any, source: str, to: str) -> None:
        """It goes away in the middle of a move; a rerun ends it."""
        before = await self.world.files(source)
        broken = await migration.migrate(self.world.estate, Asked(source, to), Finished(2, self.down))
        assert self.where in broken.stopped
        self.up()
        assert await self.world.files(source) == before
        await self.is_not_ended(monkeypatch, source, to)

    async def is_not_ended(self, monkeypatch: Any, source: str, to: str) -> None:
        """It goes away as the old copies of a move are deleted; a rerun deletes them."""
        before = await self.world.files(source)
        done = await migration.migrate(self.world.estate, Asked(source, to))
        assert {(one.state, one.error) for one in done.outcomes} == {("moved", "")}
        with monkeypatch.context() as patched:
            patched.setattr(Ending, "_delete", _after(self.down, Ending._delete))
            broken = await migration.finish(self.world.estate, [], running=True)
        assert self.where in broken.stopped
        self.up()
        assert await self.world.files(source) == await self.world.files(to) == before
        assert not (await migration.finish(self.world.estate, [], running=True)).failed
        assert (await self.world.files(source), await self.world.files(to)) == ({}, before)

    async def is_right(self) -> None:
        """Whoever looks at everything finds nothing."""
        code, said = await self.command("fsck", "--data")
        assert code == 0, said


class Then(Quiet):
    """Does something once so many items are through."""

    def __init__(self, after: int, then: Callable[[], None]) -> None:
        self.left, self.then = after, then

    def done(self, number: int) -> None:
        self.left -= number
        if self.left == 0:
            self.then()


class Finished(Silent):
    """Does something once so many objects have arrived."""

    def __init__(self, after: int, then: Callable[[], None]) -> None:
        self.left, self.then = after, then

    def finished(self, key: object, size: int) -> None:
        self.left -= 1
        if self.left == 0:
            self.then()


def _after(down: Callable[[], None], work: Callable[..., Any]) -> Callable[..., Any]:
    async def worked(*given: object) -> None:
        down()
        await work(*given)

    return worked


def _rows(conn: Connection) -> list[list[tuple[object, ...]]]:
    return [
        sorted([(*map(str, row),) for row in conn.execute(text(f"SELECT * FROM {name}"))]) for name in TABLES
    ]
