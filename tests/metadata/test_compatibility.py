"""Databases of other versions of MLflow, made by its own migrations or altered as a later one may be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, String, create_engine, inspect
from tests.metadata import places

from shoso.errors import ConfigError
from shoso.metadata import compatibility, own
from shoso.metadata.compatibility import State
from shoso.metadata.connect import Database
from shoso.metadata.dialects import choose
from shoso.metadata.revisions import HEAD, OLDER

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SAWarning")

EVERY = pytest.mark.parametrize("kind", places.PLACES)

WALK = (None, "451aebb31d03", "bd07f7e963c5", "acf3f17fdcc7", "c8d9e0f1a2b3", "1b5f0d9ad7c1", "75868b020152")
"""Revisions on the way from MLflow 0.8 to 3.17: the first, before and behind workspaces, the last but one."""


@pytest.fixture
def uri(kind, tmp_path):
    """Where nothing is yet."""
    return f"sqlite:///{tmp_path}/mlflow.db" if kind == "sqlite" else places.new(kind)


@pytest.fixture
def current(kind, uri):
    """A database as MLflow 3.17 has it, made by Shoso."""
    asyncio.run(opened(uri).close())
    return places.Place(kind, uri)


def opened(uri):
    return Database.open(uri, artifact_root=places.ROOT, options=places.FEW)


def found(uri):
    dialect = choose(uri, places.FEW)
    try:
        return dialect.inspect(lambda conn: compatibility.find(conn, dialect.shown))
    finally:
        dialect.close()


def refusal(uri):
    with pytest.raises(ConfigError) as caught:
        opened(uri)
    return str(caught.value)


def migrations():
    from mlflow.store.db.utils import _get_alembic_config

    return _get_alembic_config


def migrate(uri, revision):
    """Let MLflow's own migrations bring a database up to a revision; None is before the first."""
    from mlflow.store.tracking.dbmodels.initial_models import Base

    engine = create_engine(uri)
    if revision is None:
        Base.metadata.create_all(engine)
    else:
        with engine.connect() as connection:
            config = migrations()(str(engine.url.render_as_string(hide_password=False)).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    engine.dispose()


@contextmanager
def alter(place, table):
    """Change a table as a migration does."""
    with place.engine.connect() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table(table) as batch:
            yield batch


def tables_of(uri):
    engine = create_engine(uri)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()


def test_the_revisions_are_those_of_mlflow():
    script = ScriptDirectory.from_config(migrations()(""))
    assert script.get_heads() == [HEAD]
    assert {one.revision for one in script.walk_revisions()} == OLDER | {HEAD}


@EVERY
def test_an_older_schema_is_refused_with_the_command_that_upgrades_it(kind, uri):
    for revision in WALK:
        migrate(uri, revision)
        before = tables_of(uri)
        sentence = refusal(uri)
        assert found(uri).state is State.OLDER
        assert str(revision or "only began") in sentence
        assert tables_of(uri) == before
    asked = sentence.partition("mlflow db upgrade ")[2].strip("'")
    assert asked == uri.replace(":test@", ":***@").partition("?")[0]
    run_upgrade(asked) if kind == "sqlite" else migrate(uri, "heads")
    assert found(uri).state is State.CURRENT
    asyncio.run(opened(uri).close())


def run_upgrade(uri):
    """What the sentence says, typed into a shell."""
    mlflow = Path(sys.executable).with_name("mlflow")
    subprocess.run([mlflow, "db", "upgrade", uri], check=True, capture_output=True, timeout=120)


@EVERY
async def test_a_newer_schema_that_asks_for_nothing_is_opened_and_left_as_it_is(kind, current):
    with alter(current, "runs") as runs:
        runs.add_column(Column("region", String(20)))
        runs.add_column(Column("priority", Integer, nullable=False, server_default="7"))
    current.execute("CREATE TABLE clusters (id INTEGER NOT NULL)")
    current.execute("DROP TABLE webhook_events")
    current.execute("UPDATE alembic_version SET version_num = 'ffff00000000'")
    columns = inspect(current.engine).get_columns("runs")
    assert (found(current.uri).state, found(current.uri).problems) == (State.NEWER, ())
    database = opened(current.uri)
    await database.write(create_run)
    await database.close()
    assert current.execute("SELECT region, priority FROM runs") == [(None, 7)]
    assert current.execute("SELECT version_num FROM alembic_version") == [("ffff00000000",)]
    assert str(inspect(current.engine).get_columns("runs")) == str(columns)
    assert "webhook_events" not in inspect(current.engine).get_table_names()


def create_run(conn):
    from shoso.metadata import runs
    from shoso.wire.requests import CreateRun

    return runs.create(conn, CreateRun("0"))


def add_mandatory(place):
    with alter(place, "tags") as tags:
        tags.add_column(Column("scope", String(20), nullable=False))


def rename_column(place):
    with alter(place, "experiment_tags") as tags:
        tags.alter_column("value", new_column_name="text", existing_type=String(250))


def make_mandatory(place):
    with alter(place, "registered_models") as models:
        models.alter_column("description", existing_type=String(5000), nullable=False)


def drop_table(place):
    place.execute("DROP TABLE input_tags")


def rekey(place):
    with alter(place, "input_tags") as tags:
        tags.add_column(Column("part", Integer, nullable=False, server_default="0"))
    if place.kind == "postgres":
        place.execute("ALTER TABLE input_tags DROP CONSTRAINT input_tags_pk")
    elif place.kind == "mariadb":
        place.execute("ALTER TABLE input_tags DROP PRIMARY KEY")
    with alter(place, "input_tags") as tags:
        tags.create_primary_key("input_tags_pk", ["input_uuid", "name", "part"])


MISFITS = [
    (add_mandatory, "its table 'tags' has the column 'scope', which must have a value"),
    (rename_column, "its table 'experiment_tags' has no column 'value'"),
    (make_mandatory, "its table 'registered_models' has the column 'description', which must have a value"),
    (drop_table, "it has no table 'input_tags'"),
    (rekey, "its table 'input_tags' has another primary key (input_uuid, name, part)"),
]


@EVERY
@pytest.mark.parametrize(("change", "what"), MISFITS)
def test_a_newer_schema_that_shoso_cannot_use_is_refused_by_name(kind, current, change, what):
    change(current)
    current.execute("UPDATE alembic_version SET version_num = 'ffff00000000'")
    sentence = refusal(current.uri)
    assert f"revision ffff00000000, of an MLflow newer than 3.17, and {what}" in sentence
    assert sentence.endswith("upgrade Shoso")


@EVERY
@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("ALTER TABLE params DROP COLUMN value", "the column 'value' of the table 'params'"),
        ("DROP TABLE webhook_events", "the table 'webhook_events'"),
        ("DROP TABLE alembic_version", "the schema revision of MLflow's tables"),
        ("DELETE FROM alembic_version", "the schema revision of MLflow's tables"),
    ],
)
def test_a_damaged_schema_is_refused_by_name(kind, current, statement, what):
    current.execute(statement)
    assert found(current.uri).state is State.DAMAGED
    assert refusal(current.uri).endswith(f"the database lacks {what}; restore it from a backup")


