"""The stores that must keep the contract.

To add one: write a function that names a fresh, empty place on a real server (`Target`), in a module of
tests/servers, and add `direct` and `through` of it to SUBJECTS: the store itself, and the store behind a
Shoso server. What is left behind goes with the server.
"""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from tests.conformance.sized import Sized
from tests.e2e.servers import Server
from tests.servers import azurite, ftpd, gcs, hdfs, mlflowd, radosgw, sshd
from tests.servers.processes import Facts, own
from tests.servers.target import Target, around

from shoso.core.keys import ROOT, Key
from shoso.core.store import Store
from shoso.core.types import ObjectMeta
from shoso.layers import standard
from shoso.stores import mlflow, open_store
from shoso.stores.folder import open_folder
from shoso.stores.local import LocalOptions, LocalStore
from shoso.stores.memory import MemoryStore
from shoso.stores.remote.store import RemoteOptions, RemoteStore

Again = Callable[[], AbstractAsyncContextManager[Store]]


@dataclass(frozen=True)
class Opened:
    """An empty store and the ways around it.

    `again` opens a second instance on the same objects, as another process would. `put` and `get` bypass the
    store, so that a broken write can't be hidden by a read that is broken in the same way; None where there
    is no such way. `refused` are names that the storage would change, so that the store must refuse them;
    `all_parts` says that it joins all parts of an upload or none, `blind` that it joins them without seeing
    their bytes, so that no digest can be compared. `part_size` is what every upload is begun with; `behind`
    says that a Shoso server stands before a storage that is a subject by itself.
    """

    store: Store
    again: Again
    put: Callable[[str, bytes], None] | None = None
    get: Callable[[str], bytes | None] | None = None
    refused: frozenset[str] = frozenset()
    all_parts: bool = False
    blind: bool = False
    part_size: int | None = None
    behind: bool = False


@dataclass(frozen=True)
class Subject:
    """How to open a store in a folder of its own; `volatile` where the objects live in this very process.

    `dresses` are the layers that it is tested under; `unkept` are the promises that the storage can't
    keep, by the names of their tests, and why; those of `at_times` depend on the moment. `queued` is how many
    KiB the storage's library keeps of a write, whatever we hand it.
    """

    name: str
    open: Callable[[Path], AbstractAsyncContextManager[Opened]]
    volatile: bool = False
    dresses: tuple[str, ...] = ("bare", "standard")
    unkept: Mapping[str, str] = field(default_factory=dict)
    at_times: Mapping[str, str] = field(default_factory=dict)
    queued: int = 0


@asynccontextmanager
async def _memory(folder: Path) -> AsyncIterator[Opened]:
    store = MemoryStore()

    @asynccontextmanager
    async def again() -> AsyncIterator[Store]:
        yield store  # there is no second way to the same dict

    def put(key: str, data: bytes) -> None:
        store.objects[Key(key)] = (ObjectMeta(Key(key), len(data), time.time(), f"put-{len(data)}"), data)

    def get(key: str) -> bytes | None:
        found = store.objects.get(Key(key))
        return found and found[1]

    yield Opened(store, again, put, get)
    await store.close()


@asynccontextmanager
async def _local(folder: Path) -> AsyncIterator[Opened]:
    @asynccontextmanager
    async def again() -> AsyncIterator[Store]:
        store = LocalStore(LocalOptions(folder))
        yield store
        await store.close()

    async with again() as store:
        yield Opened(store, again, *around(folder))


@asynccontextmanager
async def _folder(folder: Path) -> AsyncIterator[Opened]:
    @asynccontextmanager
    async def again() -> AsyncIterator[Store]:
        store = open_folder(folder)
        yield store
        await store.close()

    async with again() as store:
        yield Opened(store, again, *around(folder))
    async with again() as store:
        for ref in [ref async for ref in store.uploads.pending(ROOT)]:
            await store.uploads.abort(ref)
    left = await asyncio.to_thread(lambda: [*folder.rglob(".*.shoso-part*")])
    assert not left


def _server() -> Facts:
    """A server for all the tests of this process and its children; it ends with it."""
    folder = TemporaryDirectory(prefix="shoso-conformance-")
    server = Server(Path(folder.name), "--artifacts-only").start()
    atexit.register(folder.cleanup)
    atexit.register(server.stop)
    return {"uri": server.uri, "artifacts": str(server.artifacts)}


@asynccontextmanager
async def _remote(folder: Path) -> AsyncIterator[Opened]:
    server = own("remote", _server)

    @asynccontextmanager
    async def again() -> AsyncIterator[Store]:
        store = RemoteStore(RemoteOptions(server["uri"]))
        await store.connect()
        yield store
        await store.close()

    async with again() as store:
        yield Opened(store, again, *around(Path(server["artifacts"])))
    await asyncio.to_thread(_swept, Path(server["artifacts"]))


