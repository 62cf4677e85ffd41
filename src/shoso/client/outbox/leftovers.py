"""What processes left in an outbox when they ended: shipped in their stead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from shoso.client import blocking
from shoso.client.outbox.journal import Journal, folders
from shoso.client.outbox.shipping import Shipping
from shoso.client.places import Places
from shoso.client.server import Server
from shoso.client.settings import ClientSettings
from shoso.client.sink import Direct
from shoso.errors import ShosoError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one process's calls: how many were `shipped`, how many the server `refused` for good.

    On those `aside` the server fails; the next sync tries them again. `waits` says why the rest is still
    there: the server's words, or that the process runs; None for no rest.
    """

    folder: Path
    shipped: int = 0
    refused: int = 0
    aside: int = 0
    waits: str | None = None


def sync(outbox: Path, settings: ClientSettings, address: str | None = None) -> Iterator[Outcome]:
    """Ship what waits, the oldest first: to the server that it was logged to, or to the one at `address`."""
    for folder in folders(outbox):
        try:
            journal = Journal(folder)
        except BlockingIOError:
            yield Outcome(folder, waits="The process that logs there is running, and ships it itself.")
            continue
        except FileNotFoundError:
            continue  # it has just been shipped by its own process
        try:
            yield _shipped(journal, settings, address)
        finally:
            journal.close()


def _shipped(journal: Journal, settings: ClientSettings, address: str | None) -> Outcome:
    try:
        server = _server(address or journal.address(), settings)
    except ShosoError as error:
        return Outcome(journal.folder, waits=error.message)
    places = Places(server, settings)
    shipping = Shipping(journal, server, Direct(server, places, settings), tries=1)
    count, waits = 0, None
    try:
        for done in chain(shipping.again(), shipping.ship()):
            count += done
    except ShosoError as error:
        waits = error.message
    finally:
        blocking.run(places.close())
        blocking.run(server.close())
    return Outcome(journal.folder, count, shipping.refused, shipping.aside, waits)


def _server(address: str, settings: ClientSettings) -> Server:
    """The server at an address that an outbox keeps without a user; who we are may stand in our own."""
    server = Server(address, settings)
    if settings.tracking_uri and (own := Server(settings.tracking_uri, settings)).name == server.name:
        return own
    return server
