"""`shoso db check`: what a database is, by words, JSON and exit code; nothing is changed."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing

import pytest
from tests.servers import mariadb
from tests.servers.processes import free_ports

from shoso.metadata import own
from shoso.metadata.connect import Database
from shoso.metadata.revisions import HEAD


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database that Shoso made."""
    path = tmp_path_factory.mktemp("db") / "mlflow.db"
    asyncio.run(Database.open(f"sqlite:///{path}", artifact_root="/a").close())
    return path


@pytest.fixture
def uri(template, tmp_path):
    """A copy of it."""
    return f"sqlite:///{shutil.copy(template, tmp_path / 'mlflow.db')}"


def execute(uri, *statements):
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as raw, raw:
        for statement in statements:
            raw.execute(statement)


def test_a_database_of_this_version_opens(shoso, uri):
    found = shoso.json("db", "check", uri)
    assert found == {
        "uri": uri,
        "opens": True,
        "state": "current",
        "revision": HEAD,
        "known_revision": HEAD,
        "own_version": len(own.MIGRATIONS),
        "known_own_version": len(own.MIGRATIONS),
        "problems": [],
        "hidden": {},
    }
    words = shoso("db", "check", uri)
    assert f"revision {HEAD}; Shoso knows {HEAD}" in words
    assert words.endswith("A server opens it.\n")


def test_a_file_that_is_not_there_is_empty_and_stays_away(shoso, tmp_path):
    found = shoso.json("db", "check", f"sqlite:///{tmp_path}/new.db")
    assert (found["state"], found["opens"], found["revision"], found["own_version"]) == (
        "empty",
        True,
        None,
        None,
    )
    assert not (tmp_path / "new.db").exists()


CASES = [
    (
        ["UPDATE alembic_version SET version_num = '451aebb31d03'"],
        "older",
        3,
        "mlflow db upgrade 'sqlite:///",
    ),
    (
        ["UPDATE alembic_version SET version_num = 'ffff'", "ALTER TABLE params DROP COLUMN value"],
        "newer",
        4,
        "its table 'params' has no column 'value'",
    ),
    (["UPDATE shoso_version SET version = 99"], "current", 4, "a newer version of Shoso has used"),
    (["DROP TABLE webhook_events"], "damaged", 5, "the database lacks the table 'webhook_events'"),
    (["DROP TABLE runs", "DROP TABLE alembic_version"], "foreign", 5, "another program's tables"),
]


@pytest.mark.parametrize(("statements", "state", "code", "problem"), CASES)
def test_what_does_not_open_says_why(shoso, uri, statements, state, code, problem):
    execute(uri, *statements)
    found = shoso.json("db", "check", uri, code=code)
    assert (found["state"], found["opens"]) == (state, False)
    assert problem in found["problems"][0]
    assert problem[1:] in shoso("db", "check", uri, code=code).splitlines()[-1]


def test_every_problem_is_told(shoso, uri):
    execute(uri, "DROP TABLE webhook_events", "DROP TABLE input_tags")
    assert len(shoso.json("db", "check", uri, code=5)["problems"]) == 2


def test_a_newer_schema_that_fits_opens(shoso, uri):
    execute(uri, "UPDATE alembic_version SET version_num = 'ffff'", "ALTER TABLE runs ADD COLUMN region TEXT")
    found = shoso.json("db", "check", uri)
    assert (found["state"], found["revision"], found["problems"]) == ("newer", "ffff", [])


def test_rows_of_other_workspaces_are_counted(shoso, uri):
    execute(uri, "INSERT INTO experiments (name, workspace) VALUES ('a', 'team'), ('b', 'team')")
    assert shoso.json("db", "check", uri)["hidden"] == {"experiments": 2}
    assert "2 rows in other workspaces, which aren't shown" in shoso("db", "check", uri)


def test_a_database_that_cannot_be_reached_is_an_error(shoso, tmp_path):
    (tmp_path / "text").write_text("not a database, but long enough to be one\n" * 100)
    assert "is not a SQLite database" in shoso.error("db", "check", f"sqlite:///{tmp_path}/text")
    assert "databases can't be opened" in shoso.error("db", "check", "oracle://host/db")
    port = free_ports(1)[0]
    said = shoso.error("db", "check", f"postgresql://me:secret@127.0.0.1:{port}/mlflow")
    assert said.startswith("URI: nothing listens at 127.0.0.1")
    assert "secret" not in said


def test_a_password_is_not_shown(shoso):
    facts = mariadb.server()
    name = mariadb.create(facts)
    mariadb.sql(facts, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)", name)
    mariadb.sql(facts, "INSERT INTO alembic_version VALUES ('451aebb31d03')", name)
    mariadb.sql(facts, "CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL)", name)
    uri = mariadb.uri(facts, name)
    said = shoso("db", "check", uri, code=3)
    assert f"mlflow db upgrade 'mysql+pymysql://test:***@127.0.0.1:{facts['port']}/{name}'" in said
    assert "test:test" not in said


def test_the_uri_is_by_default_that_of_the_server(shoso, uri):
    shoso.environment["MLFLOW_BACKEND_STORE_URI"] = uri
    assert shoso.json("db", "check")["uri"] == uri
    del shoso.environment["MLFLOW_BACKEND_STORE_URI"]
    assert "Missing argument 'URI'" in shoso.result("db", "check", code=2).stderr
