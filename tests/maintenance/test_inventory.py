"""What nobody refers to, found in stores that a real server and a real mlflow client filled."""

from __future__ import annotations

import os
import sqlite3
import time
import tracemalloc
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.e2e.servers import Server

from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta
from shoso.errors import ConfigError
from shoso.layers import standard
from shoso.maintenance import inventory as inventories
from shoso.maintenance.estate import Estate, Root
from shoso.maintenance.inventory import Inventory, Why
from shoso.metadata.connect import Database
from shoso.stores.memory import MemoryStore

RUN, MODEL, TRACE = "a" * 32, "m-" + "b" * 32, "tr-" + "c" * 32


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path).start()
    yield server
    server.stop()


@asynccontextmanager
async def inventory_of(server: Server, **flags):
    estate = Estate.open(
        {"backend_store_uri": server.database, "artifacts_destination": str(server.artifacts), **flags}, {}
    )
    try:
        async with Inventory.taken(estate) as inventory:
            yield inventory
    finally:
        await estate.close()


def put(path: Path, data: bytes = b"data", age: float = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age,) * 2)


async def test_only_what_nobody_refers_to_is_an_orphan(server, tmp_path):
    client = MlflowClient(server.uri)
    kept, deleted, purged = (client.create_run("0").info.run_id for _ in range(3))
    for run in (kept, deleted, purged):
        client.log_text(run, "text", "folder/a.txt")
    client.delete_run(deleted)
    client.create_registered_model("m")
    client.create_model_version("m", f"mlflow-artifacts:/0/{purged}/artifacts/folder", run_id=purged)
    link = tmp_path / "link"
    link.symlink_to(server.artifacts)
    client.create_experiment("by a link", artifact_location=str(link / "linked"))
    linked = client.create_run(client.get_experiment_by_name("by a link").experiment_id).info.run_id
    put(server.artifacts / f"linked/{linked}/artifacts/f")
    put(server.artifacts / f"0/{RUN}/artifacts/models/{MODEL}/artifacts/f", b"12345")
    put(server.artifacts / f"0/{RUN}/artifacts/g", age=90_000)
    put(server.artifacts / f"0/models/{MODEL}/artifacts/f", age=90_000)
    put(server.artifacts / f"0/traces/{TRACE}/artifacts/traces.json")
    put(server.artifacts / f"9/{kept}/artifacts/f")
    put(server.artifacts / "mlflow.db")
    put(server.artifacts / ".shoso-trash/x/f")
    server.stop()
    with closing(sqlite3.connect(server.folder / "tracking.db")) as database, database:
        database.execute("DELETE FROM runs WHERE run_uuid = ?", (purged,))
    async with inventory_of(server) as inventory:
        found = {orphan.uri: orphan async for orphan in inventory.orphans(older_than=-60)}
        old = [orphan.uri async for orphan in inventory.orphans()]
        run = found[f"mlflow-artifacts:/0/{RUN}/artifacts"]
        assert [meta.key for meta in inventory.objects(run)] == [
            f"0/{RUN}/artifacts/g",
            f"0/{RUN}/artifacts/models/{MODEL}/artifacts/f",
        ]
        assert inventory.holds(0, Key(f"0/{kept}/artifacts/folder/a.txt"))
        assert inventory.holds(0, Key(f"0/{kept}"))
        assert not inventory.holds(0, Key(f"0/{kept[:-1]}"))
    assert (run.objects, run.bytes, run.why, run.id) == (2, 9, Why.GONE, RUN)
    assert {uri.removeprefix("mlflow-artifacts:/"): orphan.why for uri, orphan in found.items()} == {
        f"0/{RUN}/artifacts": Why.GONE,
        f"0/models/{MODEL}/artifacts": Why.GONE,
        f"0/traces/{TRACE}/artifacts": Why.GONE,
        f"9/{kept}/artifacts": Why.MOVED,
        "mlflow.db": Why.STRAY,
    }
    assert old == [f"mlflow-artifacts:/0/models/{MODEL}/artifacts"]


async def test_an_upload_that_nobody_goes_on_with_is_found_when_it_is_old(server):
    async with inventory_of(server) as inventory:
        uploads = inventory.roots[0].store.uploads
        ref = await uploads.begin(Key("0/x"))
        assert [upload async for upload in inventory.uploads()] == []
        (found,) = [upload async for upload in inventory.uploads(older_than=-60)]
        assert (found.ref, found.uri) == (ref, "mlflow-artifacts:/0/x")


async def test_a_temporary_folder_without_room_is_named_with_the_setting(server, monkeypatch):
    for number in range(100):
        put(server.artifacts / f"{number:0200}.bin")
    monkeypatch.setattr(inventories, "_TABLE", f"{inventories._TABLE}PRAGMA max_page_count = 3;")
    with pytest.raises(ConfigError, match=r"TMPDIR: .* disk is full.*; name a folder with more room"):
        async with inventory_of(server):
            pass


class Many(MemoryStore):
    """A store that lists so many objects, and holds none of them."""

    async def list(self, prefix, deep=False, after=None):
        for number in range(100_000):
            yield ObjectMeta(Key(f"0/{number // 20:032x}/artifacts/{number:06}.bin"), 1, 1.0, "etag")


async def test_a_hundred_thousand_objects_are_listed_in_constant_memory(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/shoso.db"
    await Database.open(uri, artifact_root="mlflow-artifacts:/").close()
    estate = Estate.open({"backend_store_uri": uri, "artifacts_destination": str(tmp_path)}, {})
    store = standard(Many())

    async def roots(_):
        return [Root("memory:/", store, store)]

    monkeypatch.setattr(Estate, "roots", roots)
    tracemalloc.start()
    try:
        async with Inventory.taken(estate) as inventory:
            found = [orphan.objects async for orphan in inventory.orphans()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await estate.close()
    assert (len(found), sum(found)) == (5_000, 100_000)
    assert peak < 8 * 2**20


async def test_roots_that_are_one_by_a_link_are_listed_once(server, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(server.artifacts)
    put(server.artifacts / f"0/{RUN}/artifacts/f")
    async with inventory_of(server, allow_artifact_root=(str(link),)) as inventory:
        assert [root.uri for root in inventory.roots] == ["mlflow-artifacts:/"]
        await inventory.roots[0].store.write(Key("x"), BytesSource(b"x"))
        assert inventory.find(f"{link}/0/{RUN}/artifacts") == (0, f"0/{RUN}/artifacts")
