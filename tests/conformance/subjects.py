"""The stores that must keep the contract.

To add one: write an async context manager that opens it, empty, and name it in SUBJECTS. Whatever it needs
beside `folder` (a server, a bucket) it brings itself; what is left behind in `folder` is removed for it.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from tests.e2e.servers import Server

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.types import ObjectMeta
from shoso.layers import standard
from shoso.stores.local import LocalOptions, LocalStore
from shoso.stores.memory import MemoryStore
from shoso.stores.remote import RemoteOptions, RemoteStore


@dataclass(frozen=True)
class Opened:
    """An empty store and the ways around it.

    `again` opens a second instance on the same objects, as another process would. `put` and `get` bypass the
    store, so that a broken write can't be hidden by a read that is broken in the same way; None where there
    is no such way.
    """

    store: Store
    again: Callable[[], AbstractAsyncContextManager[Store]]
    put: Callable[[str, bytes], None] | None = None
    get: Callable[[str], bytes | None] | None = None


@dataclass(frozen=True)
class Subject:
    """How to open a store in a folder of its own; `volatile` where the objects live in this very process."""

    name: str
    open: Callable[[Path], AbstractAsyncContextManager[Opened]]
    volatile: bool = False


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


def _around(folder: Path) -> tuple[Callable[[str, bytes], None], Callable[[str], bytes | None]]:
    """`put` and `get` of a store whose objects are the files of a folder."""

    def put(key: str, data: bytes) -> None:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)

    def get(key: str) -> bytes | None:
        return (folder / key).read_bytes() if (folder / key).is_file() else None

    return put, get


@asynccontextmanager
async def _local(folder: Path) -> AsyncIterator[Opened]:
    @asynccontextmanager
    async def again() -> AsyncIterator[Store]:
        store = LocalStore(LocalOptions(folder))
        yield store
        await store.close()

    async with again() as store:
        yield Opened(store, again, *_around(folder))


@cache
def _server() -> Server:
    """A server for all the tests of this process; it ends with it."""
    folder = TemporaryDirectory(prefix="shoso-conformance-")
    server = Server(Path(folder.name), "--artifacts-only").start()
    atexit.register(folder.cleanup)
    atexit.register(server.stop)
    return server


@asynccontextmanager
async def _remote(folder: Path) -> AsyncIterator[Opened]:
    server = _server()
    disk = server.artifacts

    @asynccontextmanager
    async def again() -> AsyncIterator[Store]:
        store = RemoteStore(RemoteOptions(server.uri))
        await store.connect()
        yield store
        await store.close()

    async with again() as store:
        yield Opened(store, again, *_around(disk))
    for left in (*disk.glob("*"), *disk.glob(".shoso/uploads/*")):
        if left.name != ".shoso":
            rmtree(left) if left.is_dir() else left.unlink()


SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("memory", _memory, volatile=True),
        Subject("local", _local),
        Subject("remote", _remote),
    )
}

DRESSES: dict[str, Callable[[Store], Store]] = {"bare": lambda store: store, "standard": standard}
"""The layers that a store is tested under."""


@asynccontextmanager
async def opened(subject: str, dress: str, folder: Path) -> AsyncIterator[Opened]:
    """The subject under those layers, and every further instance of it too."""
    put_on = DRESSES[dress]
    async with SUBJECTS[subject].open(folder) as bare:

        @asynccontextmanager
        async def again() -> AsyncIterator[Store]:
            async with bare.again() as other:
                yield put_on(other)

        yield Opened(put_on(bare.store), again, bare.put, bare.get)
