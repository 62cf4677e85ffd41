"""A tracking server as all of this process shares it: its connections, its places, the way of what is logged.

There is one link for each server and each set of values of the variables that a client heeds: a token renewed
in the environment counts from the next call on. A child process makes links of its own; those that it was
forked with stay as they are, for their connections are the parent's.
"""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress
from typing import TypeVar

from shoso.client import blocking, current
from shoso.client.outbox import Outbox
from shoso.client.places import Places
from shoso.client.server import Server
from shoso.client.settings import ClientSettings, client_settings, every_setting
from shoso.client.sink import Direct, Sink
from shoso.errors import ShosoError

T = TypeVar("T")


class Link:
    """Everything that talks to the server at `address`; "" is for places that no server has to tell of."""

    def __init__(self, address: str, settings: ClientSettings) -> None:
        self.settings = settings
        self._address = address
        self._server = Server(address, settings) if address else None
        self.places = Places(self._server, settings)
        self._sink: Sink | None = None
        self._beginning = threading.Lock()

    @property
    def server(self) -> Server:
        """The server. Raises ConfigError where there is none."""
        if self._server is None:
            raise current.missing()
        return self._server

    @property
    def sink(self) -> Sink:
        """Where what is logged goes: one for all threads. Raises ConfigError where there is no server."""
        with self._beginning:
            if self._sink is None:
                self._sink = self._begin()
            return self._sink

    def _begin(self) -> Sink:
        if self._address and self.settings.outbox is not None:
            return Outbox(self.settings.outbox, self._address, self.settings)
        return Direct(self.server, self.places, self.settings)

    def ask(self, method: str, path: str, reply: type[T], request: object = None) -> T:
        """The reply to a call below `/api/2.0/mlflow`. Raises TrackingError."""
        return blocking.run(self.server.ask(method, path, reply, request))

    def ask_own(self, path: str, reply: type[T], request: object) -> T:
        """The reply to a POST of Shoso's own. Raises TrackingError."""
        return blocking.run(self.server.ask_own(path, reply, request))

    def settle(self) -> None:
        """What was logged has left, as far as it can."""
        if self._sink is not None:
            self._sink.flush()
            self._sink.close()

    async def close(self) -> None:
        """Free what it holds."""
        await self.places.close()
        if self._server is not None:
            await self._server.close()


_HEEDED = tuple({setting.variable for setting in every_setting()} - {current.VARIABLE})
"""The variables that a link is made with; the address it's told."""

_links: dict[tuple[int, str, tuple[str | None, ...]], Link] = {}
_lock = threading.Lock()


def to(uri: str | None) -> Link:
    """The link to a server, by default the one that this process logs to. Raises ConfigError."""
    return _link(current.get_tracking_uri() if uri is None else current.checked("tracking_uri", uri))


def reach(uri: str | None) -> Link:
    """The same for those who may do without a server."""
    return to(uri) if uri is not None or current.is_tracking_uri_set() else alone()


def alone() -> Link:
    """The link to no server, for what is in a storage of the caller's."""
    return _link("")


def _link(address: str) -> Link:
    key = (os.getpid(), address, tuple(map(os.environ.get, _HEEDED)))
    if (link := _links.get(key)) is None:
        with _lock:
            if (link := _links.get(key)) is None:
                link = _links[key] = Link(address, client_settings())
    return link


def _close() -> None:
    """At the end of the process: what was logged has left, and connections are closed."""
    for (process, *_), link in _links.items():
        if process == os.getpid():
            with suppress(ShosoError, OSError, RuntimeError):
                link.settle()
            with suppress(ShosoError, OSError, RuntimeError):
                blocking.run(link.close())


def _forget() -> None:
    """In a child: the lock may have been held by a thread that stayed with the parent."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)
atexit.register(_close)
