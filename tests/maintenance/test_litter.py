"""`shoso gc --orphans`: what is named goes, under that very name, and the trash gives back what it has."""

from __future__ import annotations

import os
import time

import pytest
from tests.maintenance import world
from tests.maintenance.test_gc import Quiet, applied, planned
from tests.maintenance.world import World
from tests.servers import mlflowd

from shoso.core.amounts import age, as_age
from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.maintenance import plans
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.trash import undo
from shoso.maintenance.inventory import UNDATED, Inventory


@pytest.fixture(autouse=True)
def _young(monkeypatch):
    """What was written just now is old enough."""
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", -60.0)


@pytest.fixture
async def plain(tmp_path):
    """A world on SQLite and a folder."""
    opened = World(*await world.make("sqlite", "local", tmp_path))
    yield opened
    await opened.close()


def take_out(path, *words):
    """Take the lines with these words out of a plan."""
    left = [line for line in path.read_text().splitlines() if not any(word in line for word in words)]
    path.write_text("\n".join(left) + "\n")


async def undone(estate, path):
    return await undo(estate.estate, plans.read(path)[0].id, Quiet())


def found(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.bin"))


async def test_a_name_that_reads_like_another_ones_location_is_not_taken_for_it(plain, tmp_path):
    root = tmp_path / "artifacts"
    (root / "a").mkdir()
    for name in ("a%2Fb.bin", "a/b.bin", "c.bin?d.bin", "c.bin"):
        (root / name).write_bytes(b"x")
        os.utime(root / name, (1e9, 1e9))
    path, *_ = await planned(plain, tmp_path / "plan", orphans=True)
    take_out(path, ":/a/b.bin", ':/c.bin"')
    done = await applied(plain, path, trash=60.0)
    assert (done.items, done.problems) == ({"orphan": 2}, [])
    assert [name for name in found(root) if "trash" not in name] == ["a/b.bin", "c.bin"]
    assert (await undone(plain, path)).objects == 2
    assert found(root) == ["a%2Fb.bin", "a/b.bin", "c.bin", "c.bin?d.bin"]


async def test_what_no_storage_tells_the_age_of_is_never_taken_for_old(tmp_path):
    with mlflowd.running() as server:
        folder = server.artifacts / f"0/{'0' * 32}/artifacts"
        folder.mkdir(parents=True)
        (folder / "new.bin").write_bytes(b"new")
        flags = {"backend_store_uri": server.database}
        behind, near = (
            World(flags | more, {})
            for more in ({"tracking_uri": server.uri}, {"artifacts_destination": str(server.artifacts)})
        )
        try:
            _, going, held = await planned(behind, tmp_path / "behind", orphans=True)
            assert ({*going}, {*held.values()}) == (set(), {UNDATED})
            path, going, _ = await planned(near, tmp_path / "near", orphans=True)
            assert len(going) == 1
            assert [one.message for one in (await applied(behind, path)).problems] == [UNDATED]
            assert (await applied(near, path)).items == {"orphan": 1}
        finally:
            await behind.close()
            await near.close()


async def test_what_no_location_names_is_left_alone(tmp_path):
    flags, environment = await world.make("sqlite", "s3", tmp_path)
    bucket = flags.pop("artifacts_destination")
    estate = World({**flags, "allow_artifact_root": [bucket], "serve_artifacts": False}, environment)
    try:
        await estate.put(bucket, {"a?b": b"x", "a": b"x"})
        path, going, held = await planned(estate, tmp_path / "plan", orphans=True)
        assert [item.location for item in going.values()] == [f"{bucket}/a"]
        assert ["no location names it" in reason for reason in held.values()] == [True]
        line = path.read_text().replace(f'"{bucket}/a"', f'"{bucket}/a?b"')
        path.write_text(line)
        done = await applied(estate, path)
        assert (done.items, [one.refused for one in done.problems]) == ({}, [True])
        assert sorted(await estate.files(bucket)) == ["a", "a?b"]
    finally:
        await estate.close()


async def test_what_comes_to_the_same_place_again_lies_in_the_trash_beside_it(plain, tmp_path):
    root = tmp_path / "artifacts"
    paths = []
    for name in ("first", "second"):
        (root / "s.bin").write_text(name)
        path, *_ = await planned(plain, tmp_path / name, orphans=True)
        await applied(plain, path, trash=60.0)
        paths.append(path)
    assert (await undone(plain, paths[1])).items == {"orphan": 1}
    assert (root / "s.bin").read_text() == "second"
    assert [one.refused for one in (await undone(plain, paths[0])).problems] == [True]
    (root / "s.bin").unlink()
    assert (await undone(plain, paths[0])).items == {"orphan": 1}
    assert (root / "s.bin").read_text() == "first"


async def test_what_was_brought_back_or_is_kept_longer_isnt_deleted_by_an_older_plan(plain, tmp_path):
    root = tmp_path / "artifacts"
    (root / "s.bin").write_text("s")
    first, *_ = await planned(plain, tmp_path / "first", orphans=True)
    await applied(plain, first, trash=-1.0)
    over, going, _ = await planned(plain, tmp_path / "over", orphans=True)
    assert len(going) == 1
    assert (await undone(plain, first)).items == {"orphan": 1}
    assert [one.refused for one in (await applied(plain, over)).problems] == [True]
    await applied(plain, first, trash=60.0)
    assert [one.refused for one in (await applied(plain, over)).problems] == [True]
    assert (await undone(plain, first)).items == {"orphan": 1}
    assert found(root) == ["s.bin"]
    line = plans.Item("orphan", "x", "", "mlflow-artifacts:/s.bin", objects=9, bytes=9, newest=9e9, trash="t")
    (root / "t").mkdir()
    (root / "t/s.bin").write_text("not in the trash")
    over.write_bytes(over.read_bytes().splitlines(keepends=True)[0] + plans._ENCODER.encode(line))
    assert [one.refused for one in (await applied(plain, over)).problems] == [True]
    assert found(root) == ["s.bin", "t/s.bin"]


async def test_a_root_in_another_one_has_a_trash_that_is_found_again(plain, tmp_path):
    flags = {**plain.flags, "default_artifact_root": str(tmp_path)}
    estate = World(flags, {})
    try:
        (tmp_path / "artifacts/s.bin").write_text("s")
        path, going, _ = await planned(estate, tmp_path / "plan", orphans=True)
        assert "shoso.db" not in "".join(item.location for item in going.values())  # it's the database
        take_out(path, ".plan.jsonl")
        assert (await applied(estate, path, trash=60.0)).items == {"orphan": 1}
        assert (await undone(estate, path)).objects == 1
        assert found(tmp_path) == ["artifacts/s.bin"]
    finally:
        await estate.close()


@pytest.mark.parametrize("uri", [True, False])
async def test_a_location_is_shown_as_it_is_read(plain, tmp_path, uri):
    other = tmp_path / "other"
    other.mkdir()
    root = other.as_uri() if uri else str(other)
    estate = Estate.open({**plain.flags, "allow_artifact_root": [root]}, {})
    try:
        async with Inventory.taken(estate) as inventory:
            for at, root in enumerate(inventory.roots):
                for key in ("a b", "100%", "a%25", "x?y#z", "ä"):
                    assert inventory.find(root.shown(key)) == (at, key)
    finally:
        await estate.close()


@pytest.fixture
async def upload(plain, tmp_path, monkeypatch):
    """An upload of one part, begun 90 days ago; how to let the part have come so many days ago."""
    monkeypatch.setattr("shoso.maintenance.gc.planning.DAY", 86_400.0)
    uploads = (await plain.estate.place("mlflow-artifacts:/")).store.uploads
    ref = await uploads.begin(Key("0/x"))
    await uploads.put(ref, 1, BytesSource(b"part"))
    [folder] = (tmp_path / "artifacts/.shoso/uploads").iterdir()

    def came(days):
        for path in (*folder.iterdir(), folder):  # the folder's time stands for that of the beginning
            ago = days if path.name.startswith("00001-") else 90
            os.utime(path, (time.time() - ago * 86_400,) * 2)

    return came


async def test_an_upload_whose_parts_are_coming_stays_however_long_ago_it_was_begun(plain, tmp_path, upload):
    for came, older_than, goes in ((0.5, 0, False), (2, 0, True), (29, 30, False), (31, 30, True)):
        upload(came)
        path, going, _ = await planned(
            plain, tmp_path / "plan", orphans=True, older_than=older_than * 86_400.0
        )
        assert [item.kind for item in going.values()] == ["upload"] * goes, came
    upload(10)  # more than a day, and less than the plan's --older-than
    done = await applied(plain, path)
    assert (done.items, [one.message for one in done.problems]) == ({}, ["somebody went on with it lately"])
    upload(40)
    assert (await applied(plain, path)).items == {"upload": 1}
    assert (await applied(plain, path)).gone == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(2_592_000, "30d"), (5400, "90m"), (129_600, "36h"), (1.5, "1.5s")]
)
def test_a_plan_says_how_old_in_the_words_of_the_option(seconds, text):
    assert as_age(seconds) == text
    assert age(text) == seconds


def test_no_age_is_longer_than_a_database_has_room_for():
    assert age("3650000d") == 3_650_000 * 86_400
    assert (age("3650001d"), age("9" * 400 + "d")) == (None, None)
