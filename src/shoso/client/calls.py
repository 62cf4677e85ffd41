"""What the parts of `Client` have in common: one tracking server, and how it is asked."""

from __future__ import annotations

from typing import TypeVar

from shoso.client import link
from shoso.client.sink import Sink

T = TypeVar("T")


class Calls:
    """Calls to the tracking server at `uri`."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @property
    def _sink(self) -> Sink:
        """Where what is logged goes."""
        return link.to(self._uri).sink

    def _ask(self, method: str, path: str, reply: type[T], request: object = None) -> T:
        return link.to(self._uri).ask(method, path, reply, request)

    def _ask_own(self, path: str, reply: type[T], request: object) -> T:
        return link.to(self._uri).ask_own(path, reply, request)

    def _get(self, path: str, reply: type[T], request: object) -> T:
        return self._ask("GET", path, reply, request)

    def _post(self, path: str, reply: type[T], request: object) -> T:
        return self._ask("POST", path, reply, request)
