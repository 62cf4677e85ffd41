"""HDFS as a `FileSystem`, by hdfs-native in threads.

A file's version is its size, the time it was closed and a mark: part of its digest as its time of access, far
in the future, where no reader moves it. HDFS shows the library no number of a file, and two files may be
closed in the same millisecond. The library can set no extended attributes, so no digests are kept.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from hdfs_native import FileStatus, WriteOptions

from shoso.core.types import Digests
from shoso.errors import Kind, Retry, store_error
from shoso.stores.files.names import OWN
from shoso.stores.files.system import Found, NewFile, OpenFile, Status, Traits
from shoso.stores.hdfs.clients import Access, client, retire
from shoso.stores.hdfs.content import Content
from shoso.stores.hdfs.drafts import HdfsDraft
from shoso.stores.hdfs.errors import Whose, translated
from shoso.stores.hdfs.names import kept, literal, plain

if TYPE_CHECKING:
    from hdfs_native._internal import RawClient

P = ParamSpec("P")
T = TypeVar("T")

MARK = 1 << 48
"""The least time of access, in milliseconds, that is a mark: the year 10889."""

UNCHANGED = 2**64 - 1
"""-1 for Java: leave that time as it is."""

_OPENINGS = 10


@dataclass(frozen=True, slots=True)
class HdfsOptions:
    """A folder of a cluster, and the way there; `umask` is cut from the permissions of what is made.

    A call that is given up after `stuck` seconds means a connection that is dead without knowing it.
    """

    access: Access
    folder: str
    umask: int = 0o022
    stuck: float = 5.0
    connections: int = 32


class HdfsFiles:
    """A folder of HDFS."""

    def __init__(self, options: HdfsOptions) -> None:
        self._options = options
        self._root = kept(options.folder).rstrip("/")
        self.whose = Whose(options.access.address, options.access.user)
        self.traits = Traits(exclusive=True, digests=Digests.NONE, connections=options.connections)
        self._marks = True
        self._sealed: dict[str, Status] = {}

    # -- calls --------------------------------------------------------------------------------------------

    async def call(
        self,
        path: str,
        work: Callable[[RawClient, str], T],
        undo: Callable[[RawClient, str], object] | None = None,
    ) -> T:
        """What `work` gives for the client and the whole path; its errors come back as the driver's.

        A call that is given up goes on in its thread; what it then makes after all is undone.
        """
        used, started = client(self._options.access), time.monotonic()
        place = self.absolute(path)
        call = used.start(work, used.raw, place)
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            if undo is not None:
                call.add_done_callback(lambda _: _succeeded(call) and used.start(undo, used.raw, place))
            if time.monotonic() - started > self._options.stuck:
                retire(self._options.access, used)
            raise
        except BaseException as error:
            raise self.translated(error, path) from error

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do something with an open file, in a thread."""
        return client(self._options.access).start(work, *args, **kwargs)

    def absolute(self, path: str) -> str:
        """The path in the cluster."""
        return f"{self._root}/{kept(path)}".rstrip("/") or "/"

    def translated(self, error: BaseException, path: str) -> BaseException:
        """The library's error as the driver's."""
        return translated(error, path, self.whose)

    # -- the verbs ----------------------------------------------------------------------------------------

    async def status(self, path: str) -> Status:
        """See FileSystem."""
        return status_of(await self.call(path, lambda api, place: api.get_file_info(place)))

    async def open(self, path: str) -> OpenFile:
        """See FileSystem. The blocks are those of a status that is the same before and behind."""
        before = await self.status(path)
        for _ in range(_OPENINGS):
            if before.folder:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            reader = await self.call(path, lambda api, place: api.read(place))
            after = await self.status(path)
            if before == after:
                return Content(self, path, reader, after)
            before = after
        message = f"'{path}' is replaced as fast as it's opened."
        raise store_error(Kind.UNAVAILABLE, message, retry=Retry.SOON)

    async def create(self, path: str) -> NewFile:
        """See FileSystem."""
        mode = WriteOptions(permission=0o666 & ~self._options.umask, create_parent=False)
        try:
            writer = await self.call(path, lambda api, place: api.create(place, mode), _remove)
        except FileExistsError as error:  # the name is random: the library has sent it twice
            message = f"'{path}' was made over a connection that broke."
            raise store_error(Kind.UNAVAILABLE, message, retry=Retry.SOON) from error
        return HdfsDraft(self, path, writer)

    async def rename(self, source: str, target: str, replace: bool) -> None:
        """See FileSystem."""
        place = self.absolute(target)
        try:
            await self.call(source, lambda api, from_: api.rename(from_, place, replace))
        except FileNotFoundError:
            if not await self._renamed(source, target):
                raise
        except OSError as error:
            if error.errno != errno.EIO or not (await self.status(target)).folder:
                raise
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target) from error
        self._sealed.pop(source, None)

    async def remove(self, path: str) -> None:
        """See FileSystem. An empty folder is removed with the same call; nobody misses one."""
        try:
            gone = await self.call(path, _remove)
        except OSError as error:
            await self._unless_missing(error, path)
            if error.errno == errno.ENOTEMPTY:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path) from error
            raise
        self._sealed.pop(path, None)
        if not gone:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    async def mkdir(self, path: str) -> None:
        """See FileSystem. One that is there is left as it is, and those above are made with it."""
        own = path.split("/", 1)[0] == OWN
        mode = await self._rights() if own else 0o777 & ~self._options.umask
        await self.call(path, lambda api, place: api.mkdirs(place, mode, create_parent=True))

    async def rmdir(self, path: str) -> None:
        """See FileSystem."""
        if not (await self.status(path)).folder:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        await self.call(path, _remove)

    async def entries(self, path: str) -> list[Found]:
        """See FileSystem. A pattern brings all of them at once, 20 times as fast as one by one."""
        try:
            found = await self.call(path, lambda api, place: api.glob_status(_inside(place)))
        except OSError as error:
            await self._unless_missing(error, path)
            raise
        if not found and not (await self.status(path)).folder:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return [Found(plain(entry.path.rpartition("/")[2]), status_of(entry)) for entry in found]

    async def join(self, sources: Sequence[str], target: str) -> Status:
        """See FileSystem: HDFS can, the library can't."""
        raise store_error(Kind.UNSUPPORTED, "hdfs-native joins no files.")

    async def close(self) -> None:
        """See FileSystem. The client stays, for the next store of this cluster."""

    # -- what the verbs and the drafts ask ----------------------------------------------------------------

    async def mark(self, path: str, digest: str) -> Status:
        """The status of a file that has just been closed, with its mark if the cluster keeps such times."""
        if self._marks:
            mark = MARK | int(digest[:10], 16)
            try:
                await self.call(path, lambda api, place: api.set_times(place, UNCHANGED, mark))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                self._marks = False  # dfs.namenode.accesstime.precision is 0
        self._sealed[path] = await self.status(path)
        return self._sealed[path]

    async def touch(self, path: str) -> None:
        """Say that somebody is at that file."""
        now = int(time.time() * 1000)
        await self.call(path, lambda api, place: api.set_times(place, now, UNCHANGED))

    async def _rights(self) -> int:
        """The root's permissions, which `.shoso` gets: who may write in the root may write drafts."""
        with suppress(FileNotFoundError):
            return (await self.call("", lambda api, place: api.get_file_info(place))).permission
        return 0o777 & ~self._options.umask

    async def _renamed(self, source: str, target: str) -> bool:
        """Whether the library sent a rename twice, over a connection that broke behind the first."""
        sealed = self._sealed.get(source)
        with suppress(FileNotFoundError):
            return sealed is not None and await self.status(target) == sealed
        return False

    async def _unless_missing(self, error: OSError, path: str) -> None:
        """HDFS forbids what lies below a file, where nothing is."""
        if isinstance(error, PermissionError):
            await self.status(path)


def status_of(found: FileStatus) -> Status:
    """The library's status as the driver's."""
    if found.isdir:
        return Status(True, 0, found.modification_time / 1000)
    mark = f"-{found.access_time - MARK:x}" if found.access_time >= MARK else ""
    version = f"{found.modification_time:x}-{found.length:x}{mark}"
    return Status(False, found.length, found.modification_time / 1000, version)


def _remove(api: RawClient, place: str) -> bool:
    return api.delete(place, recursive=False)


def _succeeded(call: Future[T]) -> bool:
    return not call.cancelled() and call.exception() is None


def _inside(folder: str) -> str:
    return f"{literal(folder).rstrip('/')}/*"
