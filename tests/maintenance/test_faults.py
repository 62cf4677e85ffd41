"""What goes wrong while gc works: others, storages, databases, disks. Nothing is lost; a rerun ends it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mlflow import MlflowClient
from tests.e2e.servers import Server, eventually
from tests.maintenance import world
from tests.maintenance.verbs import Quiet
from tests.maintenance.world import FILES, World
from tests.servers import postgres, radosgw
from tests.servers.faultproxy import FaultProxy
from tests.servers.processes import Launcher, free_ports

from shoso.errors import Kind as ErrorKind
from shoso.errors import ShosoError
from shoso.layers.retry import RetryPolicy
from shoso.maintenance import plans
from shoso.maintenance.gc import owned
from shoso.maintenance.gc.applying import apply
from shoso.maintenance.gc.chosen import Asked
from shoso.maintenance.gc.planning import plan
from shoso.metadata import claims
from shoso.metadata.connect import Database
from shoso.metadata.dialects import served
from shoso.metadata.holdings import Kind

RUNS = 12

DURABLE = "-csynchronous_commit=on"
"""A flag of PostgreSQL's: the servers of the tests may forget the last commits when they are killed."""


@pytest.fixture
async def on_servers(tmp_path):
    """A world on PostgreSQL and S3."""
    opened = World(*await world.make("postgres", "s3", tmp_path))
    yield opened
    await opened.close()


async def deleted(opened: World) -> tuple[list[str], list[str]]:
    """Runs that stay, and runs that go."""
    one = await opened.experiment("one")
    ids = [await opened.run(one) for _ in range(RUNS)]
    for run_id in ids[2:]:
        await opened.delete_run(run_id)
    return ids[:2], ids[2:]


async def planned(opened: World, path: Path, **asked: object) -> Path:
    """A plan, in that file."""
    await plan(opened.estate, Asked(**asked), path, Quiet())
    return path


async def applied(opened: World, path: Path) -> object:
    """What became of it."""
    return await apply(opened.estate, *plans.read(path), Quiet())


async def is_right(opened: World, stay: list[str], go: list[str]) -> None:
    """Those that stay have all they had, and of the others there is nothing left."""
    assert await opened.there(Kind.RUN, *stay, *go) == sorted(stay)
    kept = {await opened.location(Kind.RUN, run_id) for run_id in stay}
    found = await opened.files()
    assert found == {
        f"{location.removeprefix(world.ROOT)}/{path}": data
        for location in kept
        for path, data in FILES.items()
    }
    assert await opened.database.read(claims.page, "run") == []


async def test_two_at_once_with_the_same_plan_or_parts_of_it_come_to_one_end(on_servers, tmp_path):
    stay, go = await deleted(on_servers)
    whole = await planned(on_servers, tmp_path / "whole")
    part = await planned(on_servers, tmp_path / "part", run_ids=go[:6])
    other = World(on_servers.flags, on_servers.environment)
    done = await asyncio.gather(
        applied(on_servers, whole), applied(other, whole), applied(other, part), applied(on_servers, part)
    )
    await other.close()
    told = {problem.message for one in done for problem in one.problems}
    assert told <= {"its artifacts aren't those of the plan any more"}  # the other one was at it
    again = await applied(on_servers, whole)
    assert (again.items, again.gone, again.problems) == ({}, len(go), [])
    await is_right(on_servers, stay, go)


async def test_a_run_that_is_being_written_keeps_all_while_its_deleted_sibling_goes(tmp_path):
    server = Server(tmp_path).start()
    client = MlflowClient(server.uri)
    kept, gone = [client.create_run("0").info.run_id for _ in range(2)]
    client.log_text(gone, "gone", "a.txt")
    client.delete_run(gone)
    flags = {"backend_store_uri": server.database, "artifacts_destination": str(server.artifacts)}
    opened, written, over = World(flags, {}), [], threading.Event()

    def write() -> None:
        while not over.is_set():
            written.append(f"{len(written)}.txt")
            client.log_text(kept, written[-1], written[-1])

    writing = asyncio.create_task(asyncio.to_thread(write))
    path = await planned(opened, tmp_path / "plan")
    assert await asyncio.to_thread(eventually, lambda: len(written) > 20)
    done = await applied(opened, path)
    assert await asyncio.to_thread(eventually, lambda: len(written) > 40)
    over.set()
    await writing
    assert (done.items, done.problems) == ({"run": 1}, [])
    found = await opened.files(f"mlflow-artifacts:/0/{kept}/artifacts")
    assert found == {name: name.encode() for name in written}
    assert await opened.there(Kind.RUN, kept, gone) == [kept]
    await opened.close()
    server.stop()