def _swept(disk: Path) -> None:
    for left in (*disk.glob("*"), *disk.glob(".shoso/uploads/*")):
        if left.name != ".shoso":
            rmtree(left) if left.is_dir() else left.unlink()


def direct(
    name: str,
    fresh: Callable[[], Target],
    open_store: Callable[[str, Mapping[str, str]], Store] = open_store,
    unkept: Mapping[str, str] | None = None,
    at_times: Mapping[str, str] | None = None,
    dresses: tuple[str, ...] = ("bare",),
    queued: int = 0,
) -> Subject:
    """The store itself, each time in a place of its own; under the standard layers it is in `through`."""

    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Opened]:
        target = fresh()

        @asynccontextmanager
        async def again() -> AsyncIterator[Store]:
            store = open_store(target.uri, target.environment)
            yield store
            await store.close()

        async with again() as store:
            yield _offered(target, store, again)

    return Subject(name, opened, False, dresses, unkept or {}, at_times or {}, queued)


def through(name: str, fresh: Callable[[], Target]) -> Subject:
    """The same store as the destination of a Shoso server, seen by a client; emptied after each test.

    The server has it under the standard layers, as everybody has, and the client the server.
    """

    @cache
    def served() -> tuple[Server, Target]:
        target = fresh()
        folder = TemporaryDirectory(prefix="shoso-conformance-")
        flags = ("--artifacts-only", "--artifacts-destination", target.uri)
        server = Server(Path(folder.name), *flags, env=dict(target.environment)).start()
        atexit.register(folder.cleanup)
        atexit.register(server.stop)
        return server, target

    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Opened]:
        server, target = served()

        @asynccontextmanager
        async def again() -> AsyncIterator[Store]:
            store = RemoteStore(RemoteOptions(server.uri))
            await store.connect()
            yield store
            await store.close()

        async with again() as store:
            yield _offered(target, store, again, behind=True)
        async with again() as store:
            await _emptied(store)

    return Subject(f"remote-{name}", opened, dresses=("standard",))


def _offered(target: Target, store: Store, again: Again, behind: bool = False) -> Opened:
    ways = (target.put, target.get, target.refused, target.all_parts, target.blind)
    return Opened(store, again, *ways, behind=behind)


async def _emptied(store: Store) -> None:
    for ref in [ref async for ref in store.uploads.pending(ROOT)]:
        await store.uploads.abort(ref)
    await store.delete([entry.key async for entry in store.list(ROOT, deep=True)])


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("memory", _memory, volatile=True),
        Subject("local", _local),
        Subject("folder", _folder),
        Subject("remote", _remote),
        direct("gcs", gcs.fresh),
        through("gcs", gcs.fresh),
        direct("azure", azurite.fresh),
        through("azure", azurite.fresh),
        direct("s3", radosgw.emptied),
        through("s3", radosgw.fresh),
        direct("hdfs", hdfs.fresh, queued=hdfs.QUEUED),
        through("hdfs", hdfs.fresh),
        direct("ftp", ftpd.fresh),
        through("ftp", ftpd.fresh),
        direct("ftps", ftpd.fresh_tls),
        direct("sftp", sshd.fresh),
        through("sftp", sshd.fresh),
        direct("mlflow", mlflowd.fresh, mlflow.open_store, mlflowd.UNKEPT, mlflowd.AT_TIMES, ("standard",)),
    )
}

PART_SIZE = 1_100_000  # more than a buffer, and no number of them

DRESSES: dict[str, Callable[[Store], Store]] = {
    "bare": lambda store: store,
    "standard": standard,
    "sized": lambda store: Sized(store, PART_SIZE),
}
"""The layers that a store is tested under; `sized` tells each upload how large its parts will be."""

DRESSED = [f"{name}-{dress}" for name, subject in SUBJECTS.items() for dress in subject.dresses]
SIZED = [f"{name}-sized" for name in ("memory", "local", "folder", "remote")]


@asynccontextmanager
async def opened(subject: str, dress: str, folder: Path) -> AsyncIterator[Opened]:
    """The subject under those layers, and every further instance of it too."""
    put_on = DRESSES[dress]
    async with SUBJECTS[subject].open(folder) as bare:

        @asynccontextmanager
        async def again() -> AsyncIterator[Store]:
            async with bare.again() as other:
                yield put_on(other)

        part_size = PART_SIZE if dress == "sized" else None
        yield replace(bare, store=put_on(bare.store), again=again, part_size=part_size)
