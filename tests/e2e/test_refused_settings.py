"""A flag or variable that can't be used is refused at the start, in a sentence that names it."""

from __future__ import annotations

import pytest
from tests.e2e.servers import refusal

pytestmark = pytest.mark.shoso_only


@pytest.fixture
def server():
    """None is needed."""
    return _Nowhere()


class _Nowhere:
    uri = "http://127.0.0.1:9"

    def ensure(self) -> None:
        """Nothing is started."""


@pytest.mark.parametrize(
    "flags",
    [
        ["--nonsense", "1"],
        ["--workers", "many"],
        ["--workers", "0"],
        ["--port", "99999"],
        ["--static-prefix", "no-slash"],
        ["--static-prefix", "/ends/"],
        ["--backend-store-uri", "nonsense://host/db"],
        ["--artifacts-destination", "nonsense://bucket"],
    ],
    ids=" ".join,
)
def test_a_flag_that_cannot_be_used_is_named(tmp_path, flags):
    assert flags[0] in refusal(tmp_path, *flags)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MLFLOW_WORKERS", "many"), ("MLFLOW_SERVE_ARTIFACTS", "perhaps"), ("MLFLOW_STATIC_PREFIX", "no-slash")],
)
def test_a_variable_that_cannot_be_used_is_named(tmp_path, name, value):
    assert name in refusal(tmp_path, **{name: value})
