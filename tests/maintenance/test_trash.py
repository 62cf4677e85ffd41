"""The trash is found again by whatever settings; what isn't found there is never taken for gone."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner
from sqlalchemy import update
from tests.e2e.servers import Server
from tests.maintenance import world
from tests.maintenance.test_gc import Quiet, applied, planned
from tests.maintenance.world import FILES, World

from shoso.cli import main
from shoso.maintenance import plans
from shoso.maintenance.gc import litter, owned
from shoso.maintenance.gc.trash import undo
from shoso.metadata import claims, runs
from shoso.metadata.holdings import Kind
from shoso.metadata.own import claims as table


@pytest.fixture
async def plain(tmp_path):
    """A world on SQLite and a folder."""
    opened = World(*await world.make("sqlite", "local", tmp_path))
    yield opened
    await opened.close()


@asynccontextmanager
async def seen(opened, **flags):
    """The same world by other settings; None leaves one out."""
    changed = {name: value for name, value in {**opened.flags, **flags}.items() if value is not None}
    other = World(changed, {})
    yield other
    await other.close()


async def shelved(opened, folder, location="", trash=3600.0):
    """A run whose artifacts are in the trash, and the plan's path."""
    run_id = await opened.run(await opened.experiment(folder.name, location))
    await opened.delete_run(run_id)
    path, *_ = await planned(opened, folder, run_ids=[run_id])
    assert (await applied(opened, path, trash=trash)).items == {"run": 1}
    return run_id, path


async def undone(opened, path, **asked):
    return await undo(opened.estate, plans.read(path)[0].id, Quiet(), **asked)


@pytest.mark.parametrize("first", ["outside", "inside"])
async def test_other_roots_find_what_was_moved_from_a_folder_of_its_own(plain, tmp_path, first):
    folder = tmp_path / "own/direct"
    async with seen(plain, allow_artifact_root=(str(tmp_path / "own"),)) as inside:
        here, there = (plain, inside) if first == "outside" else (inside, plain)
        folder.mkdir(parents=True)
        run_id, path = await shelved(here, tmp_path / "back", str(folder))
        location = await plain.location(Kind.RUN, run_id)
        assert await plain.files(location) == {}
        assert (await undone(there, path)).objects == 2
        assert await plain.files(location) == FILES
        run_id, _ = await shelved(here, tmp_path / "over", f"file://{folder}", trash=-1.0)
        over, going, _ = await planned(there, tmp_path / "later", run_ids=[run_id])
        assert going[run_id].objects == 2
        assert (await applied(there, over)).objects == 2
        assert [*(tmp_path / "own").rglob("b.bin")] == [(folder / location.split("direct/")[1] / "sub/b.bin")]


async def test_what_isnt_found_in_the_trash_stays_there_and_the_setting_is_named(plain, tmp_path):
    run_id, path = await shelved(plain, tmp_path / "first")
    late, _ = await shelved(plain, tmp_path / "second", trash=-1.0)
    (tmp_path / "other").mkdir()
    async with seen(plain, artifacts_destination=str(tmp_path / "other")) as wrong:
        [problem] = (await undone(wrong, path)).problems
        assert problem.message.startswith("2 of its 2 objects aren't in mlflow-artifacts:/.shoso-trash/")
        assert "--artifacts-destination" in problem.message
        over, *_ = await planned(wrong, tmp_path / "over", run_ids=[late])
        [problem] = (await applied(wrong, over)).problems
        assert "2 of its 2 objects aren't in" in problem.message
    (aside,) = (tmp_path / "artifacts/.shoso-trash").glob(f"{plans.read(path)[0].id}/**/a.txt")
    aside.unlink()
    assert "1 of its 2 objects" in (await undone(plain, path)).problems[0].message
    variables = {name: None for name in os.environ if name.startswith(("MLFLOW_", "SHOSO_"))}
    variables |= {f"MLFLOW_{name.upper()}": value for name, value in plain.flags.items()}
    runner = CliRunner(env=variables)
    assert runner.invoke(main, ["gc", "undo", str(path)]).exit_code == 1
    told = runner.invoke(main, ["gc", "undo", str(path), "--missing-ok"])
    assert "1 run came back (0 objects" in told.output
    assert await plain.files(await plain.location(Kind.RUN, run_id)) == {"sub/b.bin": FILES["sub/b.bin"]}
    await plain.database.write(runs.restore, run_id)
    over, *_ = await planned(plain, tmp_path / "over", run_ids=[late])
    assert (await applied(plain, over)).objects == 2


async def test_the_trash_is_found_through_a_server_too(tmp_path):
    server = Server(tmp_path).start()
    flags = {"backend_store_uri": server.database, "artifacts_destination": str(server.artifacts)}
    opened = World(flags, {})
    try:
        run_id, path = await shelved(opened, tmp_path / "there")
        late, _ = await shelved(opened, tmp_path / "over", trash=-1.0)
        async with seen(opened, artifacts_destination=None, tracking_uri=server.uri) as behind:
            assert (await undone(behind, path)).objects == 2
            assert await opened.files(await opened.location(Kind.RUN, run_id)) == FILES
            over, *_ = await planned(behind, tmp_path / "later", run_ids=[late])
            assert (await applied(behind, over)).objects == 2
            back, path = await shelved(behind, tmp_path / "back")
        assert (await undone(opened, path)).objects == 2
        assert await opened.files(await opened.location(Kind.RUN, back)) == FILES
    finally:
        await opened.close()
        server.stop()