@EVERY
def test_two_problems_are_told_as_one_and_their_number(kind, current):
    current.execute("DROP TABLE webhook_events")
    current.execute("DROP TABLE input_tags")
    assert refusal(current.uri).endswith("'input_tags'; restore it from a backup (1 further problem)")


@EVERY
def test_looking_at_a_database_changes_nothing(kind, uri, tmp_path):
    assert found(uri).state is State.EMPTY
    assert [*tmp_path.iterdir()] == []
    place = places.Place(kind, uri)
    place.execute("CREATE TABLE runs (id INTEGER)")
    before = [path.read_bytes() for path in tmp_path.iterdir()]
    assert found(uri).state is State.FOREIGN
    assert [path.read_bytes() for path in tmp_path.iterdir()] == before
    assert inspect(place.engine).get_table_names() == ["runs"]


@EVERY
def test_what_shoso_began_is_finished_and_what_mlflow_finished_is_left(kind, current):
    current.execute(f"UPDATE shoso_version SET version = {own.UNFINISHED}")
    assert found(current.uri).state is State.CURRENT
    current.execute("DELETE FROM alembic_version")
    current.execute("DROP TABLE webhook_events")
    assert found(current.uri).state is State.UNFINISHED
    asyncio.run(opened(current.uri).close())
    assert (found(current.uri).state, found(current.uri).own) == (State.CURRENT, len(own.MIGRATIONS))


@EVERY
def test_another_programs_migrations_are_not_taken_for_mlflows(kind, uri):
    place = places.Place(kind, uri)
    place.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    place.execute("INSERT INTO alembic_version VALUES ('ffff00000000')")
    place.execute("CREATE TABLE invoices (id INTEGER)")
    assert found(uri).state is State.FOREIGN
    assert "another program's tables" in refusal(uri)
