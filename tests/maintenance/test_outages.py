"""A storage that is down, or a folder that isn't mounted: nothing is lost, or taken for missing."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pytest
from tests.maintenance import outages, world
from tests.maintenance.outages import Outage
from tests.maintenance.verbs import Quiet
from tests.maintenance.world import ROOT, World
from tests.servers import sshd
from tests.servers.processes import Launcher

from shoso.maintenance import plans
from shoso.maintenance.gc import planning
from shoso.maintenance.gc.applying import apply
from shoso.maintenance.gc.chosen import Asked as Chosen
from shoso.maintenance.gc.collecting import collect
from shoso.maintenance.gc.trash import undo
from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Asked
from shoso.metadata.holdings import Kind


async def test_an_sftp_server_that_goes_away_loses_nothing_and_reruns_finish(tmp_path, monkeypatch):
    outages.impatient(monkeypatch)
    with TemporaryDirectory(prefix="own-") as folder:
        launcher = Launcher("sshd", Path(folder))
        facts = sshd.start(launcher)
        where = f"127.0.0.1:{facts['port']}"
        flags = await world.database("sqlite", tmp_path)
        flags |= {"artifacts_destination": f"sftp://{where}{mkdtemp(dir=facts['data'])}/root"}
        opened = World(flags, {"SHOSO_SFTP_CONFIG": facts["config"], "SHOSO_STATE": str(tmp_path / "state")})

        def down() -> None:
            sshd.kill(launcher)

        def up() -> None:
            sshd.start(launcher, port=facts["port"])

        outage = Outage(opened, tmp_path, where, down, up)
        await outage.fill()
        for trash in (60, None):
            await outage.is_interrupted(trash)
        for source, to in ((ROOT, str(tmp_path / "there")), (str(tmp_path / "there"), ROOT)):
            await outage.is_left(monkeypatch, source, to)
        await outage.is_right()
        await opened.close()
        down()


@pytest.mark.parametrize("unmounted", ["gone", "empty"])
async def test_a_folder_that_isnt_mounted_is_named_and_nothing_is_taken_for_missing(unmounted, tmp_path):
    root, aside = tmp_path / "artifacts", tmp_path / "mounted elsewhere"
    root.mkdir()
    flags = await world.database("sqlite", tmp_path) | {"artifacts_destination": str(root)}
    opened = World(flags, {"SHOSO_STATE": str(tmp_path / "state")})
    outage = Outage(opened, tmp_path, str(root), lambda: None, lambda: None)
    await outage.fill()
    before = await opened.files()
    await opened.close()
    root.rename(aside)
    if unmounted == "empty":
        root.mkdir()
    opened = outage.world = World(flags, opened.environment)
    await outage.is_refused()
    assert not root.exists() or not [*root.iterdir()]
    if unmounted == "empty":
        root.rmdir()
    aside.rename(root)
    await outage.is_right()
    assert await opened.files() == before
    await opened.close()


async def test_a_folder_that_may_not_be_read_is_named_and_nothing_is_taken_for_missing(tmp_path):
    (tmp_path / "artifacts").mkdir()
    flags = await world.database("sqlite", tmp_path)
    flags |= {"artifacts_destination": str(tmp_path / "artifacts")}
    opened = World(flags, {"SHOSO_STATE": str(tmp_path / "state")})
    outage = Outage(opened, tmp_path, "", lambda: None, lambda: None)
    if os.geteuid() == 0:  # who may read everything
        outage.before = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    await outage.fill()
    before, locked = await opened.files(), tmp_path / "artifacts/1"
    locked.chmod(0)
    for words, named in ((("gc", "apply", str(outage.plans[0])), "'1/"), (("fsck",), "'1'")):
        code, said = await outage.command(*words)
        assert (code, named in said, "may not be touched" in said) == (1, True, True), said
        assert "It was stored" not in said
    locked.chmod(0o755)
    await outage.is_right()
    assert await opened.files() == before
    await opened.close()


async def test_the_end_of_a_move_waits_for_both_folders_to_be_mounted(tmp_path):
    flags = await world.database("sqlite", tmp_path)
    flags |= {"artifacts_destination": str(tmp_path / "artifacts")}
    (tmp_path / "artifacts").mkdir()
    opened = World(flags, {"SHOSO_STATE": str(tmp_path / "state")})
    near, there = tmp_path / "near", tmp_path / "there"
    run = await opened.run(await opened.experiment("one", str(near)))
    asked = Asked(str(near), str(there))
    assert (await migration.migrate(opened.estate, asked)).failed == 0
    before = await opened.files(str(near))
    await opened.close()
    for end in (migration.finish, migration.rollback):
        for folder, empty in ((there, False), (there, True), (near, False)):
            opened = World(flags, opened.environment)
            folder.rename(aside := tmp_path / "aside")
            if empty:
                folder.mkdir()
            refused = await end(opened.estate, [], running=True)
            assert (folder.exists(), [*folder.glob("*")]) == (empty, [])
            if empty:
                folder.rmdir()
            aside.rename(folder)
            assert f"'{folder}' is" in refused.stopped
            assert [await opened.files(str(each)) for each in (near, there)] == [before, before]
            await opened.close()
    opened = World(flags, opened.environment)
    await opened.delete_run(run)
    there.rename(tmp_path / "aside")
    collected, _ = await collect(opened.estate, Chosen(), Quiet())
    [problem] = collected.problems
    assert str(there) in problem.message
    assert not there.exists()
    (tmp_path / "aside").rename(there)
    assert (await collect(opened.estate, Chosen(), Quiet()))[0].problems == []
    await opened.close()


async def test_folders_that_went_with_what_was_in_them_keep_nobody_waiting(tmp_path):
    """Below a root that is named, and there: what was deleted last took its folders along."""
    root = tmp_path / "data"
    flags = await world.database("sqlite", tmp_path) | {"allow_artifact_root": (str(root),)}
    flags |= {"serve_artifacts": False}
    (root / "other").mkdir(parents=True)
    opened = World(flags, {"SHOSO_STATE": str(tmp_path / "state")})
    one = await opened.experiment("one", str(root / "one"))
    full, empty = await opened.run(one), await opened.run(one, {})
    for run in (full, empty):
        await opened.delete_run(run)
        assert (await collect(opened.estate, Chosen(), Quiet()))[0].problems == []
        assert not (root / "one").exists()
    assert await opened.there(Kind.RUN, full, empty) == []
    two = await opened.experiment("two", str(root / "two"))
    await opened.run(two, {})
    (root / "two").mkdir()
    moved = await migration.migrate(opened.estate, Asked(str(root / "two"), str(root / "three")))
    (root / "two").rmdir()
    assert (moved.failed, (root / "three").exists()) == (0, False)
    ended = await migration.finish(opened.estate, [], running=True)
    assert (ended.failed, ended.stopped) == (0, "")
    await opened.close()


async def test_the_trash_of_a_folder_that_isnt_mounted_makes_it_not(tmp_path):
    near, aside = tmp_path / "near", tmp_path / "aside"
    flags = await world.database("sqlite", tmp_path) | {"serve_artifacts": False}
    opened = World(flags, {})
    one = await opened.experiment("one", str(near))
    first, second = [await opened.run(one) for _ in range(2)]
    before = await opened.files(str(near))
    await opened.delete_run(first)
    await planning.plan(opened.estate, Chosen(), tmp_path / "plan", Quiet())
    plan, items = plans.read(tmp_path / "plan")
    assert (await apply(opened.estate, plan, items, Quiet(), trash=60)).problems == []
    await opened.close()
    near.rename(aside)
    opened = World(flags, {})
    await opened.delete_run(second)
    await undo(opened.estate, plan.id, Quiet())
    collected, _ = await collect(opened.estate, Chosen(), Quiet())
    assert str(near) in collected.problems[0].message
    assert not near.exists()
    await opened.close()
    aside.rename(near)
    opened = World(flags, {})
    await undo(opened.estate, plan.id, Quiet())
    assert await opened.files(str(near)) == before
    assert await opened.there(Kind.RUN, first, second) == sorted([first, second])
    await opened.close()
