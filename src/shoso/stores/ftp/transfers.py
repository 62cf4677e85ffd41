"""One file on its way in or out."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from shoso.core.types import Buffer
from shoso.stores.files.system import Status
from shoso.stores.ftp.data import Data
from shoso.stores.ftp.replies import problem, reaching, refusal
from shoso.stores.ftp.session import SETTLE_TIMEOUT, Refused, Session

if TYPE_CHECKING:
    from shoso.stores.ftp.system import FtpSystem

DONE = ("226", "250")
"""The server's word that everything went over."""


class Transfer:
    """A session with a data connection; it ends in the pool, or is dropped."""

    def __init__(self, system: FtpSystem, path: str, session: Session, data: Data) -> None:
        self._system, self._path = system, path
        self.session, self.data = session, data
        self._over = False

    async def send(self, data: Buffer) -> None:
        """Send the bytes. Raises what the server has against them, ConnectionError."""
        try:
            await self.data.send(data)
        except OSError as error:
            raise await self._broken() from error

    async def sent(self) -> None:
        """Say that this was all, and wait for the server's word."""
        try:
            await self.data.finish()
        except OSError as error:
            raise await self._broken() from error
        await self._confirmed()

    async def receive(self) -> Buffer:
        """The next bytes, none at the end. Raises ConnectionError."""
        try:
            return await self.data.receive()
        except OSError as error:
            raise await self._broken() from error

    async def received(self) -> None:
        """The server's word for what came to its end, for which ProFTPD waits until we have hung up too."""
        self.data.close()
        await self._confirmed()

    async def break_off(self) -> None:
        """End it in its middle; the session is used again, if the server agrees on where we are."""
        if not self._over:
            self._over = True
            try:
                await self.session.settle(self.data)
            finally:
                self._system.pool.give(self.session)

    def release(self) -> None:
        """Give the session back, as it is: it's used again if the transfer had come to its end."""
        if not self._over:
            self._over = True
            self.data.close()
            self._system.pool.give(self.session)

    async def look(self) -> Status | None:
        """What the server has there, when the transfer is over; the session goes back."""
        try:
            with reaching(self._system.options):
                return await self._system.look(self.session, self._path)
        finally:
            self.release()

    async def _confirmed(self) -> None:
        """Wait for the server's word; the session stays ours. Raises OSError, StoreError."""
        with reaching(self._system.options):
            try:
                await self.session.reply(*DONE)
            except Refused as refused:
                raise refusal(refused, self._path, self._system.options) from refused

    async def _broken(self) -> Exception:
        """Why the data connection broke, if the server says so; the session is gone then."""
        self.data.close()
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT):
                await self.session.reply(*DONE)
        except Refused as refused:
            return refusal(refused, self._path, self._system.options)
        except (OSError, EOFError, ValueError):
            pass
        finally:
            self.session.drop()  # it may have more to say
            self.release()
        return ConnectionResetError(errno.ECONNRESET, "the data connection broke")


class NewFtpFile:
    """A file that is being stored."""

    def __init__(self, system: FtpSystem, path: str, transfer: Transfer) -> None:
        self._system, self._path, self._transfer = system, path, transfer
        self._sent = 0

    async def append(self, buffers: Sequence[Buffer]) -> None:
        """See NewFile."""
        for data in buffers:
            await self._transfer.send(data)
            self._sent += len(data)

    async def seal(self, digest: str) -> Status:
        """See NewFile; FTP has no sync: what 226 means is the server's."""
        await self._transfer.sent()
        return await self._compared()

    async def discard(self) -> None:
        """See NewFile. The server is given time to close the file, which some keep while it's open."""
        await self._transfer.break_off()
        await self._system.remove(self._path)

    async def _compared(self) -> Status:
        """The status, of as many bytes as were sent."""
        there = await self._transfer.look()
        if there is None:
            raise problem(errno.ENOENT, self._path)
        if there.size != self._sent:
            lost = f"the server has {there.size} bytes where {self._sent} were sent"
            raise ConnectionResetError(errno.ECONNRESET, lost)
        return there


class OpenFtpFile:
    """A file that is being retrieved by one command, so that the server reads one version of it."""

    def __init__(self, system: FtpSystem, path: str, status: Status, facts: str) -> None:
        self._system, self._path = system, path
        self.status, self._facts = status, facts
        self._transfer: Transfer | None = None
        self._start = 0

    async def begin(self, start: int) -> bool:
        """Have the server open it; whether what it has opened is still the version that we know of."""
        self._start = start
        try:
            self._transfer = await self._system.transfer("RETR", self._path, start)
            same = await self._system.facts(self._path) == self._facts
        except FileNotFoundError:
            same = False
        except BaseException:
            self._release()
            raise
        if not same:
            await self.close()
        return same

    async def read(self, start: int, stop: int) -> AsyncIterator[Buffer]:
        """See OpenFile; the last bytes of a file are handed on when it is known to end there."""
        position = start
        try:
            transfer = await self._at(start)
            while position < stop:
                data = await self._more(transfer)
                position += len(data)
                if stop == self.status.size and position >= stop:
                    await self._end(transfer, position)
                yield data[: len(data) - max(0, position - stop)]
        except (GeneratorExit, Exception):
            await self.close()
            raise
        except BaseException:
            self._release()
            raise

    async def close(self) -> None:
        """See OpenFile."""
        if self._transfer is not None:
            with suppress(OSError):
                await self._transfer.break_off()

    def _release(self) -> None:
        if self._transfer is not None:
            self._transfer.release()

    async def _at(self, start: int) -> Transfer:
        """The transfer, begun anew where it began at another byte. Raises ESTALE."""
        if start != self._start:
            await self.close()
            if not await self.begin(start):
                raise problem(errno.ESTALE, self._path)
        assert self._transfer is not None  # noqa: S101  # begun before anybody reads
        return self._transfer

    async def _more(self, transfer: Transfer) -> Buffer:
        """The next bytes. Raises ESTALE where the file has become shorter, ConnectionError."""
        if data := await transfer.receive():
            return data
        await transfer.received()
        if await self._system.facts(self._path) == self._facts:
            raise ConnectionResetError(errno.ECONNRESET, "the data connection ended too early")
        raise problem(errno.ESTALE, self._path)

    async def _end(self, transfer: Transfer, position: int) -> None:
        """Nothing follows, and the server says so. Raises ESTALE, ConnectionError."""
        if position > self.status.size or await transfer.receive():
            raise problem(errno.ESTALE, self._path)
        await transfer.received()
        transfer.release()
