"""Which objects are copies of a move, and which of two places has the later one: by what was copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.maintenance import world
from tests.maintenance.world import ROOT, World

from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Asked
from shoso.maintenance.migrate.moving import Outcome, Shard
from shoso.metadata.holdings import Kind
from shoso.metadata.schema import runs

FILES = {f"a/{name}": name.encode() for name in ("one", "two", "three", "four")}


class Kept(World):
    """A world on SQLite, from a folder to a folder, on whichever machine."""

    def __init__(self, folder: Path, flags: dict[str, object], machine: str = "here") -> None:
        self.folder = folder
        super().__init__(flags, {"SHOSO_STATE": str(folder / machine)})
        self.source, self.target = folder / "artifacts", folder / "there"

    async def move(self, shard: Shard = Shard()) -> Outcome:  # noqa: B008 - frozen
        """Move all."""
        [outcome] = (
            await migration.migrate(self.estate, Asked(ROOT, str(self.target), ["e"], shard))
        ).outcomes
        return outcome

    async def rollback(self, *, delete: bool) -> Outcome:
        """Roll back."""
        return (await migration.rollback(self.estate, [], delete=delete, running=True)).outcomes[0]

    async def finish(self) -> Outcome:
        """Finish."""
        return (await migration.finish(self.estate, [], running=True)).outcomes[0]

    async def filled(self) -> list[Path]:
        """The folders of runs, one in each half, as they are below both places."""
        experiment = await self.experiment("e")
        found: dict[int, Path] = {}
        while len(found) < 2:
            run = await self.run(experiment, FILES)
            half = next(number for number in (1, 2) if run in Shard(number, 2))
            found.setdefault(half, Path(experiment) / run / "artifacts")
            self.last = run
        return [found[1], found[2]]

    async def settle_at_target(self) -> None:
        """Another run of that experiment, which has always been at the target."""
        run = await self.run((await self.location(Kind.RUN, self.last)).split("/")[1], {})
        folder = self.target / (await self.location(Kind.RUN, run)).removeprefix(ROOT)
        change = update(runs).where(runs.c.run_uuid == run).values(artifact_uri=str(folder))
        await self.database.write(lambda conn: conn.execute(change) and None)
        await self.put(str(folder), FILES)


@pytest.fixture
async def kept(tmp_path):
    """The world of one machine."""
    for name in ("artifacts", "there"):
        (tmp_path / name).mkdir()
    flags = await world.database("sqlite", tmp_path)
    made = Kept(tmp_path, flags | {"artifacts_destination": str(tmp_path / "artifacts")})
    yield made
    await made.close()


def below(folder: Path) -> dict[str, bytes]:
    """Everything there, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".shoso" not in path.parts
    }


