"""`shoso db index`: what it says, and where it does nothing."""

from __future__ import annotations

import json
import sqlite3

import pytest
from click.testing import CliRunner
from tests.metadata import places

from shoso.cli import main
from shoso.metadata.dialects import choose
from shoso.metadata.tables import prepare


@pytest.fixture(scope="module")
def uri():
    """A database of Shoso's on PostgreSQL."""
    made = places.new("postgres")
    prepared(made)
    return made


def prepared(uri):
    dialect = choose(uri, places.FEW)
    dialect.prepare(lambda conn: prepare(conn, "", "", places.ROOT))
    dialect.close()


def run(*arguments: str, **environment: str):
    return CliRunner(env=environment).invoke(main, ["db", "index", *arguments])


def refusal(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert "Traceback" not in done.output
    (line,) = done.output.splitlines()
    return line


def test_it_says_what_became_of_each_index_and_what_it_takes(uri):
    made = run(uri)
    assert made.exit_code == 0, made.output
    assert made.stderr.splitlines() == [
        "Making shoso_params_value on params …",
        "Making shoso_tags_value on tags …",
    ]
    titles, *rows = (line.split() for line in made.stdout.splitlines())
    assert titles == ["INDEX", "TABLE", "NOW", "SIZE", "TOOK"]
    assert [row[:5] for row in rows] == [
        ["shoso_params_value", "params", "made", "8.0", "KiB"],
        ["shoso_tags_value", "tags", "made", "8.0", "KiB"],
    ]
    again = run(MLFLOW_BACKEND_STORE_URI=uri)
    assert [line.split()[2] for line in again.stdout.splitlines()[1:]] == ["there", "there"]
    assert again.stderr == ""
    dropped = json.loads(run(uri, "--drop", "--json").stdout)
    assert [(one["name"], one["table"], one["became"], one["bytes"]) for one in dropped] == [
        ("shoso_params_value", "params", "dropped", 8192),
        ("shoso_tags_value", "tags", "dropped", 8192),
    ]


def test_it_drops_them_from_a_schema_that_isnt_served(uri):
    """So that they can be dropped before MLflow migrates the database, and after."""
    run(uri)
    place = places.Place("postgres", uri)
    ((revision,),) = place.execute("SELECT version_num FROM alembic_version")
    place.execute("UPDATE alembic_version SET version_num = 'cc1f77228345'")
    refused, dropped = run(uri), run(uri, "--drop")
    place.execute(f"UPDATE alembic_version SET version_num = '{revision}'")
    assert refused.exit_code == 1
    assert "URI: the database is at schema revision cc1f77228345" in refused.stderr
    assert dropped.exit_code == 0
    assert dropped.stdout.count(" dropped ") == 2


def test_a_database_without_mlflows_tables_is_left_alone():
    empty = places.new("postgres")
    assert run(empty).exit_code == 1
    assert run(empty, "--drop").stdout.count(" absent ") == 2
    assert (
        places.Place("postgres", empty).execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    )


def test_sqlite_gets_none_and_isnt_changed(tmp_path):
    path = tmp_path / "mlflow.db"
    assert "there are no runs in" in refusal(f"sqlite:///{path}")
    assert "there is no file" in refusal(f"sqlite:///{path}", "--drop")
    assert not path.exists()
    prepared(f"sqlite:///{path}")
    assert "SQLite needs no indexes by value" in refusal(f"sqlite:///{path}")
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT 1 FROM sqlite_master WHERE name LIKE 'shoso_%_value'").fetchall() == []
    raw.close()


def test_what_cant_be_reached_is_a_sentence_without_the_password(uri):
    said = refusal("postgresql://me:secret@127.0.0.1:1/mlflow")
    assert said.startswith("Error: URI: nothing listens at 127.0.0.1:1")
    assert "secret" not in said
