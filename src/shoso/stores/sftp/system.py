"""The file system behind SFTP; see stores/files/system.py for what each verb promises."""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import ParamSpec

import asyncssh

from shoso.errors import Kind, ShosoError, store_error
from shoso.stores.files.folders import above
from shoso.stores.files.system import Found, OpenFile, Status, Traits
from shoso.stores.sftp import SftpOptions
from shoso.stores.sftp.connection import Connection, Session
from shoso.stores.sftp.errors import SAID, UNSAID
from shoso.stores.sftp.transfer import Handle, Incoming, Outgoing, tried
from shoso.stores.sftp.versions import status_of

P = ParamSpec("P")

CALLS = 64
"""Calls under way at once; they share the sessions."""

RACES = 3
"""Tries of what failed for a name that was there, and is gone when it's looked for."""

KNOWN_FOR = 1.0
"""Seconds for which a folder that was found to be no link is taken for none."""

_NEW = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
_SHOWN = {asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_DIRECTORY}
_FOLDER = asyncssh.FILEXFER_TYPE_DIRECTORY
_LINK = asyncssh.FILEXFER_TYPE_SYMLINK


class SftpSystem:
    """A folder on a host that is reached by SSH."""

    traits = Traits(exclusive=True, joins=True, connections=CALLS)

    def __init__(self, options: SftpOptions) -> None:
        self._options = options
        self._connection = Connection(options)
        self._no_links: dict[str, float] = {}

    async def status(self, path: str) -> Status:
        """See FileSystem."""
        async with self._calling(path) as session:
            attrs, _ = await asyncio.gather(session.client.lstat(_place(session, path)), _real(session, path))
        return status_of(_regular(attrs, path))

    async def open(self, path: str) -> OpenFile:
        """See FileSystem."""
        handle = await self._opened(path, asyncssh.FXF_READ)
        try:
            attrs = await handle.run(handle.file.stat())
            return Incoming(handle, status_of(_regular(attrs, path, folders=False)))
        except BaseException:
            await handle.close()
            raise

    async def create(self, path: str) -> Outgoing:
        """See FileSystem; a file that is made for somebody who has left is removed."""
        opening = asyncio.ensure_future(self._opened(path, _NEW))
        try:
            return Outgoing(await asyncio.shield(opening), self.remove)
        except asyncio.CancelledError:
            opening.add_done_callback(self._unwanted)
            raise

    async def rename(self, source: str, target: str, replace: bool) -> None:
        """See FileSystem."""
        async with self._calling(target) as session:
            await self._guard(session, above(target))
            for _ in range(RACES):
                try:
                    return await _durably(session, above(target), _renamed, session, source, target, replace)
                except asyncssh.SFTPFailure:
                    if await _type(session, target) == _FOLDER:
                        raise _error(errno.EISDIR, target) from None
                    if not replace and await _type(session, target) is not None:
                        raise _error(errno.EEXIST, target) from None
            raise _error(UNSAID, target)

    async def remove(self, path: str) -> None:
        """See FileSystem."""
        async with self._calling(path) as session:
            await self._guard(session, above(path))
            try:
                await session.client.remove(_place(session, path))
            except (asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied):
                if await _type(session, path) == _FOLDER:
                    raise _error(errno.EISDIR, path) from None
                raise

    async def mkdir(self, path: str) -> None:
        """See FileSystem."""
        async with self._calling(path) as session:
            await self._guard(session, above(path))
            place = _place(session, path)
            for _ in range(RACES):
                try:
                    if not path:
                        return await self._make_root(session, place)
                    return await _durably(session, above(path), session.client.mkdir, place)
                except asyncssh.SFTPFailure:
                    if await _type(session, path) is not None:
                        raise _error(errno.EEXIST, path) from None
            raise _error(UNSAID, path)

    async def rmdir(self, path: str) -> None:
        """See FileSystem; a server doesn't say why it keeps a folder, so something is in it."""
        async with self._calling(path) as session:
            await self._guard(session, above(path))
            self._no_links.pop(path, None)
            try:
                await session.client.rmdir(_place(session, path))
            except asyncssh.SFTPFailure:
                raise _error(errno.ENOTEMPTY, path) from None

    async def entries(self, path: str) -> list[Found]:
        """See FileSystem; attributes come with the names, and a link's are its own."""
        async with self._calling(path) as session:
            await self._guard(session, path)
            return [
                Found(name, status_of(entry.attrs))
                async for entry in session.client.scandir(_place(session, path))
                if entry.attrs.type in _SHOWN and (name := os.fsdecode(entry.filename)) not in {".", ".."}
            ]

    async def join(self, sources: Sequence[str], target: str) -> Status:
        """See FileSystem: copied by the server (copy-data), or else by way of this machine."""
        file = await self.create(target)
        try:
            for source in sources:
                await self._append(file, source)
            return await file.seal("")
        except BaseException:
            await file.close()
            raise

    async def close(self) -> None:
        """See FileSystem."""
        await self._connection.close()

    # -- their parts --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _calling(self, path: str) -> AsyncIterator[Session]:
        async with self._connection.session() as session, session.calling(path):
            yield session

    async def _opened(self, path: str, flags: int) -> Handle:
        session = await self._connection.lease()
        try:
            async with session.calling(path):
                if flags != asyncssh.FXF_READ:
                    await self._guard(session, above(path))
                return Handle(session, await _open(session, path, flags), path)
        except BaseException:
            session.leave()
            raise

    def _unwanted(self, opening: asyncio.Future[Handle]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            handle = opening.result()
            handle.session.finish(self._removed(Outgoing(handle, self.remove)))

    async def _removed(self, file: Outgoing) -> None:
        with suppress(OSError, ShosoError):
            await file.discard()

    async def _guard(self, session: Session, folder: str) -> None:
        """Raise ELOOP where a link is on the way to the folder; one found to be none is believed a while."""
        now = time.monotonic()
        if folder and self._no_links.get(folder, 0.0) < now:
            await _real(session, folder)
            if len(self._no_links) > CALLS:
                self._no_links.clear()
            self._no_links[folder] = now + KNOWN_FOR

    async def _make_root(self, session: Session, place: bytes) -> None:
        try:
            await _made(session, place)
        except asyncssh.SFTPPermissionDenied as error:
            text = (
                f"The folder {self._options.path} isn't there, and the user on {self._options.host} may not"
                " make it: make it there, or name another in the URI."
            )
            raise store_error(Kind.FORBIDDEN, text) from error
        await self._connection.resolve(session)

    async def _append(self, file: Outgoing, source: str) -> None:
        if file.session.client.supports_remote_copy:
            async with file.session.calling(source):
                return await file.copy(await _open(file.session, source, asyncssh.FXF_READ))
        incoming = await self.open(source)
        try:
            async for data in incoming.read(0, incoming.status.size):
                await file.append([data])
        finally:
            await incoming.close()
        return None


def _place(session: Session, path: str) -> bytes:
    root = session.root.rstrip(b"/")
    return root + b"/" + os.fsencode(path) if path else root or b"/"


def _error(number: int, path: str) -> OSError:
    return OSError(number, SAID if number == UNSAID else os.strerror(number), path)


def _regular(attrs: asyncssh.SFTPAttrs, path: str, folders: bool = True) -> asyncssh.SFTPAttrs:
    """The same. Raises ELOOP for a link, ENOENT for a device, or a folder where none is wanted."""
    if attrs.type == _LINK:
        raise _error(errno.ELOOP, path)
    if attrs.type not in _SHOWN or (attrs.type == _FOLDER and not folders):
        raise _error(errno.ENOENT, path)
    return attrs


async def _type(session: Session, path: str) -> int | None:
    """What is there, if anything."""
    try:
        return (await session.client.lstat(_place(session, path))).type
    except asyncssh.SFTPNoSuchFile:
        return None


async def _real(session: Session, path: str) -> None:
    """Raise ELOOP where the path isn't what it seems."""
    place = _place(session, path)
    if await session.client.realpath(place) != place:
        raise _error(errno.ELOOP, path)


async def _open(session: Session, path: str, flags: int) -> asyncssh.SFTPClientFile:
    """The open file; the server is asked in the same breath whether a link led there. Raises ELOOP."""
    opening = session.client.open(_place(session, path), flags, encoding=None, block_size=0)
    file, real = await asyncio.gather(opening, _real(session, path), return_exceptions=True)
    if isinstance(file, BaseException):
        raise file
    if isinstance(real, BaseException):
        await file.close()
        raise real
    return file


async def _renamed(session: Session, source: str, target: str, replace: bool) -> None:
    old, new = _place(session, source), _place(session, target)
    if not replace:
        return await session.client.rename(old, new)
    try:
        return await session.client.posix_rename(old, new)
    except asyncssh.SFTPOpUnsupported:
        pass
    try:
        await session.client.rename(old, new)
    except asyncssh.SFTPFailure:
        if await _type(session, target) != asyncssh.FILEXFER_TYPE_REGULAR:
            raise
        text = f"'{target}' can't be replaced: the server lacks posix-rename@openssh.com; delete it first."
        raise store_error(Kind.UNSUPPORTED, text) from None


async def _durably(
    session: Session, folder: str, change: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Make the change in the folder and sync it, in one round trip: a session keeps the order."""
    try:
        file = await session.client.open(_place(session, folder), asyncssh.FXF_READ, encoding=None)
    except (asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied, asyncssh.SFTPOpUnsupported):
        return await change(*args, **kwargs)  # not every server opens folders
    await asyncio.gather(change(*args, **kwargs), tried(file.fsync()), tried(file.close()))
    return None


async def _made(session: Session, place: bytes) -> None:
    """Make a folder and those above it. Raises asyncssh's exceptions."""
    try:
        await session.client.mkdir(place)
    except asyncssh.SFTPNoSuchFile:
        if place in {b"", b"/"}:
            raise
        await _made(session, posixpath.dirname(place))
        await session.client.mkdir(place)