async def test_what_is_in_the_trash_since_roots_were_not_written_down_is_found_too(plain, tmp_path):
    def older(conn):
        conn.execute(update(table).values(trash=".shoso-trash/" + table.c.plan, objects=None))

    run_id, path = await shelved(plain, tmp_path / "back")
    late, _ = await shelved(plain, tmp_path / "over", trash=-1.0)
    await plain.database.write(older)
    assert (await undone(plain, path)).objects == 2
    assert await plain.files(await plain.location(Kind.RUN, run_id)) == FILES
    over, *_ = await planned(plain, tmp_path / "later", run_ids=[late])
    assert (await applied(plain, over)).objects == 2
    assert [*(tmp_path / "artifacts").rglob("b.bin")] == [
        *(tmp_path / "artifacts").rglob(f"{run_id}/**/b.bin")
    ]


@pytest.mark.parametrize("restored", [False, True])
async def test_undo_of_a_plan_that_is_still_applied_loses_nothing(plain, tmp_path, monkeypatch, restored):
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)
    run_id = await plain.run(await plain.experiment("one"))
    await plain.delete_run(run_id)
    await plain.put("mlflow-artifacts:/", {"stray.bin": b"stray"})
    path, *_ = await planned(plain, tmp_path / "plan", orphans=True)
    before, passed = await plain.files(), []

    def late(whole):
        async def removed(store, found, folder):
            passed.append(await undone(plain, path))  # finds all of it where it was
            if restored and len(passed) == 1:
                await plain.database.write(runs.restore, run_id)
            await whole(store, found, folder)

        return removed

    with monkeypatch.context() as patch:
        patch.setattr(owned, "remove", late(owned.remove))
        patch.setattr(litter, "remove_each", late(litter.remove_each))
        done = await applied(plain, path, trash=3600.0)
    assert [one.item.id for one in done.problems] == [run_id] * restored
    assert "stray.bin" not in await plain.files()
    assert (await undone(plain, path)).items == {"orphan": 1}  # the run is back by the second one
    assert [one.problems for one in passed] == [[], []]
    assert await plain.files() == before


async def test_what_comes_to_the_trash_while_undo_is_at_it_is_claimed_still(plain, tmp_path, monkeypatch):
    run_id, path = await shelved(plain, tmp_path / "back")
    [claim] = await plain.database.read(claims.page, "run")

    async def shelve(*_):
        await plain.database.write(claims.shelve, [claim], claim.until)

    with monkeypatch.context() as patch:
        patch.setattr("shoso.maintenance.gc.trash._require_all", shelve)
        [problem] = (await undone(plain, path)).problems
    assert "undo again" in problem.message
    assert (await undone(plain, path)).items == {"run": 1}
    await plain.database.write(runs.restore, run_id)


class _Died(Exception):
    pass


@pytest.mark.parametrize("moved", [1, 2])
@pytest.mark.parametrize("trash", [None, 3600.0])
async def test_orphans_that_were_moved_by_half_are_taken_up_by_a_later_plan(
    plain, tmp_path, monkeypatch, moved, trash
):
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)
    monkeypatch.setattr(claims, "DAY", -60_000)
    await plain.put(f"mlflow-artifacts:/0/{'0' * 32}/artifacts", FILES)
    path, *_ = await planned(plain, tmp_path / "first", orphans=True)
    whole = litter.remove_each

    async def dying(store, found, folder):
        some = [key async for key in found]

        async def first():
            for key in some[:moved]:
                yield key

        await whole(store, first(), folder)
        raise _Died

    with monkeypatch.context() as patch:
        patch.setattr(litter, "remove_each", dying)
        with pytest.raises((_Died, BaseExceptionGroup)):
            await applied(plain, path, trash=3600.0)
    later, going, _ = await planned(plain, tmp_path / "later", orphans=True)
    first, *rest = sorted(going.values(), key=lambda item: not item.trash)
    assert (first.objects, [item.objects for item in rest]) == (moved, [2 - moved] * (moved == 1))
    assert first.reason == f"left on the way to the trash by plan {plans.read(path)[0].id}"
    done = await applied(plain, later, trash=trash)
    assert (done.problems, done.objects) == ([], 2)
    assert (await planned(plain, tmp_path / "none", orphans=True))[1] == {}
    left = await plain.database.read(claims.page, "orphan")
    assert len(left) == (len(going) if trash else 0)
    if trash:
        assert (await undone(plain, path)).objects == moved
        assert (await undone(plain, later)).objects == 2 - moved
        assert len(await plain.files()) == 2


async def test_the_same_plan_ends_what_had_all_been_moved(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)
    await plain.put("mlflow-artifacts:/", {"stray.bin": b"stray"})
    path, *_ = await planned(plain, tmp_path, orphans=True)
    await applied(plain, path, trash=-1.0)
    [claim] = await plain.database.read(claims.page, "orphan")
    await plain.database.write(claims.release, "orphan", [claim.id])
    await plain.database.write(claims.add, [claim._replace(until=None)])  # as it was before the last step
    await applied(plain, path, trash=-1.0)
    over, going, _ = await planned(plain, tmp_path, orphans=True)
    assert [item.reason for item in going.values()] == ["in the trash for its time"]
    assert (await applied(plain, over)).objects == 1
    assert await plain.files() == {}
