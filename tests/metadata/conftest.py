"""Databases to test with: a fresh one of Shoso's, and the real MLflow's store on a file of its own."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from shoso.metadata.connect import Database


@pytest.fixture
async def database(tmp_path):
    """A fresh database in the test's own folder."""
    opened = Database.open(f"sqlite:///{tmp_path}/shoso.db", artifact_root="mlflow-artifacts:/")
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory) -> Path:
    """A database file that the real MLflow created, migrations and all; copy it, don't write to it."""
    folder = tmp_path_factory.mktemp("mlflow")
    _store(folder / "mlflow.db")._dispose_engine()
    return folder / "mlflow.db"


@pytest.fixture
def mlflow_store(tmp_path, mlflow_template):
    """The real MLflow's tracking store on a fresh database."""
    with warnings.catch_warnings(action="ignore"):
        yield from _opened(shutil.copy(mlflow_template, tmp_path / "mlflow.db"))


def _opened(path):
    store = _store(path)
    yield store
    store._dispose_engine()


def _store(path):
    with warnings.catch_warnings(action="ignore"):  # MLflow uses what SQLAlchemy 2.1 deprecates
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        return SqlAlchemyStore(f"sqlite:///{path}", "mlflow-artifacts:/")