def put(path: Path, data: bytes, *, ago: float = 0.0) -> None:
    """Write it past the server, by a clock that is so many seconds slow."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name("draft").write_bytes(data)
    path.with_name("draft").replace(path)
    if ago:
        os.utime(path, (path.stat().st_mtime - ago,) * 2)


async def test_a_half_move_is_undone_with_its_copies_though_the_source_was_written_since(kept):
    [run, _] = await kept.filled()
    await kept.settle_at_target()
    own = below(kept.target) | {str(run / "own"): b"somebody's", str(run / "a/two"): FILES["a/two"]}
    for path, data in own.items():
        put(kept.target / path, data)
    named = {path for path in own if path.startswith(str(run))}
    assert (await kept.move(Shard(1, 2))).waiting == (2,)
    assert len(below(kept.target)) > len(own)
    for change in ("a/one", "new"):
        put(kept.source / run / change, b"written since")
    (kept.source / run / "a/four").unlink()
    before = below(kept.source)
    undone = await kept.rollback(delete=True)
    assert (undone.error, undone.state, undone.kept) == ("", "rolled back", named)
    assert below(kept.target) == own
    assert below(kept.source) == before
    assert await migration.status(kept.estate) == []


async def test_what_is_gone_at_the_source_is_gone_after_the_next_move_and_strange_objects_stay(kept):
    [run, other] = await kept.filled()
    await kept.move()
    location = await kept.location(Kind.RUN, kept.last)
    await kept.put(location, {"a/one": b"overwritten", "late": b"late"})
    assert (await kept.rollback(delete=False)).error == ""
    assert below(kept.source) == below(kept.target)
    for name in ("a/two", "late"):
        for folder in (run, other):
            (kept.source / folder / name).unlink(missing_ok=True)
    put(kept.source / run / "a/three", b"written since")
    put(kept.target / run / "own", b"somebody's")
    put(kept.target / other / "a/four", b"somebody's over a copy")
    before = below(kept.source)
    refused = await kept.move()
    assert f"'{other}/a/four'" in refused.error
    assert below(kept.source) == before
    assert (await kept.location(Kind.RUN, kept.last)).startswith(ROOT)
    (kept.target / other / "a/four").unlink()

    moved = await kept.move()
    assert (moved.error, moved.state, moved.kept) == ("", "moved", {str(run / "own")})
    assert below(kept.target) == before | {str(run / "own"): b"somebody's"}
    assert (await kept.finish()).state == "finished"
    assert below(kept.source) == {}


async def test_another_machine_with_clocks_that_lie_tells_what_was_written_later(kept):
    [run, other] = await kept.filled()
    await kept.move()
    put(kept.source / run / "a/one", b"written late, and long ago", ago=9999)
    put(kept.target / run / "a/two", b"written over the copy, long ago", ago=9999)
    put(kept.source / run / "a/two", FILES["a/two"])  # touched, and not written
    put(kept.source / other / "a/one", b"one of both")
    put(kept.target / other / "a/one", b"the other", ago=9999)
    put(kept.source / other / "new", b"new at one")
    put(kept.target / other / "new", b"new at the other")
    unsure = {f"{other}/a/one", f"{other}/new"}

    elsewhere = Kept(kept.folder, kept.flags, "elsewhere")
    for _ in range(2):
        done = await elsewhere.finish()
        assert (done.error, done.state, done.unsure) == ("", "finishing", unsure)
        assert {*below(kept.source)} == unsure
    assert below(kept.source)[f"{other}/a/one"] == b"one of both"
    found = below(kept.target)
    assert found[f"{run}/a/one"] == b"written late, and long ago"
    assert found[f"{run}/a/two"] == b"written over the copy, long ago"
    assert (found[f"{other}/a/one"], found[f"{other}/new"]) == (b"the other", b"new at the other")

    for path in unsure:
        (kept.source / path).unlink()
    assert (await elsewhere.finish()).state == "finished"
    assert below(kept.target) == found
    await elsewhere.close()


async def test_a_rollback_leaves_what_was_written_at_both_places_at_both(kept):
    [run, _] = await kept.filled()
    await kept.move()
    put(kept.source / run / "a/one", b"one of both")
    put(kept.target / run / "a/one", b"the other")
    put(kept.target / run / "a/two", b"written over the copy")
    there = below(kept.target)
    for _ in range(2):
        back = await kept.rollback(delete=True)
        assert (back.error, back.state, back.unsure) == ("", "moved", {f"{run}/a/one"})
        assert (back.kept, len(await migration.status(kept.estate))) == (set(), 1)
        assert not (await kept.location(Kind.RUN, kept.last)).startswith(ROOT)
    assert below(kept.target) == there
    assert below(kept.source)[f"{run}/a/one"] == b"one of both"
    assert below(kept.source)[f"{run}/a/two"] == b"written over the copy"
    (kept.source / run / "a/one").unlink()
    back = await kept.rollback(delete=True)
    assert (back.error, back.state, below(kept.target)) == ("", "rolled back", {})
    assert below(kept.source)[f"{run}/a/one"] == b"the other"


async def test_a_strange_object_at_the_target_is_never_written_over_whenever_its_path_is_written(kept):
    [run, other] = await kept.filled()
    strange = {str(run / "early"): b"there before", str(run / "late"): b"since", str(run / "a/one"): b"over"}
    put(kept.target / run / "early", strange[str(run / "early")])
    assert (await kept.move(Shard(1, 2))).waiting == (2,)
    for path, data in strange.items():
        put(kept.target / path, data)
        put(kept.source / path, b"written since")
    for path in sorted(strange):
        for _ in range(2):
            refused = await kept.move(Shard(1, 2))
            assert f"'{path}' among them" in refused.error
            assert {one: below(kept.target)[one] for one in strange} == strange
        del strange[path]
        (kept.target / path).unlink()
    put(kept.target / other / "early", b"there before")
    moved = [await kept.move(Shard(number, 2)) for number in (1, 2)]
    assert [(one.error, one.state) for one in moved] == [("", "copying"), ("", "moved")]
    put(kept.source / other / "early", b"by who began before the move")
    for _ in range(2):
        done = await kept.finish()
        assert (done.error, done.state, done.unsure) == ("", "finishing", {str(other / "early")})
    assert below(kept.source) == {str(other / "early"): b"by who began before the move"}
    assert below(kept.target)[str(other / "early")] == b"there before"
    (kept.source / other / "early").unlink()
    assert ((await kept.finish()).state, below(kept.source)) == ("finished", {})


async def test_a_file_that_no_artifact_can_be_called_is_told_of(kept):
    first, second = await kept.filled()
    for name in (b"gr\xf6sse.png", b"new\nline/a.txt"):
        put(kept.source / second / "a" / os.fsdecode(name), b"by another program")
    assert (await kept.move()).error == ""
    done = await kept.finish()
    assert (done.state, done.kept) == ("finished", {f"{ROOT}{second}"})
    assert not (kept.source / first).exists()
    assert len(below(kept.source)) == 2


async def test_an_object_that_has_the_name_of_a_folder_hides_nothing_in_it(tmp_path):
    """As some programs mark folders in a bucket."""
    flags, environment = await world.make("sqlite", "s3", tmp_path)
    opened = World(flags, environment)
    one = await opened.experiment("e")
    made = [await opened.run(one, FILES) for _ in range(2)]
    await opened.put(ROOT, {one: b""})
    (tmp_path / "there").mkdir()
    try:
        assert (await migration.migrate(opened.estate, Asked(ROOT, str(tmp_path / "there")))).failed == 0
        assert (await migration.finish(opened.estate, [], running=True)).failed == 0
        for run_id in made:
            assert await opened.files(await opened.location(Kind.RUN, run_id)) == FILES
        assert await opened.files() == {one: b""}
    finally:
        await opened.close()
