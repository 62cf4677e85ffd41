"""`shoso gc`: what was named goes, all of it and nothing else, and what has changed since stays."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from sqlalchemy import Engine, event
from tests.maintenance import world
from tests.maintenance.world import FILES, World

from shoso.cli import main
from shoso.errors import TrackingError
from shoso.maintenance import plans
from shoso.maintenance.gc.account import Account
from shoso.maintenance.gc.applying import apply
from shoso.maintenance.gc.chosen import Asked
from shoso.maintenance.gc.collecting import collect
from shoso.maintenance.gc.guard import Guard
from shoso.maintenance.gc.owned import OwnedJob
from shoso.maintenance.gc.planning import plan
from shoso.maintenance.gc.trash import undo
from shoso.maintenance.plans import Item, Kept
from shoso.metadata import experiments, moves, purge, registry, runs, versions
from shoso.metadata.holdings import Kind
from shoso.metadata.moves import Move, State
from shoso.wire.registry import CreateModelVersion, CreateRegisteredModel


class Quiet:
    """Is told, and tells nobody."""

    def planned(self, number):
        pass

    def done(self, number):
        pass


@pytest.fixture(params=world.PLACES, ids="-".join)
async def estate(request, tmp_path):
    """A world of each kind."""
    opened = World(*await world.make(*request.param, tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def plain(tmp_path):
    """A world on SQLite and a folder."""
    opened = World(*await world.make("sqlite", "local", tmp_path))
    yield opened
    await opened.close()


async def planned(estate, folder, **asked):
    """The path of a plan, what goes by id, and why the rest stays."""
    folder.mkdir(exist_ok=True)
    path = folder / "plan.jsonl"
    await plan(estate.estate, Asked(**asked), path, Quiet())
    lines = [*plans.lines(path)]
    going = {line.id: line for line in lines if isinstance(line, Item)}
    return path, going, {line.id: line.reason for line in lines if isinstance(line, Kept)}


def relocate(estate, run_id, location):
    """Let the row of a run name another place."""
    with sqlite3.connect(estate.flags["backend_store_uri"].removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (location, run_id))


async def collected(estate, **asked):
    return await collect(estate.estate, Asked(**asked), Quiet())


async def applied(estate, path, trash=None):
    return await apply(estate.estate, *plans.read(path), Quiet(), trash=trash)


async def test_what_is_deleted_goes_with_rows_and_artifacts_and_nothing_else_does(estate, tmp_path):
    kept, mixed, gone = [await estate.experiment(name) for name in ("kept", "mixed", "gone")]
    stays = [await estate.run(kept), await estate.run(mixed), await estate.model(mixed)]
    before = await estate.files()
    going = [
        await estate.run(mixed),
        await estate.run(gone),
        await estate.model(mixed),
        await estate.model(gone),
    ]
    await estate.delete_run(going[0])
    await estate.delete_model(going[2])
    await estate.database.write(experiments.delete, gone)
    everything = await estate.files()
    path, found, held = await planned(estate, tmp_path)
    assert ({*found}, held) == ({*going, gone}, {})
    assert (found[going[0]].objects, found[going[0]].bytes) == (2, 5001)
    assert await estate.files() == everything  # a plan touches nothing
    done = await applied(estate, path)
    assert (done.items, done.problems, done.objects) == ({"run": 2, "model": 2, "experiment": 1}, [], 8)
    assert await estate.files() == before
    assert await estate.there(Kind.RUN, *going, *stays) == sorted(stays[:2])
    assert await estate.there(Kind.MODEL, *going, *stays) == stays[2:]
    assert await estate.there(Kind.EXPERIMENT, kept, gone) == [kept]
    again = await applied(estate, path)
    assert (again.items, again.gone, again.problems) == ({}, 5, [])


async def test_without_a_plan_the_same_goes_and_nothing_else_does(estate):
    kept, mixed, gone, full = [await estate.experiment(name) for name in ("kept", "mixed", "gone", "full")]
    stays = [await estate.run(kept), await estate.run(full), await estate.model(mixed)]
    empty = await estate.run(mixed, {})
    before = await estate.files()
    going = [await estate.run(mixed), await estate.run(gone), empty]
    models = [await estate.model(mixed), await estate.model(gone)]
    for run_id in (going[0], empty):
        await estate.delete_run(run_id)
    await estate.delete_model(models[0])
    for one in (gone, full):
        await estate.database.write(experiments.delete, one)
    await estate.database.write(runs.restore, stays[1])  # and with it, its experiment stays
    assert {*(await collected(estate, run_ids=[empty]))[0].items.items()} == {("run", 1)}
    done, held = await collected(estate)
    assert (done.items, done.problems, done.objects) == ({"run": 2, "model": 2, "experiment": 1}, [], 8)
    assert (held, await estate.files()) == (1, before)
    assert await estate.there(Kind.RUN, *going, *stays) == sorted(stays[:2])
    assert await estate.there(Kind.MODEL, *models, *stays) == stays[2:]
    assert await estate.there(Kind.EXPERIMENT, kept, gone, full) == sorted([kept, full])


async def test_without_a_plan_what_is_restored_meanwhile_stays_and_what_fails_is_named(plain, monkeypatch):
    one = await plain.experiment("one")
    gone, restored, failing = [await plain.run(one) for _ in range(3)]
    for run_id in (gone, restored, failing):
        await plain.delete_run(run_id)
    relocate(plain, failing, f"nowhere://bucket/{failing}/artifacts")
    let_go = OwnedJob._let_go

    async def late(self, kind, looked):
        await plain.database.write(runs.restore, restored)
        await let_go(self, kind, looked)

    monkeypatch.setattr(OwnedJob, "_let_go", late)
    done, _ = await collected(plain)
    assert {one.item.id: one.refused for one in done.problems} == {restored: True, failing: False}
    assert (done.items, await plain.there(Kind.RUN, gone, restored, failing)) == (
        {"run": 1},
        sorted([restored, failing]),
    )
    assert await plain.files(await plain.location(Kind.RUN, restored)) == FILES


async def test_what_has_changed_since_the_plan_stays_and_is_named(estate, tmp_path):
    one = await estate.experiment("e")
    ids = [await estate.run(one) for _ in range(6)]
    restored, again, written, replaced, registered, same = ids
    for run_id in ids:
        await estate.delete_run(run_id)
    path, *_ = await planned(estate, tmp_path)
    await estate.database.write(runs.restore, restored)
    await estate.database.write(runs.restore, again)
    await asyncio.sleep(0.01)
    await estate.delete_run(again)
    await estate.version("late", registered)
    await asyncio.sleep(1.1)  # SFTP tells times in whole seconds
    await estate.put(await estate.location(Kind.RUN, written), {"late.txt": b"late"})
    await estate.put(await estate.location(Kind.RUN, replaced), {"a.txt": b"A"})
    files = await estate.files()
    done = await applied(estate, path)
    messages = {problem.item.id: problem.message for problem in done.problems}
    assert messages == {
        restored: "it was restored since the plan was made",
        again: "it was restored, or changed, and deleted again since the plan was made",
        written: "'late.txt' was written since the plan was made",
        replaced: "'a.txt' was written since the plan was made",
        registered: "version late/1 of a registered model is made from it",
    }
    assert all(problem.refused for problem in done.problems)
    assert await estate.files() == {path: data for path, data in files.items() if same not in path}
    assert await estate.there(Kind.RUN, *ids) == sorted({*ids} - {same})


async def test_the_trash_gives_everything_back_until_its_time_is_over(estate, tmp_path, monkeypatch):
    one, gone = await estate.experiment("one"), await estate.experiment("gone")
    run_id, model, inside = await estate.run(one), await estate.model(one), await estate.run(gone)
    await estate.put(f"mlflow-artifacts:/{one}/{'0' * 32}/artifacts", {"orphan.bin": b"orphan"})
    await estate.put("mlflow-artifacts:/", {"stray.bin": b"stray"})
    await estate.delete_run(run_id)
    await estate.delete_model(model)
    await estate.database.write(experiments.delete, gone)
    before = await estate.files()
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)
    path, going, _ = await planned(estate, tmp_path, orphans=True)
    assert sorted(item.kind for item in going.values()) == [
        "experiment", "model", "orphan", "orphan", "run", "run",
    ]  # fmt: skip
    done = await applied(estate, path, trash=3600.0)
    assert (sum(done.items.values()), done.problems) == (6, [])
    assert all(key.startswith(".shoso-trash/") for key in await estate.files())
    assert (await applied(estate, path, trash=3600.0)).items == {}
    with pytest.raises(TrackingError, match="shoso gc undo"):
        await estate.database.write(runs.restore, run_id)
    _, going, held = await planned(estate, tmp_path / "again", orphans=True)
    assert (going, {*held}) == ({}, {run_id, model, inside, gone})
    plan_id = plans.read(path)[0].id
    back = await undo(estate.estate, plan_id, Quiet())
    assert (sum(back.items.values()), back.problems, await estate.files()) == (6, [], before)
    assert (await undo(estate.estate, plan_id, Quiet())).items == {}
    await estate.database.write(experiments.restore, gone)
    await estate.database.write(experiments.delete, gone)
    path, *_ = await planned(estate, tmp_path, orphans=True)
    await applied(estate, path, trash=-1.0)
    path, going, held = await planned(estate, tmp_path, orphans=True)
    assert (len(going), held) == (6, {})
    done = await applied(estate, path)
    assert (sum(done.items.values()), done.problems, await estate.files()) == (6, [], {})
    assert await estate.there(Kind.RUN, run_id, inside) == []


async def test_what_was_written_since_is_never_replaced_by_what_comes_out_of_the_trash(plain, tmp_path):
    one = await plain.experiment("one")
    copied, written = await plain.run(one), await plain.run(one)
    for run_id in (copied, written):
        await plain.delete_run(run_id)
    path, *_ = await planned(plain, tmp_path)
    await applied(plain, path, trash=3600.0)
    await plain.put(await plain.location(Kind.RUN, copied), FILES)  # by an undo that was killed in a move
    await plain.put(await plain.location(Kind.RUN, written), {"a.txt": b"A"})
    back = await undo(plain.estate, plans.read(path)[0].id, Quiet())
    assert [(one.item.id, one.refused) for one in back.problems] == [(written, True)]
    assert await plain.files(await plain.location(Kind.RUN, copied)) == FILES
    assert await plain.files(await plain.location(Kind.RUN, written)) == {"a.txt": b"A"}


async def test_only_what_is_named_is_ever_in_a_plan(plain, tmp_path):
    one, two = await plain.experiment("one"), await plain.experiment("two")
    named, other, inside, active = [await plain.run(each) for each in (one, one, two, one)]
    model, left = await plain.model(one), await plain.model(two)
    for run_id in (named, other):
        await plain.delete_run(run_id)
    await plain.delete_model(model)
    await plain.database.write(experiments.delete, two)

    async def going(**asked):
        return {*(await planned(plain, tmp_path, **asked))[1]}

    assert await going() == {named, other, inside, model, left, two}
    assert await going(run_ids=[named]) == {named}
    assert await going(model_ids=[model]) == {model}
    assert await going(experiment_ids=[two]) == {inside, left, two}
    assert await going(experiment_ids=[two], run_ids=[named]) == {inside, left, two, named}
    assert await going(older_than=60.0) == set()
    for asked, message in (
        ({"run_ids": [active]}, "is active"),
        ({"run_ids": ["no"]}, "There is no run no"),
        ({"experiment_ids": [one]}, "is active"),
        ({"experiment_ids": ["x"]}, "No experiment has such an id"),
        ({"experiment_ids": ["9" * 30]}, "No experiment has such an id"),
        ({"run_ids": [named], "older_than": 60.0}, "was deleted today, which --older-than spares"),
    ):
        with pytest.raises(TrackingError, match=message):
            await going(**asked)


async def test_what_others_need_stays(plain, tmp_path):
    one = await plain.experiment("one")
    source, outer, odd, made = [await plain.run(one) for _ in range(4)]
    await plain.version("model", source)
    model = await plain.model(one)
    location = await plain.location(Kind.MODEL, model)
    await plain.database.write(registry.create, CreateRegisteredModel("other"))
    await plain.database.write(versions.create, CreateModelVersion("other", location, made, model_id=model))
    nested = await plain.experiment("nested", f"mlflow-artifacts:/{one}/{outer}/artifacts/inner")
    inner = await plain.run(nested)
    relocate(plain, odd, "mlflow-artifacts:/")
    for run_id in (source, outer, odd, made):
        await plain.delete_run(run_id)
    _, going, held = await planned(plain, tmp_path)
    assert going == {}
    assert held == {
        source: "version model/1 of a registered model is made from it",
        made: "version other/1 of a registered model is made from it",
        outer: f"the experiment {nested} keeps its artifacts inside of it",
        odd: "its location doesn't carry its id, so others may have files there",
    }
    assert {*(await planned(plain, tmp_path, registered=True))[1]} == {source, made}
    await plain.database.write(experiments.delete, one)
    _, going, held = await planned(plain, tmp_path, experiment_ids=[one])
    assert {*going} == {model} - {*held}
    assert held[one] in {f"the run {run_id} in it stays" for run_id in (source, outer, odd, made)}
    assert await plain.files(await plain.location(Kind.RUN, inner)) == FILES


async def test_a_line_that_was_written_by_hand_deletes_nothing_else(plain, tmp_path):
    one = await plain.experiment("one")
    gone, kept = await plain.run(one), await plain.run(one)
    await plain.delete_run(gone)
    before = await plain.files()
    path, going, _ = await planned(plain, tmp_path)
    there = going[gone].location
    for location, trash in (
        (there.replace(gone, kept), ""),
        (f"{there}/sub", ""),
        ("mlflow-artifacts:/", ""),
        (f"mlflow-artifacts:/{one}/{kept}/artifacts/{gone}", ""),
        (there, "../.."),
        (there, one),
    ):
        written = replace(going[gone], location=location, trash=trash)
        done = await apply(plain.estate, plans.read(path)[0], [written], Quiet())
        assert ({**done.items}, len(done.problems)) == ({}, 1), (location, trash)
        orphan = replace(written, kind="orphan", newest=9e9)
        done = await apply(plain.estate, plans.read(path)[0], [orphan], Quiet())
        assert {**done.items} == {}, (location, trash)
    assert await plain.files() == before


async def test_what_is_being_moved_and_what_is_in_the_trash_wait_for_each_other(plain, tmp_path):
    one = await plain.experiment("one")
    run_id = await plain.run(one)
    await plain.delete_run(run_id)
    path, *_ = await planned(plain, tmp_path)
    move = Move(int(one), "mlflow-artifacts:/", "/elsewhere", "", State.COPYING, 1, "", 1, None)
    await plain.database.write(moves.begin, move)
    done = await applied(plain, path, trash=60.0)
    assert "is being moved" in done.problems[0].message
    await plain.database.write(moves.end, int(one))
    assert (await applied(plain, path, trash=60.0)).items == {"run": 1}
    with pytest.raises(TrackingError, match="shoso gc undo"):
        await plain.database.write(moves.begin, move)


async def test_an_experiment_stays_while_anything_in_it_does(plain, tmp_path):
    one = await plain.experiment("one")
    run_id, model = await plain.run(one), await plain.model(one)
    await plain.database.write(experiments.delete, one)
    await plain.database.write(runs.restore, run_id)
    _, going, held = await planned(plain, tmp_path)
    assert (going, held) == ({}, {one: f"the run {run_id} in it is active"})
    await plain.delete_run(run_id)
    path, going, _ = await planned(plain, tmp_path)
    assert {*going} == {run_id, model, one}
    await asyncio.sleep(0.01)
    await plain.put(await plain.location(Kind.RUN, run_id), {"late.txt": b"late"})
    done = await applied(plain, path)
    assert {problem.item.id: problem.message for problem in done.problems} == {
        run_id: "'late.txt' was written since the plan was made",
        one: "it was restored meanwhile, or something is in it",
    }
    assert done.items == {"model": 1}
    await plain.database.write(experiments.restore, one)
    assert (await plain.database.read(runs.get, run_id)).info.lifecycle_stage == "active"


async def test_a_plan_asks_no_more_of_the_database_for_more_deleted_experiments(plain, tmp_path):
    async def statements(more):
        for number in range(more):
            await plain.database.write(experiments.delete, await plain.experiment(f"{more} {number}"))
        asked = []
        note = lambda *of: asked.append(of[2])  # noqa: E731
        event.listen(Engine, "before_cursor_execute", note)
        _, going, _ = await planned(plain, tmp_path)
        event.remove(Engine, "before_cursor_execute", note)
        return len(going), len(asked)

    few, many = await statements(1), await statements(20)
    assert (few[0], many[0]) == (1, 21)
    assert 0 < few[1] == many[1]


async def test_an_experiment_stays_while_it_is_moved_and_isnt_moved_while_it_goes(plain, tmp_path):
    moved, gone = await plain.experiment("moved"), await plain.experiment("gone")
    for one in (moved, gone):
        await plain.database.write(experiments.delete, one)
    path, *_ = await planned(plain, tmp_path)
    await plain.database.write(moves.begin, _move(moved))
    obstacle = "it is being moved; end that first: shoso migrate finish, or rollback"
    assert (await planned(plain, tmp_path / "later"))[2] == {moved: obstacle}
    done = await applied(plain, path, trash=3600.0)
    assert {problem.item.id: problem.message for problem in done.problems} == {moved: obstacle}
    with pytest.raises(TrackingError, match="shoso gc undo"):
        await plain.database.write(moves.begin, _move(gone))


def _move(experiment):
    return Move(int(experiment), "mlflow-artifacts:/", "/elsewhere", "", State.COPYING, 1, "", 1, None)


async def test_a_run_with_more_objects_than_are_held_in_memory_goes_too(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("shoso.maintenance.gc.applying.GROUP_OBJECTS", 7)
    monkeypatch.setattr("shoso.maintenance.gc.owned.HELD", 7)
    monkeypatch.setattr("shoso.maintenance.gc.account.DELETE_BATCH", 3)
    monkeypatch.setattr("shoso.metadata.purge.POINTS", 2)
    one = await plain.experiment("one")
    ids = [await plain.run(one, {f"{at}": b"" for at in range(count)}) for count in (20, 3, 7, 8)]
    for run_id in ids:
        await plain.delete_run(run_id)
    path, *_ = await planned(plain, tmp_path)
    done = await applied(plain, path)
    assert (done.items, done.objects, await plain.files()) == ({"run": 4}, 38, {})


async def test_a_path_that_is_too_long_for_the_trash_is_refused_before_anything_is_claimed(plain, tmp_path):
    run_id = await plain.run(
        await plain.experiment("one"), {"/".join(["d" * 200] * 4) + "/" + "f" * 150: b""}
    )
    await plain.delete_run(run_id)
    path, *_ = await planned(plain, tmp_path)
    done = await applied(plain, path, trash=60.0)
    assert "too long for the trash" in done.problems[0].message
    await plain.database.write(runs.restore, run_id)


async def test_a_version_that_is_registered_while_a_plan_is_applied_keeps_its_run(
    plain, tmp_path, monkeypatch
):
    monkeypatch.setattr("shoso.maintenance.gc.owned.RENEWED", -1.0)
    one = await plain.experiment("one")
    run_id = await plain.run(one)
    await plain.delete_run(run_id)
    path, going, _ = await planned(plain, tmp_path)
    early = await Guard.of(plain.database, registered=False)
    await plain.version("late", run_id)
    job = OwnedJob(plain.estate, account := Account(plans.read(path)[0].id), early, registered=False)
    await job.run("run", [going[run_id]])
    assert [problem.item.id for problem in account.problems] == [run_id]


async def test_a_model_isnt_claimed_while_its_experiment_is_being_restored(tmp_path, monkeypatch):
    opened = World(*await world.make("postgres", "local", tmp_path))
    one = await opened.experiment("one")
    model = await opened.model(one)
    await opened.database.write(experiments.delete, one)
    path, *_ = await planned(opened, tmp_path)
    loop, marked, restoring = asyncio.get_running_loop(), purge.marked, []

    def then_restore(conn, kind, ids):
        found = marked(conn, kind, ids)
        if kind is Kind.MODEL and not restoring:
            work = opened.database.write(experiments.restore, one)
            restoring.append(asyncio.run_coroutine_threadsafe(work, loop))
            with suppress(TimeoutError):  # it waits until it is claimed, or has restored it before
                restoring[0].exception(0.5)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(purge, "marked", then_restore)
        await applied(opened, path)
    [outcome] = await asyncio.gather(asyncio.wrap_future(restoring[0]), return_exceptions=True)
    assert "is being deleted by gc" in str(outcome)
    assert await opened.there(Kind.MODEL, model) == []
    await opened.close()


async def test_a_location_that_fails_is_named_and_the_rest_goes_on(plain, tmp_path):
    good, bad = await plain.experiment("good"), await plain.experiment("bad", f"{tmp_path}/other")
    runs_ = [await plain.run(good), await plain.run(bad)]
    for run_id in runs_:
        await plain.delete_run(run_id)
    path, going, _ = await planned(plain, tmp_path)
    assert {*going} == {*runs_}
    folder = Path(await plain.location(Kind.RUN, runs_[1]))
    (folder / "sub").rename(tmp_path / "sub")
    (folder / "sub").symlink_to(tmp_path / "sub")  # nothing is deleted through a link
    done = await applied(plain, path)
    assert done.items["run"] == 1
    assert [problem.item.id for problem in done.problems] == [runs_[1]]
    assert (tmp_path / "sub/b.bin").exists()


class Line:
    """`shoso gc …` on a world."""

    def __init__(self, opened, folder):
        self.env = {
            "MLFLOW_BACKEND_STORE_URI": opened.flags["backend_store_uri"],
            "MLFLOW_ARTIFACTS_DESTINATION": opened.flags["artifacts_destination"],
        }
        self.folder = folder

    def __call__(self, *arguments, code=0):
        command = [str(Path(sys.executable).with_name("shoso")), "gc", *map(str, arguments)]
        done = subprocess.run(
            command, env=self.env, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        self.told = done.stderr
        return done.stdout or done.stderr


async def test_the_command_line_plans_looks_and_applies(plain, tmp_path):
    line = Line(plain, tmp_path)
    one = await plain.experiment("one")
    first, second, third = [await plain.run(one) for _ in range(3)]
    await plain.delete_run(first)
    text = line("plan", "-o", "p.jsonl")
    assert "deleted today" in text
    assert "1 run would go: 2 objects (4.9 KiB)." in text
    assert "1 run went for good (2 objects, 4.9 KiB)" in line("apply", "p.jsonl")
    assert "Nothing went for good (0 objects, 0 B)" in line("apply", "p.jsonl")
    for run_id in (second, third):
        await plain.delete_run(run_id)
    done = json.loads(line("--older-than", "0d0s", "--run-ids", f"{second},", "--json"))  # as mlflow gc's
    assert (done["items"], done["stayed"]) == ({"run": 1}, 0)
    whole = (tmp_path / "p.jsonl").read_text()
    (tmp_path / "p.jsonl").write_text(whole.partition("\n")[2])  # as `grep` leaves it, of a plan by ids
    assert "by its first line, which must stay in it" in line("apply", "p.jsonl", code=1)
    assert "q.jsonl: No such file" in line("undo", "q.jsonl", code=1)
    assert "Nothing in the trash is of a plan" in line("undo", "0123456789ab")
    (tmp_path / "p.jsonl").write_text(whole[:-40])
    assert "is no line of a plan" in line("apply", "p.jsonl", code=1)
    assert "write it like 30d" in line("--older-than", "soon", code=2)
    assert "write it like 30d" in line("--trash", f"{'9' * 12}d", code=2)  # no database has room for that
    assert "no id is named" in line("--run-ids", "", code=2)  # as a script says it whose variable is empty
    assert "Shoso has no workspaces" in line("--all-workspaces", code=2)
    assert await plain.there(Kind.RUN, first, second, third) == [third]
    both = "--run-ids", f"{second},{third}", "--yes"  # again, after what was killed in between
    plan_ = line("plan", *both[:2])
    assert re.search(f"run +{second} .* stays +it isn't there", plan_), plan_
    assert "1 run went for good" in line(*both)
    assert f"There is no run {second}, or not any more." in line.told
    assert await plain.there(Kind.RUN, first, second, third) == []
    assert f"There is no run {second}." in line(*both, code=1)  # as mlflow gc
    two = await plain.experiment("two")
    await plain.database.write(experiments.delete, two)
    assert "make sure that the storage" not in line("plan", "--experiment-ids", two)


@pytest.mark.parametrize(
    "words",
    ["gc --trash 7d apply p.jsonl", "gc --run-ids x plan", "gc -y undo x", "migrate --dry-run finish",
     "migrate -x 1 rollback"],
)  # fmt: skip
def test_an_option_in_front_of_a_subcommand_is_refused_and_not_left_out(words):
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 2, done.output
    assert re.search(r"(--\w+\S*) in front of '(\w+)' isn't heeded; .* shoso \w+ \2 \1", done.output), (
        done.output
    )


def test_on_a_terminal_nothing_goes_before_the_plan_was_looked_at(tmp_path, monkeypatch):
    async def begun():
        opened = World(*await world.make("sqlite", "local", tmp_path))
        await opened.delete_run(await opened.run(await opened.experiment("one")))
        await opened.close()
        return opened.flags

    flags = asyncio.run(begun())
    monkeypatch.setattr("shoso.cli.collected._is_terminal", lambda: True)
    for name in [name for name in os.environ if name.startswith(("SHOSO_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    command = ["gc", "--backend-store-uri", flags["backend_store_uri"]]
    command += ["--artifacts-destination", flags["artifacts_destination"]]
    refused = CliRunner().invoke(main, command, input="n\n")
    assert (refused.exit_code, "Nothing was deleted" in refused.output) == (1, True), refused.output
    agreed = CliRunner().invoke(main, command, input="y\n")
    assert "1 run went for good" in agreed.output
