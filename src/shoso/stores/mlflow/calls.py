"""Calls of MLflow's proxy, and what its errors mean."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from shoso.core.keys import Key
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.http.body import Body
from shoso.http.credentials import Headers
from shoso.http.session import FAILURES, Query, Reply, Session, elsewhere
from shoso.stores.mlflow import names
from shoso.wire.faults import kind_of

_AGAIN = {408, 429, 500, 502, 503, 504}
"""Statuses that may pass, by MLflow's own client."""

_STAYS = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "NOT_IMPLEMENTED"}
"""Error codes that don't, whatever their status."""


class Fault(msgspec.Struct, frozen=True):
    """The body of an error: MLflow's own, or FastAPI's."""

    error_code: str = ""
    message: str = ""
    detail: Any = None


class Calls:
    """The calls to one server. Every one raises StoreError."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.name = session.name + names.ROOT

    async def send(
        self,
        op: str,
        key: Key,
        method: str,
        path: str,
        *,
        query: Query = None,
        headers: Headers | None = None,
        body: Body | None = None,
    ) -> Reply:
        """The reply to it, a success, its body unread."""
        url = self._session.url(path, query)
        try:
            reply = await self._session.send(method, url, headers, body)
        except FAILURES as error:
            raise getattr(body, "failure", None) or self.failed(error, op, key) from error
        if reply.status >= 300:
            async with reply:
                raise await self._refused(reply, op, key)
        return reply

    @asynccontextmanager
    async def done(self, op: str, key: Key, method: str, path: str, **more: Any) -> AsyncIterator[Reply]:
        """The reply, freed on leaving."""
        reply = await self.send(op, key, method, path, **more)
        try:
            yield reply
        finally:
            reply.release()

    async def read(self, reply: Reply, op: str, key: Key) -> bytes:
        """The body at once."""
        try:
            return await reply.read()
        except FAILURES as error:
            raise self.failed(error, op, key) from error

    def require(self, op: str, key: Key) -> None:
        """Refuse a name that the server would make another of."""
        if not names.is_taken(key):
            message = f"'{key}' is a name that MLflow's server makes another of, as a URL; rename it."
            raise self.error(Kind.INVALID_KEY, op, key, message)

    def foreign(self, error: Exception, op: str, key: Key) -> StoreError:
        """The error of a reply that makes no sense."""
        return self.error(Kind.UNEXPECTED, op, key, f"{self.name} is no MLflow server ({error}).")

    def failed(self, error: Exception, op: str, key: Key) -> StoreError:
        """The error of a connection."""
        kind, message = self._session.explained(error)
        passing = kind in {Kind.UNAVAILABLE, Kind.TIMEOUT}
        return self.error(kind, op, key, f"{message} ({op} '{key}').", Retry.SOON if passing else Retry.NEVER)

    def error(self, kind: Kind, op: str, key: Key, message: str, retry: Retry = Retry.NEVER) -> StoreError:
        """The error in this store's name."""
        return store_error(kind, message, retry=retry, op=op, key=key, store=self.name)

    async def _refused(self, reply: Reply, op: str, key: Key) -> StoreError:
        try:
            fault = msgspec.json.decode(await reply.read(), type=Fault)
        except (*FAILURES, msgspec.MsgspecError):
            fault = Fault()
        error = self.error(self._kind(reply, fault), op, key, self._words(reply, fault, op, key))
        if reply.status in _AGAIN and fault.error_code not in _STAYS:
            error.retry_after = self._session.asked_for(reply)
            error.retry = Retry.AFTER if error.retry_after else Retry.SOON
        return error

    def _kind(self, reply: Reply, fault: Fault) -> Kind:
        kind = kind_of(reply.status, None, fault.error_code)
        return Kind.INVALID_KEY if kind is Kind.INVALID else kind

    def _words(self, reply: Reply, fault: Fault, op: str, key: Key) -> str:
        said = fault.message or (fault.detail if isinstance(fault.detail, str) else "")
        words = f"{self.name} answered {reply.status} to {op} '{key}'.{elsewhere(reply)}"
        return f"{words} It said: {said.rstrip('.')}." if said else words
