"""A place may be written in any way that locations are recorded in; what moves there finds its way back."""

from __future__ import annotations

import pytest

from shoso.maintenance.migrate.renaming import Renaming, end

SERVED = "http://host:5000/api/2.0/mlflow-artifacts/artifacts"


@pytest.mark.parametrize(
    ("source", "location"),
    [
        (f"{SERVED}/", f"{SERVED}/1/r/artifacts"),
        (SERVED, "mlflow-artifacts:/1/r/artifacts"),
        ("mlflow-artifacts:", "mlflow-artifacts:/1/r/artifacts"),
        ("mlflow-artifacts://host:5000/", "mlflow-artifacts:/1/r/artifacts"),
        ("/srv/a b/", "file:///srv/a%20b/1/r/artifacts"),
        ("sftp://u@h/x/", "sftp://u:secret@H:22/x/1/r/artifacts"),
    ],
)
@pytest.mark.parametrize(
    "target",
    [SERVED, f"{SERVED}/", "mlflow-artifacts:", "mlflow-artifacts:///", "s3://b/x/", "file:///c%20d"],
)
def test_every_way_to_write_a_place_leads_there_and_back(source, location, target):
    renaming = Renaming(end("--from", source), end("--to", target))
    assert renaming.inside(location) == "1/r/artifacts"
    new = renaming.new(location)
    assert new
    assert "//" not in new.partition("://")[2]
    assert "mlflow-artifacts:1" not in new
    assert renaming.below_target(new) == "1/r/artifacts"
    back = renaming.reverse.new(new)
    assert back
    assert renaming.inside(back) == "1/r/artifacts"
