"""Rows that name another place after a move, and the very same one after its rollback, on every database."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert, select, update
from tests.metadata import places

from shoso.core.keys import Key
from shoso.errors import TrackingError
from shoso.maintenance.migrate.renaming import Renaming
from shoso.metadata import experiments, models, moves, purge, relocating, runs
from shoso.metadata.holdings import Kind
from shoso.metadata.moves import Move, State
from shoso.metadata.own import moved
from shoso.metadata.relocating import Changed
from shoso.metadata.schema import experiments as experiments_table
from shoso.metadata.schema import model_versions, registered_models
from shoso.metadata.schema import runs as runs_table
from shoso.metadata.whole import whole
from shoso.wire.requests import CreateExperiment, CreateLoggedModel, CreateRun

KINDS = places.PLACES

WAY = Renaming("mlflow-artifacts:/", "s3://bucket/new")


class Made:
    """An experiment with two runs and a model; versions made of a run and of the model, in several words."""

    def __init__(self, conn):
        self.experiment = int(experiments.create(conn, CreateExperiment("e"), places.ROOT))
        self.run, self.other = (
            runs.create(conn, CreateRun(str(self.experiment), start_time=99)).info.run_id for _ in "ab"
        )
        self.model = models.create(conn, CreateLoggedModel(str(self.experiment))).info.model_id
        below = f"mlflow-artifacts:/{self.experiment}"
        sources = [
            f"{below}/{self.run}/artifacts/m",
            f"mlflow-artifacts://host:5000/{self.experiment}/models/{self.model}/artifacts",
            f"models:/{self.model}",
            f"{below}/nobodys/artifacts/m",
        ]
        rename(
            conn,
            self.other,
            f"http://host/api/2.0/mlflow-artifacts/artifacts/{self.experiment}/{self.other}/a%20b",
        )
        conn.execute(insert(registered_models).values(name="Ä model", workspace="default"))
        for number, source in enumerate(sources, 1):
            place = sources[0] if number == 3 else None
            row = {
                "source": source,
                "storage_location": place,
                "current_stage": "None",
                "workspace": "default",
            }
            conn.execute(insert(model_versions).values(name="Ä model", version=number, **row))
        self.stranger = runs.create(conn, CreateRun(str(self.experiment), start_time=99)).info.run_id
        rename(conn, self.stranger, f"s3://bucket/new/{self.experiment}/{self.stranger}/artifacts")

    def move(self, **changes):
        """The move of it."""
        wanted = Move(self.experiment, WAY.source, WAY.target, "", State.COPYING, 1, "", 1, None)
        return wanted._replace(**changes)


def rename(conn, run_id, location):
    conn.execute(update(runs_table).where(runs_table.c.run_uuid == run_id).values(artifact_uri=location))


def rows(conn):
    """All rows of MLflow's tables, by table."""
    return {table.name: sorted(map(repr, conn.execute(select(table)))) for table in whole().sorted_tables}


def named(conn):
    """What runs, models, experiments and versions name."""
    versions = conn.execute(select(model_versions.c.source, model_versions.c.storage_location))
    found = [location for _, location in relocating.named(conn)]
    found += [
        location
        for _, location in conn.execute(
            select(experiments_table.c.experiment_id, experiments_table.c.artifact_location)
        )
    ]
    return sorted([*found, *(place for row in versions for place in row if place)])


async def test_a_move_rewrites_what_names_the_source_and_its_rollback_says_the_same_as_before(database):
    made = await database.write(Made)
    before, e = await database.read(rows), made.experiment
    assert await database.read(relocating.foresee, e, WAY) == Changed(2, 1, 3, 1)
    move = await database.write(moves.begin, made.move())
    assert await database.write(moves.begin, made.move(begun=9)) == move  # as it was begun
    assert await database.write(relocating.flip, move, WAY, 7) == Changed(2, 1, 3, 1)
    new, own = f"s3://bucket/new/{e}", f"/{made.run}/artifacts"
    assert await database.read(named) == sorted(
        [
            "mlflow-artifacts:/0",
            new,
            new + own,
            f"{new}/{made.other}/a b",
            f"{new}/models/{made.model}/artifacts",
            f"{new}/{made.stranger}/artifacts",
            f"{new}{own}/m",
            f"{new}{own}/m",
            f"{new}/models/{made.model}/artifacts",
            f"models:/{made.model}",
            f"mlflow-artifacts:/{e}/nobodys/artifacts/m",
        ]
    )
    late = (await database.write(runs.create, CreateRun(str(e)))).info.run_id
    assert {*(await database.read(relocating.folders, e, WAY))} == {made.run, made.other, made.model, late}
    assert (await database.read(moves.open_moves))[0] == move._replace(
        state=State.MOVED, turned=7, folder=Key(str(e))
    )
    assert await database.write(relocating.flip, move, WAY, 8) == Changed()

    assert await database.write(relocating.unflip, move, WAY.reverse, 9) == Changed(3, 1, 3, 1)
    assert await database.write(relocating.unflip, move, WAY.reverse, 9) == Changed()
    assert (await database.read(runs.artifact_uri, late)).startswith(f"mlflow-artifacts:/{e}/")
    with pytest.raises(TrackingError, match="rollback"):
        await database.write(moves.begin, made.move())
    await database.write(moves.end, e)
    await database.write(runs.delete, late)
    await database.write(purge.purge, Kind.RUN, [late])
    assert await database.read(rows) == before
    assert await database.read(lambda conn: conn.execute(select(moved)).all()) == []


