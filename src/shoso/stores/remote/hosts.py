"""The storages that a server's signed requests lead to: which of them can be reached from here.

Each is asked once in a process, with little patience: who can't reach a storage goes through the server,
which always works. One that fails several times in a row isn't used any more, either.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from yarl import URL

from shoso.core.locations import shown
from shoso.http.options import HttpOptions
from shoso.http.session import FAILURES, Reply, Session

CONNECT = 3.0
"""Seconds in which a storage takes a connection, and answers the first call, or isn't used."""

SILENCE = 20.0
"""Seconds without a byte after which the way through the server is tried instead."""

STRIKES = 3
"""Transfers that fail in a row until a storage isn't used any more."""

_log = logging.getLogger("shoso.store")


@dataclass(slots=True)
class Verdict:
    """Whether a storage can be used, and how many transfers have failed since one worked."""

    usable: bool
    strikes: int = 0


VERDICTS: dict[str, Verdict] = {}
"""By origin, for the process."""


class Host:
    """A storage that can be reached. It is never told who we are: the signature in the URL must do."""

    def __init__(self, server: str, session: Session, verdict: Verdict) -> None:
        self._server = server
        self._verdict = verdict
        self.session = session

    def judge(self, good: bool, reply: Reply) -> None:
        """A transfer has gone well, or the storage's reply was no good."""
        if good:
            self._verdict.strikes = 0
        else:
            self._strike(f"it answered {reply.status}")

    def failed(self, error: Exception) -> str:
        """A transfer has failed; in which way."""
        why = self.session.explained(error)[1]
        self._strike(why)
        return why

    def _strike(self, why: str) -> None:
        verdict = self._verdict
        verdict.strikes += 1
        _log.debug("%s: %s.", self.session.name, why)
        if verdict.usable and verdict.strikes >= STRIKES:
            verdict.usable = False
            _log.info(
                "Large transfers go through %s from now on: %s failed %d times in a row (%s).",
                self._server,
                self.session.name,
                STRIKES,
                why,
            )


class Hosts:
    """Every storage that one server's requests lead to."""

    def __init__(self, server: str, http: HttpOptions, connections: int) -> None:
        self._server = server
        self._options = HttpOptions(bundle=http.bundle, timeout=CONNECT, redirects=False)
        self._connections = connections
        self._sessions: dict[str, Session] = {}
        self._asking: dict[str, asyncio.Task[Verdict]] = {}
        self._closed = False

    async def reach(self, url: str) -> Host | None:
        """The storage at that address; None where the way through the server is the one to take."""
        if (origin := _origin(url)) is None:
            return None
        verdict = VERDICTS.get(origin) or await self._ask(origin)
        return Host(self._server, self._session(origin), verdict) if verdict.usable else None

    async def close(self) -> None:
        """Cut off whatever is under way; may be called again."""
        self._closed = True
        while self._sessions:
            await self._sessions.popitem()[1].close()

    async def _ask(self, origin: str) -> Verdict:
        """The verdict of one call, whoever else waits for it."""
        if origin not in self._asking:
            self._asking[origin] = asyncio.ensure_future(self._probe(origin))
            self._asking[origin].add_done_callback(lambda _: self._asking.pop(origin, None))
        return await asyncio.shield(self._asking[origin])

    async def _probe(self, origin: str) -> Verdict:
        """Any answer will do: nobody else's host speaks HTTP there, or only in a way that fails."""
        session = self._session(origin)
        try:
            async with asyncio.timeout(CONNECT):
                (await session.send("GET", URL(origin + "/"))).close()  # Ceph answers HEAD with a body
        except FAILURES as error:
            if self._closed:
                return Verdict(usable=False)
            slow = f"{session.name} gave no answer within {CONNECT:g} s"
            why = slow if isinstance(error, TimeoutError) else session.explained(error)[1]
            _log.info("Large transfers go through %s: %s.", self._server, why)
            return VERDICTS.setdefault(origin, Verdict(usable=False))
        _log.info("Large transfers go straight to %s.", session.name)
        return VERDICTS.setdefault(origin, Verdict(usable=True))

    def _session(self, origin: str) -> Session:
        if origin not in self._sessions:
            self._sessions[origin] = Session(shown(origin), origin, self._options, SILENCE, self._connections)
        return self._sessions[origin]


def _origin(url: str) -> str | None:
    """Scheme, host and port of an address that HTTP can go to."""
    try:
        parsed = URL(url, encoded=True)
        return str(parsed.origin()) if parsed.scheme in {"http", "https"} else None
    except ValueError:
        return None
