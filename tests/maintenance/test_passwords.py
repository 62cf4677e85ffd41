"""A password that MLflow's rows have in a location stays there: nothing of Shoso's keeps it or shows it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from tests.maintenance import world
from tests.maintenance.verbs import Quiet
from tests.maintenance.world import FILES, World
from tests.servers import ftpd

from shoso.core.locations import without_password
from shoso.errors import ConfigError
from shoso.maintenance import plans
from shoso.maintenance.gc.applying import apply
from shoso.maintenance.gc.chosen import Asked
from shoso.maintenance.gc.planning import plan
from shoso.maintenance.gc.trash import undo
from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.renaming import end
from shoso.metadata.holdings import Kind


@pytest.fixture
async def made(tmp_path):
    """A run on an FTP server whose location has the password, as MLflow writes it; and where it is kept."""
    target = ftpd.fresh_tls()
    assert ftpd.PASSWORD in target.uri
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {ftpd.USER} password {ftpd.PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    flags = await world.database("sqlite", tmp_path)
    flags |= {"artifacts_destination": str(tmp_path / "artifacts")}
    opened = World(flags, {**target.environment, "NETRC": "/nowhere"})
    opened.run_id = await opened.run(await opened.experiment("e", target.uri))
    yield opened
    await opened.close()


def _require_kept_nowhere(folder: Path, *texts: str) -> None:
    """Shoso's tables and these texts are without it."""
    with sqlite3.connect(folder / "shoso.db") as conn:
        own = [line for line in conn.iterdump() if 'INTO "shoso_' in line]
    assert ftpd.PASSWORD not in "".join([*own, *texts])
    assert own


async def test_gc_plans_shelves_brings_back_and_deletes_what_only_the_row_has_the_password_for(
    made, tmp_path
):
    await made.delete_run(made.run_id)
    location = await made.location(Kind.RUN, made.run_id)
    assert ftpd.PASSWORD in location
    for trash in (3600.0, None):
        path = tmp_path / f"plan {trash}"
        await plan(made.estate, Asked(), path, Quiet())
        done = await apply(made.estate, *plans.read(path), Quiet(), trash=trash)
        assert (done.items, done.problems) == ({"run": 1}, [])
        _require_kept_nowhere(tmp_path, path.read_text())
        assert await made.files(location) == {}
        if trash:
            assert (await undo(made.estate, plans.read(path)[0].id, Quiet())).problems == []
            assert await made.files(location) == FILES
    assert await made.there(Kind.RUN, made.run_id) == []


async def test_migrate_moves_it_there_and_back_and_keeps_no_password(made, tmp_path):
    location = await made.location(Kind.RUN, made.run_id)
    source = without_password(location).partition(f"/{made.run_id}")[0]
    there = tmp_path / "there"
    opened = World(made.flags, {**made.environment, "NETRC": str(tmp_path / "netrc")})
    asked = migration.Asked(source, str(there))
    assert not (await migration.migrate(opened.estate, asked)).failed
    assert (there / made.run_id / "artifacts" / "a.txt").read_bytes() == FILES["a.txt"]
    _require_kept_nowhere(tmp_path)
    assert not (await migration.rollback(opened.estate, [], running=True)).failed
    assert await opened.location(Kind.RUN, made.run_id) == without_password(location)
    assert not (await migration.migrate(opened.estate, asked)).failed
    assert not (await migration.finish(opened.estate, [], running=True)).failed
    assert await made.files(location) == {}
    await opened.close()


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize(
    ("uri", "setting"),
    [
        ("ftp://u:s3cr:et@h/x", "NETRC"),
        ("sftp://u:s3cret@h:2222/x", "SHOSO_SFTP_CONFIG"),
        ("https://u:s3cret@h/api/2.0/mlflow-artifacts/artifacts", "MLFLOW_TRACKING_PASSWORD"),
        ("hdfs://u:s3cret@h/x", "guide"),
    ],
)
def test_a_place_with_a_password_is_refused_with_the_setting_that_takes_it(option, uri, setting):
    with pytest.raises(ConfigError, match=setting) as caught:
        end(option, uri)
    assert option in str(caught.value)
    assert "s3c" not in str(caught.value)