async def test_a_version_that_was_made_anew_meanwhile_names_what_it_is_made_of_itself(database):
    made = await database.write(Made)
    version = (model_versions.c.name == "Ä model", model_versions.c.version == 1)
    source = select(model_versions.c.source).where(*version)

    def anew(conn, place):
        conn.execute(delete(model_versions).where(*version))
        row = {"name": "Ä model", "version": 1, "current_stage": "None", "workspace": "default"}
        conn.execute(insert(model_versions).values(**row, source=place))

    move = await database.write(moves.begin, made.move())
    await database.write(relocating.flip, move, WAY, 7)
    await database.write(anew, f"mlflow-artifacts:/{made.experiment}/models/{made.model}/artifacts")
    assert await database.write(relocating.flip, move, WAY, 8) == Changed(versions=1)
    await database.write(anew, f"s3://bucket/new/{made.experiment}/{made.run}/artifacts/n")
    await database.write(relocating.unflip, move, WAY.reverse, 9)
    here = f"mlflow-artifacts:/{made.experiment}/{made.run}/artifacts/n"
    assert await database.read(lambda conn: conn.scalar(source)) == here


async def test_a_location_that_its_column_cannot_hold_is_refused_and_nothing_is_rewritten(database):
    made = await database.write(Made)
    before = await database.read(rows)
    long = Renaming(WAY.source, f"s3://bucket/{'x' * 150}")
    with pytest.raises(TrackingError, match=r"200 in runs.artifact_uri\. Move to a shorter --to"):
        await database.read(relocating.foresee, made.experiment, long)
    move = await database.write(moves.begin, made.move(target=long.target))
    with pytest.raises(TrackingError, match="shorter --to"):
        await database.write(relocating.flip, move, long, 1)
    assert await database.read(rows) == before
    assert (await database.read(moves.open_moves))[0].state is State.COPYING


async def test_one_move_of_an_experiment_at_a_time_and_its_shards_make_one(database):
    made = await database.write(Made)
    await database.write(moves.begin, made.move(shards=3))
    with pytest.raises(TrackingError, match="end that first"):
        await database.write(moves.begin, made.move(target="s3://elsewhere"))
    with pytest.raises(TrackingError, match="--shard i/3"):
        await database.write(moves.begin, made.move(shards=2))
    assert (await database.write(moves.complete, made.experiment, 2)).missing == [1, 3]
    assert (await database.write(moves.complete, made.experiment, 2)).missing == [1, 3]
    assert (await database.write(moves.complete, made.experiment, 1)).missing == [3]
    move = await database.write(moves.complete, made.experiment, 3)
    assert move.missing == []
    await database.write(relocating.flip, move, WAY, 1)
    await database.write(moves.turn, made.experiment, (State.MOVED,), State.FINISHING)
    for work in (relocating.flip, relocating.unflip):
        with pytest.raises(TrackingError, match="somebody else"):
            await database.write(work, move, WAY, 1)
    with pytest.raises(TrackingError, match="shoso migrate finish --experiment"):
        await database.write(moves.begin, made.move())


async def test_what_is_deleted_for_good_after_it_moved_is_remembered(database):
    made = await database.write(Made)
    location = await database.read(runs.artifact_uri, made.run)
    move = await database.write(moves.begin, made.move())
    await database.write(relocating.flip, move, WAY, 9)
    assert await database.read(relocating.gone, made.experiment) == []
    await database.write(runs.delete, made.run)
    assert await database.write(purge.purge, Kind.RUN, [made.run]) == []
    assert await database.read(relocating.gone, made.experiment) == [(made.run, location)]
    assert await database.read(moves.under_way, made.experiment) == []
    running = CreateRun(str(made.experiment), start_time=0)
    begun = (await database.write(runs.create, running)).info.run_id
    assert await database.read(moves.under_way, made.experiment) == [begun]


@pytest.mark.parametrize(
    ("source", "target", "location", "new"),
    [
        ("/data", "s3://b/x", "file:///data/1/a%20b", "s3://b/x/1/a b"),
        ("file:///data", "file:///new/", "/data/1/a b", "file:///new/1/a%20b"),
        ("s3://b/x", "/new", "s3://b/x", "/new"),
        ("s3://b/x", "/new", "s3://b/xy/1", None),
        ("s3://b", "mlflow-artifacts:/n", "s3://b/1/100%25", "mlflow-artifacts:/n/1/100%2525"),
        ("sftp://u:p@h/x", "gs://b", "sftp://u@H:22/x/1", "gs://b/1"),
        ("mlflow-artifacts:/1", "s3://b", "http://h/p/api/2.0/mlflow-artifacts/artifacts/1/r", "s3://b/r"),
        ("mlflow-artifacts:/1", "s3://b", "mlflow-artifacts:/10/r", None),
        ("s3://b", "/new", "s3://b/../c", None),
        ("/data", "/new", "dbfs:/data/1", None),
    ],
)
def test_a_location_becomes_the_same_path_below_the_other_place(source, target, location, new):
    assert Renaming(source, target).new(location) == new


def test_long_paths_have_a_folder_in_common():
    assert relocating.common([Key("1/a/b"), Key("1/ab")]) == "1"
    assert relocating.common([Key("1/a")]) == "1/a"
    assert relocating.common([Key("1/a"), Key("1")]) == "1"
    assert relocating.common([Key("1"), Key("2")]) == relocating.common([]) == ""