async def test_what_is_written_between_the_look_and_the_deletion_stays(on_servers, tmp_path, monkeypatch):
    _, go = await deleted(on_servers)
    path = await planned(on_servers, tmp_path / "plan")
    late = f"{await on_servers.location(Kind.RUN, go[0])}"
    looked = owned.OwnedJob._empty

    async def written(self, going):
        await on_servers.put(late, {"late.txt": b"late"})
        return await looked(self, going)

    monkeypatch.setattr(owned.OwnedJob, "_empty", written)
    await applied(on_servers, path)
    monkeypatch.undo()
    assert (await on_servers.files(late)) == {"late.txt": b"late"}


class Then(Quiet):
    """Does something once so many items are through."""

    def __init__(self, after: int, then: Callable[[], object]) -> None:
        self.left, self.then = after, then

    def done(self, number: int) -> None:
        self.left -= number
        if self.left <= 0:
            self.then()


async def test_a_storage_that_is_down_or_goes_away_loses_nothing_and_a_rerun_finishes(tmp_path, one_by_one):
    async with FaultProxy(radosgw.port()) as proxy:
        flags, environment = await world.make("sqlite", "s3", tmp_path)
        opened = World(flags, environment)
        stay, go = await deleted(opened)
        path, before = await planned(opened, tmp_path / "plan"), await opened.files()
        behind = World(flags, {**environment, **radosgw.environment(proxy.port)})

        def cut() -> None:
            proxy.refuse = True
            proxy.reset_all()

        cut()
        problems = await failed(behind, path, Quiet())
        assert problems <= {*go}
        assert await opened.files() == before
        assert await opened.there(Kind.RUN, *stay, *go) == sorted([*stay, *go])
        assert await opened.database.read(claims.page, "run") == []
        proxy.refuse = False
        await failed(behind, path, Then(3, cut))
        assert len(stay) < len(await opened.there(Kind.RUN, *stay, *go)) < len(before)
        proxy.refuse = False
        assert (await applied(behind, path)).problems == []
        await is_right(opened, stay, go)
        await behind.close()
        await opened.close()


async def failed(opened: World, path: Path, told: Quiet) -> set[str]:
    """What is named as not gone, by a report or by an error that ends it all."""
    try:
        done = await apply(opened.estate, *plans.read(path), told)
    except ShosoError as error:
        return told_of(error.message, set())
    assert done.problems
    return told_of(" ".join(one.message for one in done.problems), {one.item.id for one in done.problems})


def told_of(message: str, ids: set[str]) -> set[str]:
    """The ids, if the message says what can't be reached."""
    assert "127.0.0.1" in message
    return ids


@pytest.fixture
def one_by_one(monkeypatch):
    """A group has one item, and waits for the one before; nobody is waited for long."""
    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(
        RetryPolicy.__init__, "__defaults__", (2, 0.01, *RetryPolicy.__init__.__defaults__[2:])
    )
    monkeypatch.setattr("shoso.maintenance.gc.applying.GROUP_ITEMS", 1)
    monkeypatch.setattr("shoso.maintenance.gc.applying.GROUPS", 1)


async def test_a_database_that_goes_away_loses_nothing_and_a_rerun_finishes(
    tmp_path, one_by_one, monkeypatch
):
    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.2)
    with TemporaryDirectory(prefix="own-") as folder:
        launcher, port = Launcher("postgres", Path(folder)), free_ports(1)[0]
        facts = postgres.start(launcher, DURABLE, port)
        (tmp_path / "artifacts").mkdir()
        uri = postgres.uri(facts, postgres.create(facts))
        Database.open(uri, artifact_root=world.ROOT)
        opened = World({"backend_store_uri": uri, "artifacts_destination": str(tmp_path / "artifacts")}, {})
        stay, go = await deleted(opened)
        path, before = await planned(opened, tmp_path / "plan"), await opened.files()

        def kill() -> None:
            """PostgreSQL drops all at once, and recovers from its log when it comes back."""
            for process in launcher.processes:
                os.killpg(process.pid, signal.SIGQUIT)
            launcher.stop()
            launcher.processes.clear()

        with pytest.raises(ShosoError, match="can't be reached") as caught:
            await apply(opened.estate, *plans.read(path), Then(3, kill))
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        postgres.start(launcher, DURABLE, port)
        left = await opened.there(Kind.RUN, *stay, *go)
        assert len(stay) < len(left) < RUNS
        assert len(await opened.files()) < len(before)
        assert (await applied(opened, path)).problems == []
        await is_right(opened, stay, go)
        await opened.close()
        kill()


async def test_a_full_disk_leaves_no_half_plan_and_the_one_before(on_servers, tmp_path):
    await deleted(on_servers)
    folder = tmp_path / "plans"
    folder.mkdir()
    path = folder / "plan"
    path.write_text("the one before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            await planned(on_servers, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert [one.name for one in folder.iterdir()] == ["plan"]
    assert path.read_text() == "the one before"
