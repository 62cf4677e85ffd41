"""Sessions that wait for their next use: a login takes seven round trips, over TLS eleven."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shoso.errors import ConfigError, Kind, Retry, StoreError, store_error
from shoso.stores.ftp.address import FtpOptions, Tls
from shoso.stores.ftp.session import Session

TRUSTED_FOR = 5.0
"""Seconds after its last use for which a session is taken for alive without asking."""


class Pool:
    """As many sessions as there are callers; those that nobody uses are kept, up to `connections`."""

    def __init__(self, options: FtpOptions) -> None:
        self._options = options
        self._context = _context(options)
        self._idle: list[Session] = []
        self._welcome = False
        self._closed = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session for the block."""
        session = await self.take()
        try:
            yield session
        finally:
            self.give(session)

    async def take(self) -> Session:
        """A session that is the caller's until it is given back or dropped."""
        if self._closed:
            raise ConnectionError("The store is closed.")
        while self._idle:
            session = self._idle.pop()
            if await self._lives(session):
                return session
            session.drop()
        return await self._opened()

    def give(self, session: Session) -> None:
        """Give a session back; one that was left in the middle of something isn't used again."""
        if session.usable and not self._closed and len(self._idle) < self._options.connections:
            self._idle.append(session)
        else:
            session.drop()

    async def close(self) -> None:
        """Take leave of the server; may be called again."""
        self._closed = True
        while self._idle:
            await self._idle.pop().quit()

    async def _opened(self) -> Session:
        session = Session(self._options, self._context)
        try:
            await session.open()
        except StoreError as error:
            if error.kind is Kind.UNAUTHENTICATED and self._welcome:
                raise self._too_many() from error
            raise
        self._welcome = True
        return session

    def _too_many(self) -> StoreError:
        """The login was good before: some servers say 530 to more connections than they allow."""
        what = f"{self._options.name} takes no further connection"
        fix = f"set SHOSO_FTP_CONNECTIONS (now {self._options.connections}) to half of what it allows a user"
        return store_error(Kind.THROTTLED, f"{what}: {fix}.", retry=Retry.SOON, store=self._options.name)

    async def _lives(self, session: Session) -> bool:
        if time.monotonic() - session.used < TRUSTED_FOR:
            return session.usable
        try:
            return await session.alive()
        except BaseException:
            session.drop()
            raise


def _context(options: FtpOptions) -> ssl.SSLContext | None:
    """Certificates are always verified. Raises ConfigError."""
    if options.tls is Tls.NONE:
        return None
    try:
        return ssl.create_default_context(cafile=options.ca_file or None)
    except OSError as error:
        what = f"'{options.ca_file}' holds no certificates in PEM ({error.strerror or 'unreadable'})."
        raise ConfigError("SSL_CERT_FILE", what) from None
