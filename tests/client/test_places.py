"""Places: every URI of MLflow's leads to its bytes, at a Shoso server and at a plain MLflow server."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from base64 import b64encode
from contextlib import asynccontextmanager

import pytest
from tests.e2e.raw import Api
from tests.servers import mlflowd, nginx
from tests.servers.scripted import Said

from shoso.client.places import Places
from shoso.client.server import Server
from shoso.core.keys import Key
from shoso.core.store import exists, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import Digests
from shoso.errors import ConfigError, Kind, NotFound, ShosoError, StoreError, TrackingError

PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@asynccontextmanager
async def places_of(uri, settings):
    """Places seen from the server at that URI; "" is none."""
    server = Server(uri, settings) if uri else None
    places = Places(server, settings)
    try:
        yield places
    finally:
        await places.close()
        if server is not None:
            await server.close()


async def put(places: Places, uri: str, data: bytes) -> None:
    place = await places.open(uri)
    await place.store.write(place.key, BytesSource(data))


async def get(places: Places, uri: str) -> bytes:
    place = await places.open(uri)
    return await read_bytes(place.store, place.key)


async def found(places: Places, uri: str) -> bytes:
    place = await places.find(uri)
    return await read_bytes(place.store, place.key)


class Tracked:
    """A server with a run and a logged model of it."""

    def __init__(self, uri: str, unique: str) -> None:
        api = Api(uri)
        with api.session:
            self.experiment = api.create_experiment(unique)
            self.run = api.run_id(self.experiment)
            body = {"experiment_id": self.experiment, "name": "model", "source_run_id": self.run}
            model = api.post("logged-models", body).json()["model"]["info"]
        self.model, self.model_location = model["model_id"], model["artifact_uri"]
        self.uri = uri


@pytest.fixture(params=["shoso", "mlflow"])
def tracked(request, unique):
    server = request.getfixturevalue("shoso") if request.param == "shoso" else mlflowd.shared()
    server.ensure()
    return Tracked(server.uri, unique)


@pytest.fixture
async def places(tracked, settings):
    async with places_of(tracked.uri, settings()) as places:
        yield places


# -- runs, models, artifacts behind the server ------------------------------------------------------------


async def test_a_path_of_a_run_is_where_every_other_uri_of_it_leads(tracked, places):
    path = f"{tracked.experiment}/{tracked.run}/artifacts/a b/é.txt"
    await put(places, f"runs:/{tracked.run}/a b/é.txt", b"data")
    host = tracked.uri.partition("//")[2]
    for uri in (
        f"mlflow-artifacts:/{path}",
        f"mlflow-artifacts:///{path}",
        f"mlflow-artifacts://{host}/{path}",
        f"{tracked.uri}{PROXY}/{path.replace(' ', '%20')}",
    ):
        assert await get(places, uri) == b"data", uri


async def test_a_root_is_a_folder(tracked, places):
    await put(places, f"runs:/{tracked.run}/x", b"data")
    for uri in (f"runs:/{tracked.run}", f"runs:/{tracked.run}/"):
        place = await places.open(uri)
        assert [entry.key async for entry in place.store.list(place.key, deep=True)] == [f"{place.key}/x"]


async def test_a_logged_model_is_found_by_its_id(tracked, places):
    await put(places, f"models:/{tracked.model}/MLmodel", b"data")
    assert await get(places, f"{tracked.model_location}/MLmodel") == b"data"
    assert (await places.open(f"models:/{tracked.model}")).key.endswith(f"models/{tracked.model}/artifacts")


async def test_what_a_run_has_not_is_the_model_that_it_logged(tracked, places):
    await put(places, f"models:/{tracked.model}/data/MLmodel", b"the model's")
    assert await found(places, f"runs:/{tracked.run}/model/data/MLmodel") == b"the model's"
    assert (await places.find(f"runs:/{tracked.run}/model")).key.endswith(f"{tracked.model}/artifacts")
    await put(places, f"runs:/{tracked.run}/model/data/MLmodel", b"the run's")
    assert await found(places, f"runs:/{tracked.run}/model/data/MLmodel") == b"the run's"


async def test_what_neither_has_is_looked_for_in_the_run(tracked, places):
    for path in ("missing", "it's/missing", "model2/x"):
        assert (await places.find(f"runs:/{tracked.run}/{path}")).key.endswith(
            f"{tracked.run}/artifacts/{path}"
        )
        with pytest.raises(NotFound):
            await found(places, f"runs:/{tracked.run}/{path}")


async def test_a_run_of_nobody_is_an_error_of_the_servers(places):
    with pytest.raises(TrackingError) as caught:
        await places.open("runs:/0123456789abcdef0123456789abcdef/x")
    assert caught.value.kind is Kind.NOT_FOUND


async def test_shoso_is_spoken_to_in_its_own_way(shoso, unique, settings):
    tracked = Tracked(shoso.uri, unique)
    async with places_of(shoso.uri, settings()) as places:
        place = await places.open(f"runs:/{tracked.run}/x")
        assert place.store.capabilities.digests is Digests.ALL
        assert place.store.batches is not None


async def test_neighbours_share_a_store_however_many_ask_at_once(tracked, places):
    uris = [f"runs:/{tracked.run}/{number}" for number in range(10)] + [f"models:/{tracked.model}"]
    opened = await asyncio.gather(*(places.open(uri) for uri in uris))
    assert len({id(place.store) for place in opened}) == 1


async def test_a_static_prefix_is_part_of_every_path(launch, settings, unique):
    server = launch("--static-prefix", "/ml/flow")
    tracked = Tracked(server.uri, unique)
    async with places_of(server.uri + "/", settings()) as places:
        await put(places, f"runs:/{tracked.run}/x", b"data")
        path = f"{tracked.experiment}/{tracked.run}/artifacts/x"
        for uri in (
            f"mlflow-artifacts:/{path}",
            f"mlflow-artifacts://{server.host}/{path}",
            f"{server.uri}{PROXY}/{path}",
        ):
            assert await get(places, uri) == b"data"


# -- the registry -----------------------------------------------------------------------------------------


@pytest.fixture
def registered(tracked, unique):
    """A model with three versions; the last is a logged model."""
    api = Api(tracked.uri)
    with api.session:
        api.post("registered-models/create", {"name": unique})
        for source in (f"runs:/{tracked.run}/one", f"runs:/{tracked.run}/two"):
            body = {"name": unique, "source": source, "run_id": tracked.run}
            api.ok("POST", "model-versions/create", body)
        body = {"name": unique, "source": f"models:/{tracked.model}", "model_id": tracked.model}
        api.ok("POST", "model-versions/create", body)
        stage = {"name": unique, "version": "2", "stage": "Production", "archive_existing_versions": False}
        api.ok("POST", "model-versions/transition-stage", stage)
        api.ok("POST", "registered-models/alias", {"name": unique, "alias": "champion", "version": "1"})
    return tracked


async def test_a_registered_version_is_found_by_every_name_that_it_has(registered, unique, places):
    await put(places, f"runs:/{registered.run}/one/MLmodel", b"1")
    await put(places, f"runs:/{registered.run}/two/MLmodel", b"2")
    await put(places, f"models:/{registered.model}/MLmodel", b"3")
    for which, data in {
        "/1": b"1",
        "/2": b"2",
        "/3": b"3",
        "/latest": b"3",
        "/LATEST": b"3",
        "/production": b"2",
        "@champion": b"1",
    }.items():
        assert await get(places, f"models:/{unique}{which}/MLmodel") == data, which


async def test_a_copied_version_is_found_where_the_first_one_is(registered, unique, places):
    api = Api(registered.uri)
    with api.session:
        api.post("registered-models/create", {"name": f"{unique} copy"})
        body = {"name": f"{unique} copy", "source": f"models:/{unique}/3"}
        api.ok("POST", "model-versions/create", body)
    await put(places, f"models:/{registered.model}/MLmodel", b"3")
    assert await get(places, f"models:/{unique} copy/1/MLmodel") == b"3"


@pytest.mark.parametrize("which", ["/9", "/Staging", "@nobody", "-none/latest"])
@pytest.mark.usefixtures("registered")
async def test_a_version_that_is_not_there_is_an_error_in_words(unique, places, which):
    with pytest.raises(TrackingError) as caught:
        await places.open(f"models:/{unique}{which}")
    assert caught.value.kind in {Kind.NOT_FOUND, Kind.INVALID}
    assert caught.value.message


async def test_a_registry_that_leads_in_circles_is_left(scripted, settings):
    server = scripted(Said(body=b'{"artifact_uri": "models:/a/1"}'))
    async with places_of(server.uri, settings()) as places:
        with pytest.raises(TrackingError, match="from one registered version to the next"):
            await places.open("models:/a/1")


# -- storages and folders ---------------------------------------------------------------------------------


async def test_a_run_on_a_path_is_kept_in_a_store_above_all_runs(launch, settings, unique, tmp_path):
    root = tmp_path / "mlruns"
    server = launch("--no-serve-artifacts", "--default-artifact-root", str(root))
    tracked = Tracked(server.uri, unique)
    async with places_of(server.uri, settings()) as places:
        await put(places, f"runs:/{tracked.run}/x", b"data")
        await put(places, f"models:/{tracked.model}/y", b"data")
        run = await places.open(f"runs:/{tracked.run}/x")
        assert (await places.open(f"models:/{tracked.model}/y")).store is run.store
    folder = root / tracked.experiment / tracked.run / "artifacts"
    assert [path.name for path in folder.iterdir()] == ["x"]
    assert (root / tracked.experiment / "models" / tracked.model / "artifacts" / "y").read_bytes() == b"data"


async def test_a_location_without_mlflows_layout_is_the_root_itself(scripted, settings, tmp_path):
    server = scripted(_run(str(tmp_path / "elsewhere")))
    async with places_of(server.uri, settings()) as places:
        await put(places, "runs:/r/a/b", b"data")
        assert (tmp_path / "elsewhere" / "a" / "b").read_bytes() == b"data"


async def test_where_a_run_is_is_asked_once(scripted, settings, tmp_path):
    server = scripted(_run(str(tmp_path)))
    async with places_of(server.uri, settings()) as places:
        for name in "abc":
            await places.open(f"runs:/r/{name}")
    assert len(server.asked) == 1


async def test_a_path_is_in_the_folder_that_it_is_in(settings, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    async with places_of("", settings()) as places:
        for uri in (f"{tmp_path}/folder/file", f"file://{tmp_path}/folder/file", f"{tmp_path}/link/file"):
            assert await get(places, uri) == b"data", uri
        for uri in (f"{tmp_path}/folder", f"{tmp_path}/link", f"{tmp_path}/link/"):
            place = await places.open(uri)
            assert place.key == "folder"
            assert [entry.key async for entry in place.store.list(place.key)] == ["folder/file"]
            await put(places, f"{uri.rstrip('/')}/new", b"new")
            assert (tmp_path / "folder" / "new").read_bytes() == b"new"
            (tmp_path / "folder" / "new").unlink()
        new = await places.open(f"{tmp_path}/not/there/yet")
        assert (new.key, await exists(new.store, new.key)) == ("yet", False)


async def test_a_relative_path_is_taken_from_where_the_process_is(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with places_of("", settings()) as places:
        await put(places, "a/b", b"data")
        assert await get(places, "./a/b") == b"data"
    assert (tmp_path / "a" / "b").read_bytes() == b"data"


async def test_a_storage_is_opened_at_its_top_or_at_the_folder_above(settings, tmp_path):
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "c"}
    async with places_of("", settings(**keys)) as places:
        one, other = await places.open("s3://bucket/a/b/c"), await places.open("s3://bucket/x/")
        assert (one.key, other.key) == ("a/b/c", "x")
        assert one.store is other.store
        assert (await places.open("s3://other")).store is not one.store
        one, other = await places.open("ftp://host/a/b/c"), await places.open("ftp://host/a/b/d")
        assert (one.key, one.store.info.name) == ("c", "ftp://host/a/b")
        assert other.store is one.store


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("runs:", Kind.INVALID),
        ("runs:/", Kind.INVALID),
        ("runs:abc/x", Kind.INVALID),
        ("runs://profile@databricks/abc/x", Kind.INVALID),
        ("runs:/r/../x", Kind.INVALID_KEY),
        ("runs:/r/%2e%2e/x", Kind.INVALID_KEY),
        ("runs:/r//x", Kind.INVALID_KEY),
        ("runs:/r/a\x00", Kind.INVALID_KEY),
        ("runs:/r/..\\x", Kind.INVALID_KEY),
        ("models:/", Kind.INVALID),
        ("models:/@alias", Kind.INVALID),
        ("models:/name@", Kind.INVALID),
        ("models:/name/1/../x", Kind.INVALID_KEY),
        ("models:/name@alias/../x", Kind.INVALID_KEY),
        ("mlflow-artifacts:/../x", Kind.INVALID_KEY),
        ("mlflow-artifacts:/a/%2e%2e%2fx", Kind.INVALID_KEY),
        ("mlflow-artifacts://5000/x", Kind.INVALID),
        ("mlflow-artifacts://host?x/y", Kind.CONFIG),
        (f"http://host{PROXY}/%2e%2e/x", Kind.INVALID_KEY),
        (f"http://host{PROXY}/a/%252e%252e/x", Kind.INVALID_KEY),
        (f"http://host{PROXY}x/y", Kind.INVALID),
        ("http://host/a", Kind.INVALID),
        ("s3://bucket/../x", Kind.INVALID_KEY),
        ("s3://bucket/x?versionId=1", Kind.INVALID),
        ("dbfs:/x", Kind.INVALID),
        ("file://host/x", Kind.CONFIG),
    ],
)
async def test_a_uri_that_leads_nowhere_is_refused_before_anybody_is_asked(scripted, settings, uri, kind):
    server = scripted(Said())
    async with places_of(server.uri, settings()) as places:
        with pytest.raises(ShosoError) as caught:
            await places.open(uri)
    assert caught.value.kind is kind
    assert server.asked == []


@pytest.mark.parametrize("uri", ["runs:/r/x", "models:/a/1", "models:/m-1", "mlflow-artifacts:/x"])
async def test_without_a_tracking_server_its_uris_name_the_variable(settings, uri):
    async with places_of("", settings()) as places:
        with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI: is not set"):
            await places.open(uri)


async def test_a_server_that_is_gone_is_named_within_its_retries(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with places_of(uri, settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")) as places:
        for each in ("runs:/r/x", "mlflow-artifacts:/x"):
            with pytest.raises(TrackingError, match="Tried 2 times") as caught:
                await places.open(each)
            assert caught.value.kind is Kind.UNAVAILABLE


async def test_a_server_that_goes_away_between_two_calls_is_unavailable(launch, settings, unique):
    server = launch()
    tracked = Tracked(server.uri, unique)
    async with places_of(server.uri, settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")) as places:
        place = await places.open(f"runs:/{tracked.run}/x")
        server.stop()
        with pytest.raises(StoreError) as caught:
            await read_bytes(place.store, place.key)
        assert caught.value.kind is Kind.UNAVAILABLE


# -- who is shown the credentials -------------------------------------------------------------------------


def _run(location: str) -> Said:
    info = {
        "run_uuid": "r", "run_id": "r", "experiment_id": "1", "user_id": "u", "status": "RUNNING",
        "start_time": 1, "artifact_uri": location, "lifecycle_stage": "active",
    }  # fmt: skip
    return Said(body=json.dumps({"run": {"info": info}}).encode())


@pytest.mark.parametrize("trusted", [False, True])
async def test_another_host_is_shown_no_credentials_unless_it_is_named(scripted, settings, caplog, trusted):
    other = scripted(Said(404))
    own = scripted(_run(f"mlflow-artifacts://{other.host}/x"))
    given = settings(
        MLFLOW_TRACKING_TOKEN="hunter2", SHOSO_CREDENTIAL_HOSTS=other.host if trusted else "127.0.0.2"
    )
    with caplog.at_level(logging.WARNING, "shoso.client"):
        async with places_of(own.uri, given) as places:
            for uri in ("runs:/r/x", f"{other.uri}{PROXY}/x"):
                with pytest.raises(NotFound):
                    await get(places, uri)
    assert {asked.headers.get("authorization") for asked in own.asked} == {"Bearer hunter2"}
    shown = {"Bearer hunter2"} if trusted else {None}
    assert {asked.headers.get("authorization") for asked in other.asked} == shown
    assert (other.host in caplog.text and "SHOSO_CREDENTIAL_HOSTS" in caplog.text) is not trusted


async def test_a_user_in_the_tracking_uri_is_shown_to_that_server(scripted, settings):
    server = scripted(Said(404))
    async with places_of(server.uri.replace("//", "//me:hunter2@"), settings()) as places:
        with pytest.raises(NotFound) as caught:
            await get(places, "mlflow-artifacts:/x")
        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in (await places.open("mlflow-artifacts:/x")).store.info.name
    expected = "Basic " + b64encode(b"me:hunter2").decode()
    assert {asked.headers.get("authorization") for asked in server.asked} == {expected}


@pytest.mark.parametrize("how", ["password", "token"])
async def test_all_of_it_works_behind_a_proxy_with_tls_a_prefix_and_credentials(tracked, settings, how):
    wanted = "Bearer hunter2" if how == "token" else "Basic " + b64encode(b"me:hunter2").decode()
    own = (
        {"MLFLOW_TRACKING_TOKEN": "hunter2"}
        if how == "token"
        else {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "hunter2"}
    )
    with nginx.before(tracked.uri, wanted, "/team/ml") as (uri, certificate):
        trusting = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(certificate)}
        async with places_of(uri, settings(**trusting, **own)) as places:
            data = bytes(range(256)) * 8192
            await put(places, f"runs:/{tracked.run}/x.bin", data)
            assert await get(places, f"runs:/{tracked.run}/x.bin") == data
            place = await places.open(f"runs:/{tracked.run}")
            assert [entry.size async for entry in place.store.list(place.key)] == [len(data)]
            await place.store.delete([Key(f"{place.key}/x.bin")])
        async with places_of(uri, settings(**trusting)) as places:
            with pytest.raises(TrackingError, match="Set MLFLOW_TRACKING_USERNAME") as caught:
                await places.open(f"runs:/{tracked.run}/x.bin")
            assert caught.value.kind is Kind.UNAUTHENTICATED
