"""One tracking server: calls of MLflow's REST API, with the patience of MLflow's clients.

What may succeed later is asked again, by MLflow's rules (utils/rest_utils.py, urllib3's Retry): the statuses
408, 429, 500, 502, 503 and 504 and broken connections, at once, then after pauses that double. An error that
would come again is raised at once, also where the server gives it one of these statuses.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from shoso.client.settings import ClientSettings
from shoso.errors import Kind, TrackingError
from shoso.http.session import FAILURES, Query, Reply, Session, elsewhere
from shoso.wire import objects
from shoso.wire.entities import encode
from shoso.wire.faults import KIND_HEADER, FaultReply, kind_of
from shoso.wire.objects import CapabilitiesReply

T = TypeVar("T")

API = "/api/2.0/mlflow"

LONGEST = 120.0
"""Seconds of the longest pause that the server didn't ask for."""

_AGAIN = {408, 429, 500, 502, 503, 504}
_MAY_PASS = {
    "",
    "DEADLINE_EXCEEDED",
    "INTERNAL_ERROR",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "TEMPORARILY_UNAVAILABLE",
}
"""Error codes behind those statuses that need not come again; "" is a reply of a proxy on the way."""

_BY_QUERY = {"GET"}
_PASSING = {Kind.UNAVAILABLE, Kind.TIMEOUT}
_WORDS = 300

_log = logging.getLogger("shoso.client")


class Server:
    """The server at `uri`. Raises ConfigError for one that isn't http(s)."""

    def __init__(self, uri: str, settings: ClientSettings) -> None:
        self.uri = uri
        """The address as it was given; it may hold a password."""
        self._options = settings.http
        self._session = Session("MLFLOW_TRACKING_URI", uri, settings.http, settings.http.timeout)
        self._asking = asyncio.Lock()
        self._can: CapabilitiesReply | None = None
        self._asked = False

    @property
    def name(self) -> str:
        """The address, safe to show."""
        return self._session.name

    async def ask(self, method: str, path: str, reply: type[T], request: object = None) -> T:
        """The reply to a call below `/api/2.0/mlflow`; `path` is quoted here.

        Raises TrackingError with the server's own words.
        """
        query = _query(request) if method in _BY_QUERY else None
        body = encode(request or {}) if method not in _BY_QUERY else None
        said = await self._call(method, f"{API}/{quote(path)}", query, body)
        return self._decoded(said.strip() or b"{}", path, reply)

    async def ask_own(self, path: str, reply: type[T], request: object) -> T:
        """The reply to a POST of Shoso's own, below `/api/shoso/1`. Raises TrackingError."""
        said = await self._call("POST", f"{objects.ROOT}/{quote(path)}", None, encode(request))
        return self._decoded(said, path, reply)

    async def capabilities(self) -> CapabilitiesReply | None:
        """What a Shoso server's destination can do; None for any other server. Asked once.

        Raises TrackingError where the server gives no answer at all.
        """
        async with self._asking:
            if not self._asked:
                self._can = await self._probe()
                self._asked = True
        return self._can

    async def close(self) -> None:
        """Cut off what is under way; may be called again."""
        await self._session.close()

    async def _probe(self) -> CapabilitiesReply | None:
        try:
            said = await self._attempts("GET", f"{objects.ROOT}/capabilities", None, None)
            return msgspec.json.decode(said, type=CapabilitiesReply)
        except msgspec.MsgspecError:
            return None
        except _Failure as failure:
            if failure.answered and not failure.passing:
                return None
            raise failure.error from None

    async def _call(self, method: str, path: str, query: Query, body: bytes | None) -> bytes:
        """The body of a good reply. Raises TrackingError."""
        try:
            return await self._attempts(method, path, query, body)
        except _Failure as failure:
            raise failure.error from failure.__cause__

    async def _attempts(self, method: str, path: str, query: Query, body: bytes | None) -> bytes:
        """The body of a good reply, after as many attempts as it takes. Raises _Failure."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self._once(method, path, query, body)
            except _Failure as failure:
                if not failure.passing:
                    raise
                if tries > self._options.retries:
                    failure.tried(tries)
                    raise
                await self._pause(tries, failure)

    async def _once(self, method: str, path: str, query: Query, body: bytes | None) -> bytes:
        headers = {} if body is None else {"content-type": "application/json"}
        url = self._session.url(path, query)
        try:
            async with await self._session.send(method, url, headers, body) as reply:
                said = await reply.read()
        except FAILURES as error:
            kind, message = self._session.explained(error)
            raise _Failure(kind, f"{message}.", passing=kind in _PASSING, answered=False) from error
        if reply.status != 200:
            raise self._refusal(reply, path, said)
        return said

    async def _pause(self, tries: int, failure: _Failure) -> None:
        pause = self._backoff(tries) if failure.after is None else failure.after
        message, retries = failure.error.message, self._options.retries
        _log.warning("%s Trying again in %.1f s (%d of %d).", message, pause, tries, retries)
        await asyncio.sleep(pause)

    def _backoff(self, tries: int) -> float:
        """The first attempt is followed at once by the second, as urllib3 has it."""
        if tries == 1:
            return 0.0
        chance = random.random() * self._options.jitter  # noqa: S311
        return min(LONGEST, self._options.backoff * 2.0 ** (tries - 1) + chance)

    def _refusal(self, reply: Reply, path: str, said: bytes) -> _Failure:
        try:
            fault = msgspec.json.decode(said, type=FaultReply)
        except msgspec.MsgspecError:
            fault = FaultReply("", self._foreign(reply, path, said))
        kind = kind_of(reply.status, reply.headers.get(KIND_HEADER), fault.error_code)
        passing = reply.status in _AGAIN and fault.error_code in _MAY_PASS
        return _Failure(
            kind, fault.message, passing=passing, answered=True, after=self._session.asked_for(reply)
        )

    def _foreign(self, reply: Reply, path: str, said: bytes) -> str:
        """Words on a reply that isn't an MLflow server's JSON."""
        words = f"{self.name} answered {reply.status} to {path}.{elsewhere(reply)}"
        if reply.content_type == "text/plain" and (own := said.decode(errors="replace").strip()):
            words += f" It said: {own[:_WORDS]}"
        if reply.status == 401:
            words += " Set MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN."
        return words

    def _decoded(self, said: bytes, path: str, shape: type[T]) -> T:
        try:
            return msgspec.json.decode(said, type=shape, strict=False)
        except msgspec.MsgspecError as error:
            message = f"{self.name} is no MLflow server: its reply to {path} can't be read ({error})."
            raise TrackingError(Kind.UNEXPECTED, message) from None


class _Failure(Exception):
    """An attempt that failed: may it pass, did the server answer, and what pause did it ask for."""

    def __init__(
        self, kind: Kind, message: str, *, passing: bool, answered: bool, after: float | None = None
    ) -> None:
        super().__init__(message)
        self.error = TrackingError(kind, message)
        self.passing, self.answered, self.after = passing, answered, after

    def tried(self, times: int) -> None:
        """Say how often."""
        often = "once" if times == 1 else f"{times} times"
        self.error = TrackingError(self.error.kind, f"{self.error.message} Tried {often}.")


def _query(request: object) -> list[tuple[str, str]]:
    """The fields of a request as a query string has them: repeated fields are repeated keys."""
    fields: dict[str, Any] = msgspec.to_builtins(request) if request is not None else {}
    return [
        (name, _text(each))
        for name, value in fields.items()
        for each in (value if isinstance(value, list) else [value])
    ]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
