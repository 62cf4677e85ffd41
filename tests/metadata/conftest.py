"""Databases to test with: a fresh one, and one that the real MLflow made."""

from __future__ import annotations

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
    with warnings.catch_warnings(action="ignore"):  # MLflow uses what SQLAlchemy 2.1 deprecates
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"))._dispose_engine()
    return folder / "mlflow.db"
