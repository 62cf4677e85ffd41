"""Two URIs that name one place, and what lies in folders that aren't a run's own: neither is deleted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update
from tests.maintenance import world
from tests.maintenance.world import FILES, ROOT, World
from tests.servers import sshd

from shoso.errors import ConfigError
from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Asked
from shoso.metadata import purge
from shoso.metadata.holdings import Kind
from shoso.metadata.schema import runs


@pytest.fixture
async def made(tmp_path):
    """A world on SQLite and a folder."""
    (tmp_path / "artifacts").mkdir()
    flags = await world.database("sqlite", tmp_path)
    made = World(flags | {"artifacts_destination": str(tmp_path / "artifacts")}, {})
    yield made
    await made.close()


@contextmanager
def mounting(folder: Path, place: Path) -> Iterator[Path]:
    """The same folder by another mount."""
    place.mkdir()
    done = subprocess.run(["mount", "--bind", folder, place], capture_output=True, text=True, check=False)
    if done.returncode:
        why = f"mounting a folder twice takes root: {done.stderr.strip()}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def mounted(tmp_path, made):
    """The artifacts once more."""
    with mounting(tmp_path / "artifacts", tmp_path / "mounted") as place:
        yield place


async def test_a_folder_that_is_mounted_twice_is_one_place(made, mounted, monkeypatch):
    await made.run(await made.experiment("e"))
    before = await made.files()
    with pytest.raises(ConfigError, match=f"'{mounted}' and --from 'mlflow-artifacts:/' are one place"):
        await migration.migrate(made.estate, Asked(ROOT, str(mounted)))
    assert await migration.status(made.estate) == []
    with monkeypatch.context() as patched:  # a move that had begun before that was looked at
        patched.setattr(migration, "require_apart", _nothing)
        assert (await migration.migrate(made.estate, Asked(ROOT, str(mounted)))).failed == 0
    for end in (migration.finish, lambda *a, **b: migration.rollback(*a, **b, delete=True)):
        refused = await end(made.estate, [], running=True)
        assert "are one place by two names" in refused.stopped
        assert await made.files() == before
    assert (await migration.rollback(made.estate, [], running=True)).failed == 0
    assert await made.files() == before != {}
    assert {*FILES} == {path.split("/artifacts/")[1] for path in before}


async def test_a_folder_above_or_below_is_refused_by_whatever_name(made, tmp_path):
    (tmp_path / "artifacts/sub dir/old").mkdir(parents=True)
    old = str(tmp_path / "artifacts/sub dir/old")
    await made.run(await made.experiment("below", old))
    with (
        mounting(tmp_path / "artifacts", tmp_path / "all") as whole,
        mounting(tmp_path / "artifacts/sub dir", tmp_path / "part of it") as part,
    ):
        before = await made.files()
        for source, to in ((old, whole), (old, part), (ROOT, whole / "sub dir/new"), (ROOT, part / "new")):
            with pytest.raises(ConfigError, match="or one lies in the other"):
                await migration.migrate(made.estate, Asked(source, str(to)))
            assert await made.files() == before


@pytest.mark.parametrize(("source", "to"), [("", "sub dir/new"), ("sub dir/old", "")])
async def test_a_folder_above_or_below_is_refused_by_the_address_of_a_server_on_this_disk(
    source, to, tmp_path
):
    there = sshd.fresh()
    here = Path(urlsplit(there.uri).path)
    (here / source).mkdir(parents=True)
    flags = await world.database("sqlite", tmp_path) | {"artifacts_destination": str(here / source)}
    made = World(flags, dict(there.environment))
    await made.run(await made.experiment("e"))
    before = await made.files()
    with pytest.raises(ConfigError, match="or one lies in the other"):
        await migration.migrate(made.estate, Asked(ROOT, f"{there.uri}/{to}".rstrip("/")))
    assert await made.files() == before
    apart = f"{there.uri} beside"
    assert (await migration.migrate(made.estate, Asked(ROOT, apart))).failed == 0
    await made.close()


async def test_what_is_in_no_folder_of_a_run_is_copied_and_stays(made, tmp_path):
    old = tmp_path / "imported"
    experiment = await made.experiment("e", str(old))
    own, gone, above, lost = [await made.run(experiment, {"a": b"a"}) for _ in range(4)]
    folders = {one: await made.location(Kind.RUN, one) for one in (own, gone)}
    for one, place in ((above, old), (lost, old / "lost")):
        change = update(runs).where(runs.c.run_uuid == one).values(artifact_uri=str(place))
        await made.database.write(lambda conn, change=change: conn.execute(change) and None)
    files = {"theirs": b"another program's", "lost/b": b"b"}
    await made.put(str(old), files)
    before = await made.files(str(old))
    asked = Asked(str(old), str(tmp_path / "there"))
    assert (await migration.migrate(made.estate, asked)).failed == 0
    for one in (gone, lost):
        await made.delete_run(one)
        assert await made.database.write(purge.purge, Kind.RUN, [one]) == []
    unsure = Path(folders[gone]).relative_to(old) / "both"
    for place in (old, tmp_path / "there"):
        (place / unsure).write_text(str(place))
    [done] = (await migration.finish(made.estate, [], running=True)).outcomes
    assert (done.state, done.unsure) == ("finishing", {str(unsure)})
    assert (old / unsure).read_text() == str(old)
    for place in (old, tmp_path / "there"):
        (place / unsure).unlink()
    [done] = (await migration.finish(made.estate, [], running=True)).outcomes
    assert (done.error, done.state, done.kept) == ("", "finished", {str(old), str(old / "lost")})
    went = {f"{Path(folder).relative_to(old)}/a" for folder in folders.values()}
    assert {*before} - {*await made.files(str(old))} == went
    assert await made.files(asked.target) == before


async def _nothing(*_):
    """In place of a look."""
