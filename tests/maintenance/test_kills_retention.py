"""`retention`, killed anywhere again and again: what stays is never marked, and a rerun marks the rest."""

from __future__ import annotations

import random
import sys

import pytest
from tests.maintenance import world
from tests.maintenance.conftest import KILLS, SEED
from tests.maintenance.test_retention import Made, Spec, planned
from tests.maintenance.world import World

from shoso.maintenance.retention.policies import Policy
from shoso.metadata import holdings
from shoso.metadata.holdings import Kind, Wanted

pytestmark = pytest.mark.timeout(7200)
"""There may be asked for more than is tried by default."""

SPECS = [Spec(age=100 + at, model=at % 2 == 0, registered="model" if at % 5 == 0 else "") for at in range(12)]
KEPT = {0, 1, 5, 10}
"""The numbers of the last two, and of those that a version is made from."""


class Killed:
    """Runs and models, and the verbs that are killed at them."""

    def __init__(self, opened, victims, made, dice):
        self.opened, self.victims, self.made, self.dice = opened, victims, made, dice
        self.kept = {made.runs[at] for at in KEPT} | {made.models[at] for at in KEPT & {*made.models}}
        self.most = 30

    async def marked(self):
        """What is marked deleted; a model never without its run."""
        found = set()
        for kind, ids in ((Kind.RUN, self.made.runs), (Kind.MODEL, [*self.made.models.values()])):
            page = await self.opened.database.read(holdings.page, kind, Wanted(ids))
            assert {one.id for one in page} == {*ids}
            found |= {one.id for one in page if one.deleted}
        return found

    async def through(self, verb, plan, check):
        """Kill it, then kill what goes on with it, and so on; in the end it isn't killed any more."""
        for _ in range(KILLS):
            calls = self.dice.randint(1, self.most)
            done = self._run(verb, plan, calls=calls)
            check(await self.marked())
            if done.outcome is not None:
                self.most = max(1, done.calls)
        done = self._run(verb, plan)
        assert done.outcome is not None
        assert done.outcome.get("problems") == {}, done.outcome

    def _run(self, verb, plan, **fuse):
        return self.victims.run(verb, self.opened.flags, self.opened.environment, plan=str(plan), **fuse)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_retention_that_is_killed_marks_what_goes_and_nothing_else(victims, tmp_path, database):
    sys.stdout.write(f"SHOSO_TEST_SEED={SEED}\n")
    opened = World(*await world.make(database, "local", tmp_path))
    try:
        made = await opened.database.write(Made, "e", SPECS)
        path, going, _ = await planned(opened, tmp_path, Policy("e", keep_last=2))
        killed = Killed(opened, victims, made, random.Random(f"{SEED} {database}"))
        of_models = {model: made.runs[at] for at, model in made.models.items()}

        def only_what_goes(marked):
            assert not marked & killed.kept
            assert {of_models[one] for one in marked & {*of_models}} <= marked  # a model goes after its run

        await killed.through("retain", path, only_what_goes)
        assert await killed.marked() == {*going} == {*made.runs, *made.models.values()} - killed.kept
        await killed.through("unretain", path, only_what_stays(killed))
        assert await killed.marked() == set()
    finally:
        await opened.close()


def only_what_stays(killed):
    """Undo marks nothing anew."""

    def check(marked):
        assert not marked & killed.kept

    return check
