"""Opening: what is created, checked, and refused with the fix. Reading: one snapshot, no writes."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from shoso.errors import ConfigError, Kind, ShosoError
from shoso.metadata.connect import Database
from shoso.metadata.revisions import HEAD

EXPERIMENTS = "SELECT experiment_id, name, artifact_location, lifecycle_stage, workspace FROM experiments"


def rows(conn, sql):
    return [tuple(row) for row in conn.exec_driver_sql(sql)]


def execute(path, *statements):
    with closing(sqlite3.connect(path)) as raw, raw:
        for statement in statements:
            raw.execute(statement)


@pytest.fixture
def existing(tmp_path, mlflow_template):
    """The path of a database that MLflow made."""
    return shutil.copy(mlflow_template, tmp_path / "mlflow.db")


async def test_a_new_database_has_what_mlflow_puts_into_one(database):
    assert await database.read(rows, EXPERIMENTS) == [
        (0, "Default", "mlflow-artifacts:/0", "active", "default")
    ]
    assert await database.read(rows, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert await database.read(rows, "SELECT name FROM workspaces") == [("default",)]


async def test_the_workspace_is_described_as_mlflow_describes_it(database, existing):
    with closing(sqlite3.connect(existing)) as raw:
        theirs = raw.execute("SELECT * FROM workspaces").fetchall()
    assert await database.read(rows, "SELECT * FROM workspaces") == theirs


async def test_opening_again_changes_nothing(tmp_path):
    for root in ("mlflow-artifacts:/", "/elsewhere"):
        database = Database.open(f"sqlite:///{tmp_path}/a.db", artifact_root=root)
        found = await database.read(rows, "SELECT * FROM experiments")
        await database.close()
        execute(tmp_path / "a.db", "UPDATE experiments SET creation_time = 1, lifecycle_stage = 'deleted'")
    assert found[0][2:5] == ("mlflow-artifacts:/0", "deleted", 1)


async def test_a_database_of_mlflows_is_opened_as_it_is(existing):
    database = Database.open(f"sqlite:///{existing}", artifact_root="/elsewhere")
    assert await database.read(rows, EXPERIMENTS) == [
        (0, "Default", "mlflow-artifacts:/0", "active", "default")
    ]
    await database.close()


async def test_a_missing_default_experiment_is_made_as_mlflow_makes_it(existing):
    execute(existing, "DELETE FROM experiments")
    database = Database.open(f"sqlite:///{existing}", artifact_root="/elsewhere")
    assert await database.read(rows, EXPERIMENTS) == [(0, "Default", "/elsewhere/0", "active", "default")]
    await database.close()


async def test_a_relative_artifact_root_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = Database.open("sqlite:///relative.db", artifact_root="./mlruns")
    monkeypatch.chdir("/")
    found = await database.read(rows, EXPERIMENTS)
    await database.close()
    assert found[0][2] == f"{tmp_path}/mlruns/0"
    assert (tmp_path / "relative.db").exists()


async def test_the_options_of_the_driver_are_taken(tmp_path):
    database = Database.open(
        f"sqlite+pysqlite:///{tmp_path}/a.db?timeout=60&check_same_thread=false", artifact_root="/a"
    )
    assert len(await database.read(rows, EXPERIMENTS)) == 1
    await database.close()


async def test_every_connection_is_set_up_for_durability_and_mlflows_filters(database):
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 20000}

    def settings(conn):
        like = conn.exec_driver_sql("SELECT 'a' LIKE 'A'").scalar()
        assert like == 0
        return {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected}

    assert await database.read(settings) == expected
    assert await database.write(settings) == expected | {"busy_timeout": 0}, "the writer waits by itself"


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("", "sqlite:///mlflow.db"),
        ("./mlruns", "sqlite:///mlflow.db"),
        ("oracle://user:secret@host/db", "'oracle:' databases can't be opened"),
        ("mysql://user:secret@host", "names no database"),
        ("mysql+aiomysql://user:secret@host/db", "use mysql+pymysql://"),
        ("postgresql+asyncpg://user:secret@host/db", "use postgresql://"),
        ("postgresql://user:top@secret@host/db", "an '@' of the password"),
        ("postgresql://user:top@secret?secret@host/db", "an '@' of the password"),
        ("mysql://user:secret@host/db?connect_timeout=soon", "has an option that is wrong: "),
        ("mysql://user:secret@127.0.0.1:1/db?ssl=true", "has an option that is wrong: "),
        ("http://host", "'http:' databases can't be opened"),
        ("sqlite://", "would be lost"),
        ("sqlite:///:memory:", "would be lost"),
        ("sqlite:///file:a.db?uri=true", "would be lost"),
        ("sqlite:///a.db?cache=shared", "unknown option 'cache'"),
        ("sqlite:///missing/a.db", "/missing' doesn't exist; create it: mkdir -p '/"),
        ("sqlite:///folder", "must be writable"),
        ("sqlite:///text", "is not a SQLite database"),
        ("sqlite:////proc/a.db", "must be writable"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_the_fix(uri, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("not a database, but long enough to be one\n" * 100)
    with pytest.raises(ConfigError, match="--backend-store-uri: ") as caught:
        Database.open(uri, artifact_root="/a")
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE alembic_version SET version_num = '451aebb31d03'", "mlflow db upgrade 'sqlite:///"),
        ("DELETE FROM alembic_version", "lacks the schema revision"),
        ("DROP TABLE alembic_version", "lacks the schema revision"),
        ("DROP TABLE webhook_events", "lacks the table 'webhook_events'"),
    ],
)
def test_a_database_that_is_not_ours_to_write_is_refused_and_left_alone(existing, statement, sentence):
    execute(existing, "PRAGMA foreign_keys = OFF", statement)
    before = existing.read_bytes()
    with pytest.raises(ConfigError) as caught:
        Database.open(f"sqlite:///{existing}", artifact_root="/a")
    assert sentence in str(caught.value)
    assert existing.read_bytes() == before


def test_a_locked_database_is_refused_after_a_while(existing, monkeypatch):
    monkeypatch.setattr("shoso.metadata.dialects.sqlite._BUSY_SECONDS", 0.01)
    monkeypatch.setattr("shoso.metadata.dialects.sqlite._PATIENCE_SECONDS", 0.1)
    with closing(sqlite3.connect(existing, isolation_level=None)) as raw:
        raw.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match="locked by another program"):
            Database.open(f"sqlite:///{existing}", artifact_root="/a")


def test_of_several_processes_that_open_a_new_file_one_creates_it(tmp_path):
    code = (
        "import sys; from shoso.metadata.connect import Database;"
        "Database.open(sys.argv[1], artifact_root='/a')"
    )
    uri = f"sqlite:///{tmp_path}/a.db"
    children = [subprocess.Popen([sys.executable, "-c", code, uri]) for _ in range(6)]
    assert [child.wait() for child in children] == [0] * 6
    with closing(sqlite3.connect(tmp_path / "a.db")) as raw:
        assert raw.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        assert raw.execute("SELECT count(*) FROM experiments").fetchone() == (1,)


async def test_a_read_sees_one_state_of_the_database(database, tmp_path):
    def work(conn):
        before = rows(conn, EXPERIMENTS)
        execute(tmp_path / "shoso.db", "UPDATE experiments SET name = 'Other'")
        return before == rows(conn, EXPERIMENTS)

    assert await database.read(work)
    assert (await database.read(rows, EXPERIMENTS))[0][1] == "Other"


async def test_a_read_cannot_write(database):
    with pytest.raises(ShosoError) as caught:
        await database.read(rows, "DELETE FROM experiments")
    assert caught.value.kind is Kind.UNAVAILABLE
    assert len(await database.read(rows, EXPERIMENTS)) == 1


async def test_an_error_of_a_read_is_its_own(database):
    def fails(conn):
        raise LookupError(rows(conn, EXPERIMENTS)[0][1])

    with pytest.raises(LookupError, match="Default"):
        await database.read(fails)
    with pytest.raises(ShosoError) as caught:
        await database.read(rows, "SELECT * FROM nothing_of_that_name")
    assert caught.value.kind is Kind.UNEXPECTED
    assert "nothing_of_that_name" not in str(caught.value)
    assert len(await database.read(rows, EXPERIMENTS)) == 1


async def test_closing_leaves_one_file_and_refuses_what_comes_after(database, tmp_path):
    await database.read(rows, EXPERIMENTS)
    await database.close()
    await database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["shoso.db"]
    for call in (database.read(rows, EXPERIMENTS), database.write(rows, EXPERIMENTS)):
        with pytest.raises(ShosoError, match="closed") as caught:
            await call
        assert caught.value.kind is Kind.UNAVAILABLE
