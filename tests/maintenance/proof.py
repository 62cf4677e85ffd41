"""A world, and what must be there: kept by what the test does to it, never asked of what is tested."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text
from tests.maintenance.victims import Done, Victims
from tests.maintenance.world import World
from tests.servers.target import Target

from shoso.metadata.holdings import Kind

ROOT = "mlflow-artifacts:/"


@dataclass
class Thing:
    """A run or a model, and its artifacts by path."""

    kind: Kind
    id: str
    key: str
    files: dict[str, bytes]


@dataclass
class Proof:
    """Counts the kills of each verb, and compares what there is with what must be there.

    `things` must be there, whatever their stage, and `loose` objects; of `gone` there is nothing left.
    `here` are the means to get around the store, `there` is the URI of another place.
    """

    world: World
    victims: Victims
    dice: random.Random
    wanted: int
    here: Target
    there: str
    things: dict[str, Thing] = field(default_factory=dict)
    loose: dict[str, bytes] = field(default_factory=dict)
    gone: dict[str, Kind] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    # -- what must be there -------------------------------------------------------------------------------

    def some_files(self) -> dict[str, bytes]:
        """A few, most of them small."""
        names = self.dice.sample(
            ["a.txt", "b", "sub/c.bin", "sub/deep/d", "sub/e", "f.json"], self.dice.randint(1, 4)
        )
        return {name: self.dice.randbytes(self.dice.choice([0, 10, 3000, 70_000])) for name in names}

    async def run(self, experiment: str) -> str:
        """A run with some files."""
        files = self.some_files()
        return await self._keep(Kind.RUN, await self.world.run(experiment, files), files)

    async def model(self, experiment: str) -> str:
        """A logged model with some files."""
        files = self.some_files()
        return await self._keep(Kind.MODEL, await self.world.model(experiment, files), files)

    async def _keep(self, kind: Kind, id_: str, files: dict[str, bytes]) -> str:
        location = await self.world.location(kind, id_)
        key = location.removeprefix(ROOT).removeprefix(f"{self.there}/")
        self.things[id_] = Thing(kind, id_, key, files)
        return id_

    def let_go(self, *ids: str) -> None:
        """They are to go for good."""
        for id_ in ids:
            self.gone[id_] = self.things.pop(id_).kind

    def expected(self) -> dict[str, bytes]:
        """Every object, by key."""
        found = {
            f"{one.key}/{path}": data for one in self.things.values() for path, data in one.files.items()
        }
        return found | self.loose

    # -- killing ------------------------------------------------------------------------------------------

    def enough(self, *verbs: str) -> bool:
        """Whether these have been killed as often as wanted."""
        return all(self.kills.get(verb, 0) >= self.wanted for verb in verbs)

    async def attempt(
        self, verb: str, name: str, allowed: str = "", **arguments: Any
    ) -> dict[str, Any] | None:
        """Once; the outcome, or None if it was killed, which counts for `verb`; no error but that one."""
        fuse = {} if self.enough(verb) else self._fuse(verb)
        given = (name, self.world.flags, self.world.environment)
        done = await asyncio.to_thread(self.victims.run, *given, **fuse, **arguments)
        self._learn(verb, fuse, done)
        if done.outcome is None:
            self.kills[verb] = self.kills.get(verb, 0) + 1
            return None
        error = done.outcome.get("error", "")
        assert not error or (allowed and allowed in error), error
        return done.outcome

    async def through(
        self, verb: str, name: str, between: Callable[[], Awaitable[None]], **arguments: Any
    ) -> dict[str, Any]:
        """Until it isn't killed any more; `between` is after each kill."""
        while (outcome := await self.attempt(verb, name, **arguments)) is None:
            await between()
        return outcome

    async def nothing(self) -> None:
        """What is between, where nothing is."""

    def _fuse(self, verb: str) -> dict[str, Any]:
        if self.dice.random() < 0.6:
            return {"calls": self.dice.randint(1, self.calls.get(verb, 30))}
        return {"seconds": self.dice.uniform(0.01, self.seconds.get(verb, 0.3))}

    def _learn(self, verb: str, fuse: dict[str, Any], done: Done) -> None:
        """How long it may take: as long as was ever seen, and a bit."""
        calls = done.calls or int(fuse.get("calls", 0) * 1.3)
        self.calls[verb] = max(self.calls.get(verb, 30), calls)
        if fuse:
            self.seconds[verb] = max(self.seconds.get(verb, 0.3), min(done.seconds * 1.1, 3.0))

    # -- comparing ----------------------------------------------------------------------------------------

    async def check(self, claims: int = 0) -> None:
        """Rows and bytes are those that must be there, and no claim holds anything but so many."""
        found = await self.world.files()
        expected = self.expected()
        assert {*found} == {*expected}, ({*found} - {*expected}, {*expected} - {*found})
        assert found == expected
        for kind in (Kind.RUN, Kind.MODEL):
            ids = [one.id for one in self.things.values() if one.kind is kind]
            ids_gone = [id_ for id_, of in self.gone.items() if of is kind]
            assert await self.world.there(kind, *ids, *ids_gone) == sorted(ids)
        gone = [id_ for id_, kind in self.gone.items() if kind is Kind.EXPERIMENT]
        assert await self.world.there(Kind.EXPERIMENT, *gone) == []
        assert await self.world.database.read(_rows) == (3 * self._runs, self._runs, self._runs)
        assert await self.world.database.read(_claims) == claims

    @property
    def _runs(self) -> int:
        return sum(1 for one in self.things.values() if one.kind is Kind.RUN)


def _rows(conn: Connection) -> tuple[int, ...]:
    """Points, params and latest points of all runs."""
    tables = ("metrics", "params", "latest_metrics")
    return tuple(conn.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in tables)


def _claims(conn: Connection) -> int:
    return conn.scalar(text("SELECT count(*) FROM shoso_claims")) or 0
