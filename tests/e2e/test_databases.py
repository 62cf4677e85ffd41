"""MLflow's client against servers on PostgreSQL and MariaDB: tests that pass on SQLite, the quick ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.servers import mariadb, postgres, warm

pytestmark = pytest.mark.shoso_only

HERE = Path(__file__).parent
PARTS = {"postgres": ("runs", "metrics", "search", "registry"), "mariadb": ("search", "registry")}
WIDER = [
    # Texts longer than their columns, which SQLite alone has room for.
    "test_client_registry.py::test_tags_of_a_version",
    "test_client_registry.py::test_a_long_description_is_kept",
]

IMPORTED = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
"""Some plugins of pytest are there before it, with MLflow."""


def database(kind: str) -> str:
    """The URI of a new one; on MariaDB with a collation that orders as SQLite does."""
    if kind == "postgres":
        return postgres.uri(facts := postgres.server(), postgres.create(facts))
    return mariadb.uri(facts := mariadb.server(), mariadb.create(facts, "utf8mb4_bin"))


@pytest.fixture(scope="module", params=PARTS)
def server(request, launch):
    """Two server processes on a new database."""
    return launch("--backend-store-uri", database(request.param), "--workers", "2")


def test_mlflows_client_does_as_on_sqlite(server, request):
    kind = request.node.callspec.params["server"]
    files = [str(HERE / f"test_client_{name}.py") for name in PARTS[kind]]
    flags = ["-q", "--tb=short", "-p", "no:cacheprovider", "-n0", *IMPORTED]
    flags += [f"--deselect=tests/e2e/{name}" for name in WIDER]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST_"))}
    env |= {"SHOSO_E2E_URI": server.uri}
    said = warm.printed("-m", "pytest", *flags, *files, env=env, seconds=280)
    assert f"{len(WIDER)} deselected" in said
