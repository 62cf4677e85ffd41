"""A flag or variable that can't be used is refused at the start, in a sentence that names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.shoso_only


@pytest.fixture
def server():
    """None is needed."""
    return _Nowhere()


class _Nowhere:
    uri = "http://127.0.0.1:9"

    def ensure(self) -> None:
        """Nothing is started."""


def refusal(folder: Path, *flags: str, **variables: str) -> str:
    """What `shoso server` says when it refuses to start."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
    command = [str(Path(sys.executable).with_name("shoso")), "server", "--port", "0", *flags]
    done = subprocess.run(
        command, cwd=folder, env=env | variables, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


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
