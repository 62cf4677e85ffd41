"""`fsck` against estates that a real server and a real mlflow client filled, and somebody damaged."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, make_url, text
from tests.e2e.servers import Server, eventually
from tests.servers import postgres, radosgw
from tests.servers.faultproxy import FaultProxy

from shoso.core.keys import Key
from shoso.errors import ShosoError, StoreError
from shoso.maintenance.estate import Estate
from shoso.maintenance.fsck import check, data, records, repairs
from shoso.maintenance.fsck.findings import Asked, Data, Finding, Totals
from shoso.metadata import objects

DAY = 86_400
RUN = "a" * 32
SHOSO = Path(sys.executable).with_name("shoso")
NO_WAIT = -60.0
"""What is left is found at once, whatever clock the storage has."""


@dataclass
class World:
    """A server, what it was started with, and the ways around it."""

    server: Server
    flags: Mapping[str, str]
    environment: Mapping[str, str]
    put: Callable[[str, bytes], None]
    remove: Callable[[str], None]
    client: MlflowClient
    ids: dict[str, str] = field(default_factory=dict)

    async def check(self, **asked: Any) -> tuple[list[Finding], Totals]:
        """What is found in this process."""
        estate, found = Estate.open(self.flags, self.environment), list[Finding]()
        try:
            return found, await check(estate, Asked(**asked), found.append)
        finally:
            await estate.close()

    def fsck(self, *arguments: str, code: int | None) -> list[dict[str, Any]]:
        """What the command prints as JSON."""
        process = self.start("fsck", "--json", *arguments)
        out, err = process.communicate(timeout=120)
        assert code is None or process.returncode == code, (out, err)
        assert "Traceback" not in err
        return [json.loads(line) for line in out.splitlines()]

    def read(self) -> int:
        """How many objects a check has read that isn't at its end."""
        for file in Path(self.environment["SHOSO_STATE"]).glob("fsck/*.read"):
            with closing(sqlite3.connect(file)) as database:
                return int(database.execute("SELECT count(*) FROM read").fetchone()[0])
        return 0

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin the command."""
        named = [
            part for name, value in self.flags.items() for part in (f"--{name.replace('_', '-')}", value)
        ]
        plain = {name: v for name, v in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
        command = [SHOSO, *arguments, *named]
        env = plain | {**self.environment}
        return subprocess.Popen(
            command,
            cwd=self.server.folder,  # where a plan of gc is left
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sql(self, statement: str, **values: Any) -> None:
        """Change the database behind the server."""
        engine = create_engine(self.flags["backend_store_uri"])
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()

    def key(self, run: str, path: str) -> str:
        """The key of an artifact."""
        location = self.client.get_run(self.ids[run]).info.artifact_uri
        return f"{location.removeprefix('mlflow-artifacts:/')}/{path}"


def on_disk(folder: Path) -> World:
    server = Server(folder)
    flags = {"backend_store_uri": server.database, "artifacts_destination": str(server.artifacts)}

    def put(key: str, data: bytes) -> None:
        (server.artifacts / key).parent.mkdir(parents=True, exist_ok=True)
        (server.artifacts / key).write_bytes(data)

    state = {"SHOSO_STATE": str(folder / "state")}
    return World(server, flags, state, put, lambda key: (server.artifacts / key).unlink(), _started(server))


def on_servers(folder: Path) -> World:
    target, facts = radosgw.fresh(), postgres.server()
    bucket = target.uri.removeprefix("s3://")
    uri = postgres.uri(facts, postgres.create(facts))
    flags = {"backend_store_uri": uri, "artifacts_destination": target.uri}
    named = ("--backend-store-uri", uri, "--artifacts-destination", target.uri)
    server = Server(folder, *named, env=dict(target.environment))

    def remove(key: str) -> None:
        radosgw.client().delete_object(Bucket=bucket, Key=key)

    environment = {**target.environment, "SHOSO_STATE": str(folder / "state")}
    return World(server, flags, environment, target.put, remove, _started(server))


def _started(server: Server) -> MlflowClient:
    return MlflowClient(server.start().uri)


@pytest.fixture(autouse=True)
def _settled(monkeypatch):
    """In this process, what looks wrong is looked at again soon: nobody is writing."""
    for module in (data, records):
        monkeypatch.setattr(module, "SETTLING", 0.02)


@pytest.fixture(params=[on_disk, on_servers], ids=["local-sqlite", "s3-postgres"])
async def world(request, tmp_path):
    made = request.param(tmp_path)
    fill(made)
    await _recorded(made, 10)
    yield made
    made.server.stop()


async def _recorded(world: World, count: int) -> None:
    """Wait until the server has written down what it stored, which it does a moment later."""
    estate = Estate.open(world.flags, world.environment)
    try:
        async with asyncio.timeout(20):
            while len(await estate.database.read(objects.page, b"")) < count:  # noqa: ASYNC110  (another process writes)
                await asyncio.sleep(0.02)
    finally:
        await estate.close()


def fill(world: World) -> None:
    """Runs, models and versions, after all that is ordinarily done to them."""
    client = world.client
    experiment = client.create_experiment("old name")
    client.rename_experiment(experiment, "new name")
    for name in ("run", "restored", "deleted"):
        world.ids[name] = run = client.create_run(experiment).info.run_id
        for path in ("a/b.txt", "a/c.txt", "d.txt"):
            client.log_text(run, f"{name} {path}", path)
        client.set_terminated(run)
    client.delete_run(world.ids["restored"])
    client.restore_run(world.ids["restored"])
    client.delete_run(world.ids["deleted"])
    client.log_text(world.ids["run"], "overwritten", "d.txt")
    model = client.create_logged_model(experiment, "net", source_run_id=world.ids["run"])
    (world.server.folder / "MLmodel").write_text("flavors: {}\n")
    client.log_model_artifacts(model.model_id, str(_only(world.server.folder / "MLmodel")))
    client.finalize_logged_model(model.model_id, "READY")
    world.ids["model"], world.ids["experiment"] = model.model_id, experiment
    client.create_registered_model("first")
    client.create_model_version("first", f"models:/{model.model_id}", model_id=model.model_id)
    source = client.get_run(world.ids["run"]).info.artifact_uri + "/a"
    client.create_model_version("first", source, run_id=world.ids["run"])
    client.copy_model_version("models:/first/2", "copied")
    client.create_model_version("first", source, run_id=world.ids["run"])
    client.set_registered_model_alias("first", "champion", "2")
    client.set_registered_model_alias("first", "gone", "3")
    client.delete_model_version("first", "3")
    client.rename_registered_model("first", "second")
    history = json.dumps([{"artifact_path": "a", "run_id": world.ids["run"]}])
    client.set_tag(world.ids["run"], "mlflow.log-model.history", history)


def _only(file: Path) -> Path:
    """The folder with this file alone."""
    folder = file.parent / "model"
    folder.mkdir()
    return file.rename(folder / file.name).parent


async def test_an_estate_is_clean_until_it_is_damaged_and_each_damage_is_named(world):
    found, totals = await world.check(age=NO_WAIT)
    assert (found, totals.found, totals.unchecked) == ([], 0, 0)
    assert totals.objects == 10
    await _collect(world)
    found, totals = await world.check(age=NO_WAIT)
    assert (found, totals.objects) == ([], 7)
    world.remove(world.key("run", "a/b.txt"))
    world.remove(world.key("run", "a/c.txt"))
    world.put(world.key("restored", "d.txt"), b"too long for what it was")
    world.remove(f"{world.ids['experiment']}/models/{world.ids['model']}/artifacts/MLmodel")
    world.put(f"0/{RUN}/artifacts/x", b"12345")
    world.sql("UPDATE registered_model_aliases SET version = 9 WHERE alias = 'champion'")
    world.sql(
        "INSERT INTO shoso_claims (kind, id, plan, time, location) VALUES ('run', :id, 'p', 1, 'x')",
        id=RUN,
    )
    estate = Estate.open(world.flags, world.environment)
    await (await estate.roots())[0].store.uploads.begin(Key("0/half"))
    await estate.close()
    found, totals = await world.check(age=NO_WAIT)
    run, model, restored = (world.ids[name] for name in ("run", "model", "restored"))
    there = f"mlflow-artifacts:/{world.ids['experiment']}"
    assert sorted((one.kind.value, one.name) for one in found) == [
        ("alias", "models:/second@champion"),
        ("claim", f"run {RUN}"),
        ("logged", f"runs:/{run}/a"),
        ("missing", f"{there}/{run}/artifacts/a/b.txt"),
        ("missing", f"{there}/{run}/artifacts/a/c.txt"),
        ("missing", f"{there}/models/{model}/artifacts/MLmodel"),
        ("model", f"models:/{model}"),
        ("orphan", f"mlflow-artifacts:/0/{RUN}/artifacts"),
        ("size", f"{there}/{restored}/artifacts/d.txt"),
        ("source", "models:/copied/1"),
        ("source", "models:/second/1"),
        ("source", "models:/second/2"),
        ("upload", "mlflow-artifacts:/0/half"),
    ]
    assert (totals.found, totals.repaired) == (13, 0)
    world.client.delete_run(run)
    world.client.delete_logged_model(model)
    found, _ = await world.check(age=NO_WAIT)  # what is deleted can't be logged again, and needn't be
    assert {"model", "logged"}.isdisjoint(one.kind.value for one in found)


async def _collect(world: World) -> None:
    """Let go for good what is marked deleted."""
    program = "gc", "--yes", "--json"
    process = await asyncio.to_thread(world.start, *program)
    out, err = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, (out, err)


async def test_what_is_safe_is_repaired_and_said(world):
    world.sql("UPDATE registered_model_aliases SET version = 9 WHERE alias = 'champion'")
    world.sql("DELETE FROM latest_metrics")
    estate = Estate.open(world.flags, world.environment)
    await (await estate.roots())[0].store.uploads.begin(Key("0/half"))
    await estate.close()
    for path in ("a/b.txt", "a/c.txt", "d.txt"):
        world.remove(world.key("deleted", path))
    world.sql("DELETE FROM tags WHERE run_uuid = :id", id=world.ids["deleted"])
    world.sql("DELETE FROM runs WHERE run_uuid = :id", id=world.ids["deleted"])
    found, totals = await world.check(age=NO_WAIT, repair=True)
    assert Counter(one.kind.value for one in found) == {"alias": 1, "upload": 1, "record": 3}
    assert all(one.done for one in found)
    assert totals.repaired == totals.found == 5
    again, _ = await world.check(age=NO_WAIT)
    assert again == []


async def test_every_byte_is_compared_and_what_is_damaged_comes_from_a_copy(world, tmp_path):
    texts = {"a/b.txt": b"restored a/b.txt", "a/c.txt": b"restored a/c.txt", "d.txt": b"restored d.txt"}
    keys = {path: world.key("restored", path) for path in texts}
    for path, key in keys.items():
        (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / key).write_bytes(texts[path])
    overwritten = world.key("run", "d.txt")
    (tmp_path / "copy" / overwritten).parent.mkdir(parents=True)
    (tmp_path / "copy" / overwritten).write_bytes(b"not what it was")
    world.remove(keys["a/b.txt"])
    world.put(keys["a/c.txt"], b"RESTORED a/c.txt")
    world.put(keys["d.txt"], b"restored")
    world.put(overwritten, b"OVERWRITTEN")
    world.put(world.key("run", "direct.txt"), b"that the server has never seen")
    found, totals = await world.check(data=Data())
    uri = "mlflow-artifacts:/{}".format
    damage = {
        ("missing", uri(keys["a/b.txt"])), ("digest", uri(keys["a/c.txt"])), ("size", uri(keys["d.txt"])),
        ("digest", uri(overwritten)),
    }  # fmt: skip
    assert {(one.kind.value, one.name) for one in found} == damage
    assert (totals.read, totals.unrecorded, totals.recorded) == (9, 1, 0)
    found, totals = await world.check(data=Data(), repair=True, source=str(tmp_path / "copy"))
    assert {one.kind.value for one in found if one.done} == {"missing"}  # the others somebody wrote since
    assert (totals.unrecorded, totals.recorded) == (1, 1)
    world.remove(keys["a/b.txt"])
    found, _ = await world.check(data=Data(), repair=True, source=str(tmp_path / "copy"), replace=True)
    (left,) = (one for one in found if not one.done)
    assert left.name == uri(overwritten)
    assert "The bytes of the copy aren't those that were stored, either." in left.remedy
    assert {one.kind.value for one in found if one.done} == {"missing", "size", "digest"}
    found, totals = await world.check(data=Data())
    assert [one.name for one in found] == [uri(overwritten)]
    assert totals.unrecorded == 0
    for path, key in keys.items():
        fetched = world.client.download_artifacts(world.ids["restored"], path, str(tmp_path / "copy"))
        assert _read(fetched) == texts[path], key


@pytest.mark.parametrize("world", [on_disk], indirect=True, ids=["local-sqlite"])
async def test_what_somebody_writes_while_it_is_repaired_stays(world, tmp_path, monkeypatch):
    lost, changed = world.key("run", "a/b.txt"), world.key("run", "a/c.txt")
    for key in (lost, changed):
        (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / key).write_bytes(b"run " + key.partition("artifacts/")[2].encode())
    world.remove(lost)
    world.put(changed, b"by somebody else")
    digest = repairs._digest

    async def written_meanwhile(store, key):
        if key.startswith("copy/"):
            world.put(key.removeprefix("copy/"), b"new")
        return await digest(store, key)

    monkeypatch.setattr(repairs, "_digest", written_meanwhile)
    found, _ = await world.check(repair=True, source=str(tmp_path / "copy"), replace=True)
    assert {(one.kind.value, one.done, "Somebody wrote it just now" in one.remedy) for one in found} == {
        ("missing", "", True),
        ("size", "", True),
    }
    assert {(world.server.artifacts / key).read_bytes() for key in (lost, changed)} == {b"new"}


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.parametrize("world", [on_disk], indirect=True, ids=["local-sqlite"])
async def test_samples_of_several_days_are_different_ones(world):
    reads = []
    for day in range(6):
        totals = (await world.check(data=Data(share=0.4, seed=f"{day}")))[1]
        reads.append(totals.read)
    assert 0 < sum(reads) < 60
    assert len(set(reads)) > 1


@pytest.mark.parametrize("world", [on_servers], indirect=True, ids=["s3-postgres"])
async def test_a_database_that_goes_away_ends_the_check_with_an_error(world):
    world.remove(world.key("run", "a/b.txt"))
    url = make_url(world.flags["backend_store_uri"])
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")

    def drop(found: Finding) -> None:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {url.database} WITH (FORCE)"))

    world.server.stop()
    estate = Estate.open(world.flags, world.environment)
    with pytest.raises(ShosoError) as caught:
        await check(estate, Asked(), drop)
    await estate.close()
    engine.dispose()
    assert caught.value.kind.value in {"unavailable", "config", "timeout"}


@pytest.mark.parametrize("world", [on_servers], indirect=True, ids=["s3-postgres"])
async def test_a_page_of_a_listing_is_asked_for_once_and_a_storage_that_is_down_ends_the_check(world):
    run = world.client.get_run(world.ids["run"]).info
    with ThreadPoolExecutor(16) as pool:
        folder = run.artifact_uri.removeprefix("mlflow-artifacts:/")
        [*pool.map(lambda n: world.put(f"{folder}/many/{n}", b"."), range(1_100))]
    async with Counting(radosgw.port()) as proxy:
        world.environment = {**world.environment, **radosgw.environment(proxy.port)}
        found, totals = await world.check()
        assert (found, totals.objects, proxy.lists) == ([], 1_110, 2)

        class Refusing:
            def planned(self, number: int) -> None:
                proxy.refuse = True
                proxy.reset_all()

            def done(self, number: int) -> None:
                raise AssertionError

        with pytest.raises(StoreError) as caught:
            await world.check(data=Data(), told=Refusing())
        assert caught.value.kind.value == "unavailable"


class Counting(FaultProxy):
    """Counts the pages of listings that are asked for."""

    lists = 0

    async def _forward(self, reader: Any, writer: Any) -> None:
        read = reader.read

        async def counted(size: int) -> bytes:
            data = await read(size)
            self.lists += data.count(b"list-type=2")
            return data

        reader.read = counted
        await super()._forward(reader, writer)


def test_a_check_that_is_killed_goes_on(tmp_path):
    world = on_disk(tmp_path)
    try:
        run = world.client.create_run("0").info.run_id
        for number in range(12):
            world.put(f"0/{run}/artifacts/{number}", os.urandom(1_000_000))
        process = world.start("fsck", "--data", "--limit-rate", "4MB/s")
        assert eventually(lambda: world.read() >= 3, 60)
        process.kill()
        process.communicate()
        before = world.read()
        (total,) = world.fsck("--data", "--limit-rate", "400MiB/s", code=0)
        assert 3 <= before == total["before"]
        assert total["read"] + total["before"] == 12
        assert [*(tmp_path / "state" / "fsck").iterdir()] == []
        assert world.fsck("--data", code=0)[0]["read"] == 12
    finally:
        world.server.stop()


def test_whatever_moment_a_repair_is_killed_at_the_next_one_ends_it(tmp_path):
    """And the objects are what they were, each of them."""
    world = on_disk(tmp_path)
    chance = random.Random(6)
    try:
        run = world.client.create_run("0").info.run_id
        contents = {f"{number:02}": chance.randbytes(20_000) for number in range(60)}
        (tmp_path / "files").mkdir()
        for name, data in contents.items():
            (tmp_path / "files" / name).write_bytes(data)
        world.client.log_artifacts(run, str(tmp_path / "files"))
        folder = world.server.artifacts / f"0/{run}/artifacts"
        shutil.copytree(world.server.artifacts, tmp_path / "copy")
        for number, name in enumerate(contents):
            if number % 3 == 0:
                (folder / name).unlink()
            elif number % 3 == 1:
                (folder / name).write_bytes(bytes(20_000 - number % 2))
        repair = (
            "--data",
            "--repair",
            "--from",
            str(tmp_path / "copy"),
            "--replace",
            "--limit-rate",
            "1MB/s",
        )
        for _ in range(KILLS):
            process = world.start("fsck", "--json", *repair)
            time.sleep(chance.uniform(0.3, 3))
            process.kill()
            process.communicate()
        last = world.fsck(*repair[:-2], code=None)[-1]
        assert last["state"] in {"clean", "repaired"}
        assert {name: (folder / name).read_bytes() for name in contents} == contents
        assert world.fsck("--data", code=0)[0]["read"] == 60
    finally:
        world.server.stop()


KILLS = int(os.environ.get("SHOSO_TEST_KILLS", "4"))
"""How often a repair is killed."""


def test_the_exit_code_and_the_last_line_say_how_it_is(tmp_path):
    world = on_disk(tmp_path)
    fill(world)
    try:
        trashed = world.start("gc", "--yes", "--trash", "7d")
        assert (trashed.communicate(), trashed.returncode)[1] == 0
        assert [(line["type"], line.get("state")) for line in world.fsck(code=0)] == [("total", "clean")]
        world.sql("UPDATE registered_model_aliases SET version = 9 WHERE alias = 'champion'")
        assert [line.get("state", line.get("kind")) for line in world.fsck(code=4)] == ["alias", "damaged"]
        assert [line["type"] for line in world.fsck("--ignore", "alias", code=0)] == ["total"]
        assert [line.get("state") for line in world.fsck("--repair", code=3)] == [None, "repaired"]
        where = f"run_uuid = '{world.ids['restored']}'"
        world.sql(f"UPDATE runs SET artifact_uri = '{tmp_path}/elsewhere' WHERE {where}")
        assert world.fsck("--ignore", "orphan", code=0)[-1]["unchecked"] == 1
        world.server.artifacts.rename(tmp_path / "away")
        assert world.fsck(code=1) == []
        world.fsck("--sure", code=2)
        (tmp_path / "away").rename(world.server.artifacts)
        absent = world.start("fsck", "--repair", "--from", str(tmp_path / "absent"))
        assert f"--from: '{tmp_path}/absent' isn't there" in absent.communicate()[1]
    finally:
        world.server.stop()
