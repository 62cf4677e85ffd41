"""A flag or variable that can't be used is refused at the start, in a sentence that names it."""

from __future__ import annotations

from urllib.request import Request, urlopen

import pytest
from tests.e2e.servers import Server, refusal

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


@pytest.mark.parametrize("unmounted", ["gone", "empty"])
def test_a_destination_that_isnt_mounted_isnt_written_to(tmp_path, unmounted):
    first, aside = Server(tmp_path).start(), tmp_path / "aside"
    kept = f"{first.uri}/api/2.0/mlflow-artifacts/artifacts/a"
    urlopen(Request(kept, b"a", method="PUT")).close()
    first.stop()
    first.artifacts.rename(aside)
    if unmounted == "empty":
        first.artifacts.mkdir()
    flags = ("--backend-store-uri", first.database, "--artifacts-destination", str(first.artifacts))
    said = refusal(tmp_path, *flags)
    assert "artifacts were stored there; is it mounted on this machine?" in said
    assert not first.artifacts.exists() or not [*first.artifacts.iterdir()]
    if unmounted == "empty":
        first.artifacts.rmdir()
    aside.rename(first.artifacts)
    first.start()
    with urlopen(kept) as reply:
        assert reply.read() == b"a"
    first.stop()
