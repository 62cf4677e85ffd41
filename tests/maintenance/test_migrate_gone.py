"""A move of an experiment that was deleted for good meanwhile comes to its end, too."""

from __future__ import annotations

from tests.maintenance import world
from tests.maintenance.world import ROOT, World

from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Asked
from shoso.metadata import experiments, purge
from shoso.metadata.holdings import Kind


async def _gone(made: World) -> None:
    """An experiment that has moved, and then was deleted for good with its run."""
    experiment = await made.experiment("e")
    run = await made.run(experiment, {"a": b"a"})
    moved = await migration.migrate(made.estate, Asked(ROOT, made.environment["there"]))
    assert moved.failed == 0
    await made.database.write(experiments.delete, experiment)
    for kind, id_ in ((Kind.RUN, run), (Kind.EXPERIMENT, experiment)):
        assert await made.database.write(purge.purge, kind, [id_]) == []


async def test_finish_deletes_the_old_copies_of_an_experiment_that_is_gone_and_rollback_ends(tmp_path):
    (tmp_path / "artifacts").mkdir()
    flags = await world.database("sqlite", tmp_path)
    kept = tmp_path / "artifacts"
    made = World(flags | {"artifacts_destination": str(kept)}, {"there": str(tmp_path / "there")})
    for end, left in ((migration.finish, 0), (migration.rollback, 1)):
        await _gone(made)
        ended = await end(made.estate, [], running=True)
        assert [one.error for one in ended.outcomes] == ["" for _ in ended.outcomes]
        assert await migration.status(made.estate) == []
        assert len([path for path in kept.rglob("a") if path.is_file()]) == left
    await made.close()
