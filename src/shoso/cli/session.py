"""What a command talks to, for as long as it runs: the tracking server, and places by their URI."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from shoso.client import blocking, current
from shoso.client.places import Places
from shoso.client.settings import ClientSettings, client_settings
from shoso.errors import ConfigError

if TYPE_CHECKING:
    from shoso.client.server import Server

T = TypeVar("T")

PAGE = 1000
"""Items asked for at once."""


class Session:
    """One server, if there is one, with the settings of this process."""

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self._closing: list[Callable[[], Coroutine[Any, Any, None]]] = []

    @cached_property
    def server(self) -> Server:
        """The tracking server. Raises ConfigError where none is set."""
        if not self.settings.tracking_uri:
            message = (
                "is not set. Say which server: shoso … --tracking-uri http://127.0.0.1:5000, or export it."
            )
            raise ConfigError("MLFLOW_TRACKING_URI", message)
        from shoso.client.server import Server

        uri = current.checked(current.VARIABLE, self.settings.tracking_uri)
        server = Server(uri, self.settings)
        self._closing.append(server.close)
        return server

    @cached_property
    def places(self) -> Places:
        """Places by their URI; some are known to the tracking server only."""
        places = Places(self.server if self.settings.tracking_uri else None, self.settings)
        self._closing.append(places.close)
        return places

    def ask(self, method: str, path: str, reply: type[T], request: object = None) -> T:
        """The reply to a call of the tracking server. Raises TrackingError."""
        return blocking.run(self.server.ask(method, path, reply, request))

    def ask_own(self, path: str, reply: type[T], request: object) -> T:
        """The reply to a POST of Shoso's own. Raises TrackingError: NO_ROUTE for another server."""
        return blocking.run(self.server.ask_own(path, reply, request))

    def every(self, page: Callable[[int, str], tuple[list[T], str | None]], most: int | None) -> list[T]:
        """All items, or so many: `page` asks for a number of them behind a token."""
        found: list[T] = []
        token = ""
        while most is None or len(found) < most:
            items, following = page(PAGE if most is None else min(PAGE, most - len(found)), token)
            found += items
            if not following:
                break
            token = following
        return found

    async def close(self) -> None:
        """Free what it holds."""
        for close in self._closing:
            await close()


@contextmanager
def session(tracking_uri: str | None = None) -> Iterator[Session]:
    """A session, until the command is done."""
    given = {current.VARIABLE: current.checked("--tracking-uri", tracking_uri)} if tracking_uri else {}
    opened = Session(client_settings({**os.environ, **given}))
    with interruptible():
        try:
            yield opened
        finally:
            blocking.run(opened.close())


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM interrupts as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
