"""Databases to test with: ours and MLflow's, of every kind as a module names them."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.dialects import mssql
from tests.metadata import places
from tests.metadata.places import Place

from shoso.metadata.connect import Database
from shoso.metadata.dialects import choose


def pytest_generate_tests(metafunc):
    """Run the tests of a module on each kind of database that it names in KINDS."""
    kinds = getattr(metafunc.module, "KINDS", ("sqlite",))
    for fixture, scope in (("place", "function"), ("mlflow_place", "function"), ("common_place", "module")):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, kinds, indirect=True, scope=scope)


@pytest.fixture(autouse=True, scope="session")
def written_for_sql_server():
    """Write each statement that is run on SQLite for SQL Server too, of which none can be had."""
    dialect, seen = mssql.dialect(), set()

    def write(conn, _cursor, statement, _parameters, context, _many):
        ours = conn.dialect.name == "sqlite" and conn.engine.url.database is None
        if ours and context.compiled is not None and statement not in seen:
            context.compiled.statement.compile(dialect=dialect)
            seen.add(statement)

    event.listen(Engine, "before_cursor_execute", write)
    yield seen
    event.remove(Engine, "before_cursor_execute", write)


@pytest.fixture
def place(request, tmp_path):
    """A fresh database of Shoso's; a SQLite file is in the test's own folder, and isn't made yet."""
    if request.param == "sqlite":
        return Place("sqlite", f"sqlite:///{tmp_path}/shoso.db")
    return places.fresh(request.param, by_mlflow=False)


@pytest.fixture
async def database(place):
    """A fresh database of Shoso's, open."""
    if place.kind == "sqlite":
        opened = Database.open(place.uri, artifact_root=places.ROOT)
    else:  # whose tables have been checked
        opened = Database(choose(place.uri, places.FEW))
    yield opened
    await opened.close()


@pytest.fixture
def mlflow_place(request, tmp_path, mlflow_template):
    """A fresh database that the real MLflow created."""
    return _made_by_mlflow(request.param, tmp_path, mlflow_template)


@pytest.fixture(scope="module")
def common_place(request, tmp_path_factory, mlflow_template):
    """A database that the real MLflow created, for all tests of a module."""
    folder = tmp_path_factory.mktemp("common")
    return _made_by_mlflow(request.param, folder, mlflow_template, exact=True)


def _made_by_mlflow(kind, folder, template, *, exact=False) -> Place:
    if kind == "sqlite":
        return Place(kind, f"sqlite:///{shutil.copy(template, folder / 'mlflow.db')}")
    return places.fresh(kind, by_mlflow=True, exact=exact)


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory) -> Path:
    """A database file that the real MLflow created, migrations and all; copy it, don't write to it."""
    folder = tmp_path_factory.mktemp("mlflow")
    places.mlflow_tracking.__wrapped__(f"sqlite:///{folder / 'mlflow.db'}")._dispose_engine()
    return folder / "mlflow.db"


@pytest.fixture
def mlflow_store(tmp_path, mlflow_template):
    """The real MLflow's tracking store on a fresh database of its own."""
    path = shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    with warnings.catch_warnings(action="ignore"), Place("sqlite", f"sqlite:///{path}").tracking() as store:
        yield store
