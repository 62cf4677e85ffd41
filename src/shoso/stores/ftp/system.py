"""The folder on an FTP server as a `FileSystem`.

550 means whatever the server likes, so that after one it is asked what is there. A transfer counts when the
server has said 226 for it and the sizes agree: the end of a data connection looks the same whether all was
sent or the far end died.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from shoso.stores.files.folders import above
from shoso.stores.files.system import Found, Status, Traits
from shoso.stores.ftp import terse
from shoso.stores.ftp.address import FtpOptions
from shoso.stores.ftp.data import Data
from shoso.stores.ftp.pool import Pool
from shoso.stores.ftp.replies import found_in, problem, reaching, refusal, status_of, unreplaced
from shoso.stores.ftp.session import Refused, Session, code
from shoso.stores.ftp.transfers import NewFtpFile, OpenFtpFile, Transfer

T = TypeVar("T")

LONGEST_NAME = 255
"""Bytes that a name may have on about every file system."""


class FtpSystem:
    """The verbs of FileSystem."""

    def __init__(self, options: FtpOptions) -> None:
        self.options = options
        self.pool = Pool(options)
        self._terse = False  # whether the server has no MLST
        self._known = False  # whether that was asked
        self.traits = Traits(exclusive=False, connections=options.connections)

    async def status(self, path: str) -> Status:
        """See FileSystem."""
        if (there := status_of(await self.facts(path))) is None:
            raise problem(errno.ENOENT, path)
        return there

    async def open(self, path: str) -> OpenFtpFile:
        """See FileSystem. The server has opened it then: nobody replaces it before the first byte."""
        for _ in range(_RACES):
            facts = await self.facts(path)
            there = status_of(facts)
            if there is None or there.folder:
                raise problem(errno.ENOENT, path)
            file = OpenFtpFile(self, path, there, facts)
            if await file.begin(0):
                return file
        raise problem(errno.ESTALE, path)

    async def create(self, path: str) -> NewFtpFile:
        """See FileSystem."""
        return NewFtpFile(self, path, await self.transfer("STOR", path))

    async def rename(self, source: str, target: str, replace: bool) -> None:
        """See FileSystem; FTP can't refuse to replace, so that the look before has its race."""
        async with self.session(target) as session:
            if not replace and await self.look(session, target) is not None:
                raise problem(errno.EEXIST, target)
            await self._insist(lambda: self._rename(session, source, target))

    async def remove(self, path: str) -> None:
        """See FileSystem."""
        async with self.session(path) as session:
            await self._insist(lambda: self._remove(session, path))

    async def mkdir(self, path: str) -> None:
        """See FileSystem."""
        async with self.session(path) as session:
            if not path:
                await self._make_above_root(session)
            await self._insist(lambda: self._mkdir(session, path))

    async def rmdir(self, path: str) -> None:
        """See FileSystem."""
        async with self.session(path) as session:
            try:
                await session.ask(f"RMD {self.place(path)}", "2xx")
            except Refused as refused:
                there = await self._there(session, path, refused)
                raise problem(errno.ENOTEMPTY if there.folder else errno.ENOTDIR, path) from refused

    async def entries(self, path: str) -> list[Found]:
        """See FileSystem."""
        if not self._known:
            await self.facts("")  # a server without MLSD has no MLST either, and says so more simply
        if self._terse:
            return await self._entries("LIST -a", path, terse.found_in)
        return await self._entries("MLSD", path, found_in)

    async def _entries(self, verb: str, path: str, read: Callable[[bytes], Found | None]) -> list[Found]:
        if self._terse and not (await self.status(path)).folder:
            raise problem(errno.ENOTDIR, path)  # LIST would show the file, and nothing for what is missing
        transfer = await self.transfer(verb, path)
        held = bytearray()
        try:
            while block := await transfer.receive():
                held += block
            await transfer.received()
        finally:
            transfer.release()
        return [found for line in bytes(held).split(b"\n") if (found := read(line)) is not None]

    async def join(self, sources: Sequence[str], target: str) -> Status:
        """See FileSystem; FTP has nothing for it."""
        raise problem(errno.ENOSYS, target)

    async def close(self) -> None:
        """See FileSystem."""
        await self.pool.close()

    # -- for the transfers too ----------------------------------------------------------------------------

    @asynccontextmanager
    async def session(self, path: str) -> AsyncIterator[Session]:
        """A session of the pool; what the server refuses in the block comes out as an OSError."""
        with reaching(self.options):
            try:
                async with self.pool.session() as session:
                    yield session
            except Refused as refused:
                raise refusal(refused, path, self.options) from refused

    async def transfer(self, verb: str, path: str, start: int = 0) -> Transfer:
        """A transfer begun. Raises OSError, StoreError."""
        with reaching(self.options):
            session = await self.pool.take()
            try:
                data = await self._insist(lambda: self._begin(session, verb, path, start))
            except Refused as refused:
                self.pool.give(session)
                raise refusal(refused, path, self.options) from refused
            except BaseException:
                self.pool.give(session)
                raise
        return Transfer(self, path, session, data)

    async def facts(self, path: str) -> str:
        """What the server tells of what is there, the same again as long as it's the same; "" for nothing."""
        async with self.session(path) as session:
            return await self._facts(session, path)

    async def look(self, session: Session, path: str) -> Status | None:
        """What is there: a file, a folder, or nothing that can be seen. Raises Refused."""
        return status_of(await self._facts(session, path))

    async def _facts(self, session: Session, path: str) -> str:
        if self._terse:
            return await terse.facts(session, self.place(path))
        try:
            lines = await session.ask(f"MLST {self.place(path)}", "2xx")
        except Refused as refused:
            if code(refused) in _VAGUE:
                return ""
            if code(refused) not in _UNKNOWN:
                raise
            self._terse = True
            return await self._facts(session, path)
        finally:
            self._known = True
        return lines[1].strip(" ").partition(" ")[0] if len(lines) > 1 else ""

    def place(self, path: str) -> str:
        """The path from the server's root: the server takes neither a blank nor a ~ at its start for more."""
        return f"{self.options.root.rstrip('/')}/{path}".rstrip("/") or "/"

    # -- the commands, and why the server refused them ----------------------------------------------------

    async def _insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again what is refused without a reason: it may have gone, or come, before we looked."""
        for _ in range(_LOOKS):
            try:
                return await attempt()
            except PermissionError:
                pass
        return await attempt()

    async def _rename(self, session: Session, source: str, target: str) -> None:
        try:
            await session.ask(f"RNFR {self.place(source)}", "350")
        except Refused as refused:
            await self._there(session, source, refused)
            raise refusal(refused, source, self.options) from refused
        try:
            await session.ask(f"RNTO {self.place(target)}", "2xx")
        except Refused as refused:
            there = await self._seen(session, target, refused)
            if there is None:
                raise await self._unmade(session, target, refused) from refused
            if there.folder:
                raise problem(errno.EISDIR, target) from refused
            raise unreplaced(target, self.options) from refused

    async def _remove(self, session: Session, path: str) -> None:
        try:
            await session.ask(f"DELE {self.place(path)}", "2xx")
        except Refused as refused:
            if (await self._there(session, path, refused)).folder:
                raise problem(errno.EISDIR, path) from refused
            raise refusal(refused, path, self.options) from refused

    async def _mkdir(self, session: Session, path: str) -> None:
        try:
            await session.ask(f"MKD {self.place(path)}", "2xx")
        except Refused as refused:
            if await self._seen(session, path, refused) is not None:
                raise problem(errno.EEXIST, path) from refused
            raise await self._unmade(session, path, refused) from refused

    async def _begin(self, session: Session, verb: str, path: str, start: int) -> Data:
        try:
            return await session.transfer(f"{verb} {self.place(path)}", start)
        except Refused as refused:
            if verb == "STOR":
                raise await self._unmade(session, path, refused) from refused
            if code(refused) == "554":  # the file has become shorter than the byte to begin with
                raise problem(errno.ESTALE, path) from refused
            if (await self._there(session, path, refused)).folder == (verb in _LISTING):
                raise refusal(refused, path, self.options) from refused
            raise problem(errno.ENOTDIR if verb in _LISTING else errno.ENOENT, path) from refused

    async def _unmade(self, session: Session, path: str, refused: Refused) -> Exception:
        """Why nothing could be made there: its folder is missing, or a file, or not ours to write to."""
        if code(refused) not in _VAGUE:
            return refusal(refused, path, self.options)
        if (folder := await self.look(session, above(path))) is None:
            return problem(errno.ENOENT, path)
        if not folder.folder:
            return problem(errno.ENOTDIR, path)
        if any(len(name.encode()) > LONGEST_NAME for name in path.split("/")):
            return problem(errno.ENAMETOOLONG, path)
        return refusal(refused, path, self.options)

    async def _there(self, session: Session, path: str, refused: Refused) -> Status:
        """What is there after all, though the server refused something. Raises ENOENT, what it meant."""
        if code(refused) not in _VAGUE:
            raise refusal(refused, path, self.options) from refused
        if (there := await self.look(session, path)) is None:
            raise problem(errno.ENOENT, path) from refused
        return there

    async def _seen(self, session: Session, path: str, refused: Refused) -> Status | None:
        """What is there, if the server's no may be about that."""
        return await self.look(session, path) if code(refused) in _VAGUE else None

    async def _make_above_root(self, session: Session) -> None:
        """Every folder on the way; one that is there is fine, whatever the server says to it."""
        names = self.options.root.strip("/").split("/")
        for depth in range(1, len(names)):
            await session.ask(f"MKD /{'/'.join(names[:depth])}", "xxx")


_VAGUE = {"450", "501", "521", "550", "553"}
"""Replies that say no more than no."""

_UNKNOWN = {"500", "502", "504"}
"""Replies to a command that the server doesn't have."""

_LISTING = {"MLSD", "LIST -a"}

_RACES = 10
"""Times that a file is opened anew because it was replaced just then."""

_LOOKS = 2
"""Times that a refusal without a reason is tried again."""
