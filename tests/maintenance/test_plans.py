"""Plans that aren't as they were made: of another database, for another storage, with lines by hand."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from tests.maintenance import world
from tests.maintenance.test_gc import Line, Quiet, applied, planned
from tests.maintenance.world import FILES, World

from shoso.core.locations import parse
from shoso.errors import ConfigError
from shoso.layers.check import Check
from shoso.maintenance import plans
from shoso.maintenance.gc.applying import apply
from shoso.maintenance.gc.guard import IMPORTED
from shoso.maintenance.gc.owned import _portions
from shoso.maintenance.gc.trash import undo
from shoso.metadata import claims, import_models, imported, imports, runs
from shoso.metadata.holdings import Kind
from shoso.server.locations import proxied
from shoso.wire.imports import ImportedModel, ImportedRun


@pytest.fixture
async def plain(tmp_path):
    """A world on SQLite and a folder."""
    opened = World(*await world.make("sqlite", "local", tmp_path))
    yield opened
    await opened.close()


async def deleted(estate, location=""):
    """A run that is marked deleted."""
    run_id = await estate.run(await estate.experiment(f"e{location}", location))
    await estate.delete_run(run_id)
    return run_id


async def test_a_plan_of_another_database_is_refused(plain, tmp_path):
    (tmp_path / "artifacts/stray.bin").write_text("stray")
    path, *_ = await planned(plain, tmp_path / "plan", orphans=True)
    (tmp_path / "other").mkdir()
    other = World(*await world.make("sqlite", "local", tmp_path / "other"))
    try:
        with pytest.raises(ConfigError, match="isn't the database of the plan"):
            await applied(other, path)
    finally:
        await other.close()


@pytest.mark.parametrize(
    "line", ['"kind":"volume","id":"1"', '"kind":"experiment","id":"x"', '"kind":"run","id":""']
)
async def test_a_line_of_what_there_isnt_is_refused_before_anything_goes(plain, tmp_path, line):
    run_id = await deleted(plain)
    path, *_ = await planned(plain, tmp_path / "plan")
    with path.open("a") as file:
        file.write(f'{{"type":"item",{line},"reason":"","location":"mlflow-artifacts:/"}}\n')
    assert "line 4 is no line of a plan" in Line(plain, tmp_path)("apply", str(path), code=1)
    assert await plain.there(Kind.RUN, run_id) == [run_id]


async def test_lines_may_be_mixed_and_be_there_twice(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)
    run_id = await deleted(plain)
    (tmp_path / "artifacts/stray.bin").write_text("stray")
    path, *_ = await planned(plain, tmp_path / "plan", orphans=True)
    head, run, stray, total = path.read_text().splitlines()
    other = run.replace('"name":"', '"name":"another ')
    path.write_text(f"{head}\n{stray}\n{run}\n{run}\n{other}\n{total}\n")
    done = await applied(plain, path)
    assert (done.items, done.gone) == ({"orphan": 1, "run": 1}, 0)
    assert [one.message for one in done.problems] == [
        "another line of the plan has it, too, and says otherwise"
    ]
    assert await plain.there(Kind.RUN, run_id) == []


async def test_a_folder_that_another_row_names_stays(plain, tmp_path):
    run_id, alone = await deleted(plain), await deleted(plain, "mlflow-artifacts:/alone")
    one = await plain.experiment("active")
    model, other = await plain.model(one), await plain.run(one)
    shared = await plain.location(Kind.RUN, run_id)
    with sqlite3.connect(plain.flags["backend_store_uri"].removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (f"{shared}/sub", other))
    _, going, held = await planned(plain, tmp_path / "plan")
    assert ({*going}, held) == ({alone}, {run_id: f"{other} is recorded to have its artifacts there, too"})
    with sqlite3.connect(plain.flags["backend_store_uri"].removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE runs SET artifact_uri = '/x' WHERE run_uuid = ?", (other,))
        connection.execute("UPDATE logged_models SET artifact_location = ?", (shared,))
    _, going, held = await planned(plain, tmp_path / "plan")
    assert ({*going}, held) == ({alone}, {run_id: f"{model} is recorded to have its artifacts there, too"})


async def test_a_storage_that_cant_move_objects_leaves_no_claim(plain, tmp_path, monkeypatch):
    """Such a storage is MLflow's server; here only what a folder says of itself is another one's."""
    run_id = await deleted(plain)
    (tmp_path / "artifacts/stray.bin").write_text("stray")
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)
    path, *_ = await planned(plain, tmp_path / "plan", orphans=True)
    able = (await plain.estate.place("mlflow-artifacts:/")).store.capabilities
    unable = property(lambda _: replace(able, move=False))
    with monkeypatch.context() as patch:
        patch.setattr(Check, "capabilities", unable)
        done = await applied(plain, path, trash=60.0)
    assert [("can't move" in one.message, one.refused) for one in done.problems] == [(True, False)] * 2
    for kind in ("run", "orphan"):
        assert await plain.database.read(claims.page, kind) == []
    await plain.database.write(runs.restore, run_id)


async def test_what_is_deleted_from_the_trash_isnt_brought_back_half(plain, tmp_path):
    run_id = await deleted(plain)
    first, *_ = await planned(plain, tmp_path / "first")
    await applied(plain, first, trash=-1.0)
    over, going, _ = await planned(plain, tmp_path / "over")
    assert {*going} == {run_id}
    claim = (await plain.database.read(claims.known, "run", [run_id]))[run_id]
    assert await plain.database.write(claims.take, claim, plans.read(over)[0].id)  # as its apply does it
    assert not await plain.database.write(claims.keep, claim)
    assert (await applied(plain, over)).items == {"run": 1}


async def test_what_undo_has_begun_to_bring_back_isnt_deleted(plain, tmp_path):
    run_id = await deleted(plain)
    first, *_ = await planned(plain, tmp_path / "first")
    await applied(plain, first, trash=-1.0)
    over, *_ = await planned(plain, tmp_path / "over")
    claim = (await plain.database.read(claims.known, "run", [run_id]))[run_id]
    assert await plain.database.write(claims.keep, claim)  # as undo does it
    assert [one.refused for one in (await applied(plain, over)).problems] == [True]
    assert (await undo(plain.estate, plans.read(first)[0].id, Quiet())).objects == 2
    await plain.database.write(runs.restore, run_id)


async def test_in_one_command_what_cant_be_looked_at_is_named_too(plain, tmp_path):
    good, bad = await deleted(plain), await deleted(plain, f"{tmp_path}/other")
    source = await deleted(plain, "mlflow-artifacts:/source")
    await plain.version("model", source)
    shutil.rmtree(tmp_path / "other")
    (tmp_path / "other").write_text("no folder")
    text = Line(plain, tmp_path)("--json", code=1)
    assert f'"id": "{bad}"' in text, text
    assert '"run": 1' in text
    assert await plain.there(Kind.RUN, good, bad, source) == sorted([bad, source])


def test_runs_with_many_points_go_in_transactions_of_their_own(monkeypatch):
    monkeypatch.setattr("shoso.metadata.purge.POINTS", 10)
    points = {"a": 4, "b": 6, "c": 1, "d": 99, "e": 0}
    assert [*_portions([*"abcdef"], points)] == [["a", "b"], ["c"], ["d"], ["e", "f"]]


async def test_locations_are_read_as_whoever_opens_them_reads_them(plain, tmp_path):
    coded, up = await deleted(plain), await deleted(plain, "mlflow-artifacts:/up")
    inside = (await plain.location(Kind.RUN, coded)).removeprefix("mlflow-artifacts:/").replace("/", "%2F")
    hidden = await plain.experiment("hidden", f"mlflow-artifacts:/{inside}/inner")
    needed = await plain.run(hidden)
    await plain.put(await plain.location(Kind.RUN, coded), {"more.txt": b"more"})
    assert len(await plain.files(await plain.location(Kind.RUN, coded))) == 5  # its own, and the other's
    with sqlite3.connect(plain.flags["backend_store_uri"].removeprefix("sqlite:///")) as connection:
        update = "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?"
        connection.execute(update, (f"{tmp_path.as_uri()}/{up}/%2E%2E/artifacts", up))
    _, going, held = await planned(plain, tmp_path / "plan")
    assert (going, held) == (
        {},
        {
            coded: f"the experiment {hidden} keeps its artifacts inside of it",
            up: "its location doesn't carry its id, so others may have files there",
        },
    )
    assert await plain.there(Kind.RUN, needed) == [needed]


async def test_an_imported_run_takes_nothing_with_it_but_a_folder_of_its_own(plain, tmp_path):
    folder = await plain.location(Kind.RUN, await plain.run(await plain.experiment("victim")))
    made, before = int(await plain.experiment("made")), await plain.files()
    (tmp_path / "home").mkdir()
    (tmp_path / "home/precious.txt").write_text("precious")
    places = {
        "artifacts": folder,
        "home": f"{tmp_path}/home",
        "a" * 32: f"{folder}?/{'a' * 32}/artifacts",
        "b" * 32: f"mlflow-artifacts://{'b' * 32}/artifacts",
        "c" * 32: f"{folder}#{'c' * 32}/artifacts",
        "d" * 32: f"s3://[/{'d' * 32}/artifacts",
    }
    rows = [
        ImportedRun(id_, made, artifact_uri=place, lifecycle_stage="deleted", deleted_time=1)
        for id_, place in places.items()
    ]
    await plain.database.write(imports.add_runs, rows)
    path, going, held = await planned(plain, tmp_path / "plan")
    assert ({*going}, {*held}) == (set(), {*places})
    await applied(plain, path)
    assert (await plain.files(), (tmp_path / "home/precious.txt").exists()) == (before, True)


async def test_what_was_imported_goes_only_when_asked_for_while_its_artifacts_are_where_they_were(
    plain, tmp_path
):
    made = int(await plain.experiment("made"))
    ids = ["a" * 32, "b" * 32, "c" * 32]
    rows = [
        ImportedRun(id_, made, artifact_uri=f"mlflow-artifacts:/7/{id_}/artifacts", stays=id_ != ids[2])
        for id_ in ids
    ]
    await plain.database.write(imports.add_runs, rows)
    id_ = "m-" + "d" * 32
    model = ImportedModel(id_, made, "net", f"mlflow-artifacts:/7/models/{id_}/artifacts", stays=True)
    await plain.database.write(import_models.add_model, model)
    for row in rows:
        await plain.put(row.artifact_uri, FILES)
        await plain.delete_run(row.run_id)
    await plain.delete_model(model.model_id)
    before = await plain.files()
    path, going, held = await planned(plain, tmp_path / "plan")
    assert ({*going}, held) == ({ids[2]}, dict.fromkeys([*ids[:2], model.model_id], IMPORTED))
    by_id, named, _ = await planned(plain, tmp_path / "named", run_ids=[ids[0]])
    done = await apply(plain.estate, plans.read(path)[0], [named[ids[0]]], Quiet())  # a line by hand
    assert [problem.message for problem in done.problems] == [IMPORTED]
    assert await plain.files() == before
    assert (await applied(plain, by_id, trash=-1.0)).items == {"run": 1}
    everything, going, _ = await planned(plain, tmp_path / "all", imported=True)
    assert {*going} == {*ids, model.model_id}
    assert (await applied(plain, everything)).problems == []
    places = [(row.run_id, row.artifact_uri) for row in rows]
    assert await plain.database.read(imported.among, "run", places) == set()


@pytest.mark.parametrize("storage", ["local", "sftp"])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_run_whose_folder_is_a_link_stays_with_what_it_leads_to(tmp_path, storage, whole):
    """`mlflow gc` fails there, too: shutil.rmtree refuses a link."""
    opened = World(*await world.make("sqlite", storage, tmp_path))
    try:
        run_id = await deleted(opened)
        path, *_ = await planned(opened, tmp_path / "before")
        location = proxied(await opened.location(Kind.RUN, run_id))
        folder = Path("/", parse(opened.flags["artifacts_destination"]).folder, location)
        linked = folder.parent if whole else folder
        shutil.move(linked, tmp_path / "kept")
        linked.symlink_to(tmp_path / "kept")
        await opened.close()
        opened = World(opened.flags, opened.environment)  # one that doesn't know the folder
        _, going, held = await planned(opened, tmp_path / "plan")
        assert going == {}
        assert "leads through a symbolic link; move the files, or mount the folder" in held[run_id]
        done = await applied(opened, path)
        assert ([*done.items], "symbolic link" in done.problems[0].message) == ([], True)
        assert len([*(tmp_path / "kept").rglob("*.*")]) == 2
        assert await opened.there(Kind.RUN, run_id) == [run_id]
    finally:
        await opened.close()
