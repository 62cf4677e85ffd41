"""The estate: where recorded locations are, by the settings of a server that need not run."""

from __future__ import annotations

import pytest
from tests.e2e.servers import Server

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import ConfigError, ShosoError
from shoso.maintenance.estate import Estate
from shoso.metadata.connect import Database


@pytest.fixture
async def database(tmp_path, monkeypatch):
    """The flag of a database with nothing in it; relative paths are in the test's folder."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/shoso.db"
    await Database.open(uri, artifact_root="mlflow-artifacts:/").close()
    return {"backend_store_uri": uri}


@pytest.fixture
async def opened():
    """Open estates, which are closed in the end."""
    estates = []

    def open_(flags, environment=None):
        estates.append(Estate.open(flags, environment or {}))
        return estates[-1]

    yield open_
    for estate in estates:
        await estate.close()


async def test_a_location_is_found_in_the_root_that_holds_it_whatever_way_it_is_named(
    database, opened, tmp_path
):
    for name in ("kept", "direct", "elsewhere"):
        (tmp_path / name).mkdir()
    flags = {**database, "artifacts_destination": "kept", "default_artifact_root": f"{tmp_path}/direct"}
    estate = opened({**flags, "tracking_uri": "http://old"})
    served = await estate.place("mlflow-artifacts:/0/a/artifacts")
    for location in (
        f"{tmp_path}/kept/0/a/artifacts",
        "http://old/api/2.0/mlflow-artifacts/artifacts/0/a/artifacts",
        "mlflow-artifacts://old/0/a/artifacts",
    ):
        assert await estate.place(location) == served
    await served.store.write(Key("0/a/artifacts/f"), BytesSource(b"data"))
    assert (tmp_path / "kept/0/a/artifacts/f").read_bytes() == b"data"
    direct = await estate.place(f"file://{tmp_path}/direct/1/b/artifacts")
    assert (direct.store.info.name, direct.key) == (f"{tmp_path}/direct", "1/b/artifacts")
    outside = await estate.place(f"{tmp_path}/elsewhere/1/b/artifacts")
    assert outside.store not in (served.store, direct.store)
    for location in ("1/" + "c" * 32, "own/" + "d" * 32, "own/models/m-" + "e" * 32):
        ours, others = [await estate.place(f"{tmp_path}/{location[:-1]}{end}/artifacts") for end in "01"]
        assert ours.store is others.store  # one is opened for all of an experiment
    assert [root.uri for root in await estate.roots()] == ["mlflow-artifacts:/", f"{tmp_path}/direct"]


async def test_what_another_server_keeps_isnt_looked_for_in_the_destination_of_this_one(
    database, opened, tmp_path
):
    (tmp_path / "kept").mkdir()
    flags = {**database, "artifacts_destination": "kept"}
    here = "http://here:5000/api/2.0/mlflow-artifacts/artifacts/0/a/artifacts"
    for tracking_uri, own in ((None, []), ("http://here:5000", [here, "mlflow-artifacts://HERE:5000/0/a"])):
        estate = opened({**flags, "tracking_uri": tracking_uri})
        for location in own:
            assert (await estate.place(location)).store.info.name == f"{tmp_path}/kept"
        for location in {here, "mlflow-artifacts://here:5001/0/a", "https://here/x"} - {*own}:
            with pytest.raises(
                ConfigError, match=r"--tracking-uri.* doesn't name here.*, the server that keeps"
            ):
                await estate.place(location)


async def test_a_root_inside_of_another_is_no_second_one(database, opened, tmp_path):
    (tmp_path / "kept/inner").mkdir(parents=True)
    estate = opened(
        {**database, "artifacts_destination": "kept", "allow_artifact_root": (f"{tmp_path}/kept/inner",)}
    )
    assert [root.uri for root in await estate.roots()] == ["mlflow-artifacts:/"]


async def test_without_a_destination_artifacts_are_reached_through_the_server(opened, tmp_path):
    server = Server(tmp_path).start()
    try:
        estate = opened({"backend_store_uri": server.database, "tracking_uri": server.uri})
        place = await estate.place("mlflow-artifacts:/0/a/artifacts")
        await place.store.write(Key("0/a/artifacts/f"), BytesSource(b"data"))
        assert await read_bytes((await estate.roots())[0].store, Key("0/a/artifacts/f")) == b"data"
        await estate.close()
    finally:
        server.stop()


async def test_a_destination_that_nobody_named_is_believed_only_where_it_is(database, opened, tmp_path):
    with pytest.raises(ConfigError, match=r"--artifacts-destination.*--tracking-uri"):
        await opened(database).place("mlflow-artifacts:/0/a/artifacts")
    (tmp_path / "mlartifacts").mkdir()
    place = await opened(database).place("mlflow-artifacts:/0/a/artifacts")
    assert place.store.info.name == f"{tmp_path}/mlartifacts"


async def test_a_folder_that_is_not_mounted_is_not_an_empty_one(database, opened, tmp_path):
    estate = opened(database, {"MLFLOW_ARTIFACTS_DESTINATION": f"{tmp_path}/gone"})
    with pytest.raises(ConfigError, match="is it mounted"):
        await estate.place("mlflow-artifacts:/0/a/artifacts")
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    "location",
    ["dbfs:/x", "s3://bucket/../x", "file://host/x", "mlflow-artifacts:/../x", "mlflow-artifacts://host:x/0"],
)
async def test_a_location_that_names_nothing_is_refused(database, opened, location, tmp_path):
    with pytest.raises(ShosoError):
        await opened({**database, "artifacts_destination": str(tmp_path)}).place(location)


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(ConfigError, match="no runs"):
        Estate.open({"backend_store_uri": f"sqlite:///{tmp_path}/none.db"}, {})
    assert not (tmp_path / "none.db").exists()
