"""The one way by which everything that is logged leaves the SDK.

`Client`, and the functions with an active run above it, make the values; a `Sink` is where they go. `Direct`
sends each at once. One that keeps them first, to send them later, takes its place in `client.link`.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Protocol

from shoso.client import blocking, progress
from shoso.client.batches import Batch, split
from shoso.client.places import Place, Places
from shoso.client.server import Server
from shoso.client.settings import ClientSettings
from shoso.client.transfers import upload
from shoso.core import digest, keys
from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.transfer import Progress
from shoso.wire import entities, replies, requests
from shoso.wire.replies import Empty


class Sink(Protocol):
    """Takes what is logged; a call returns when what it was given is kept. Raises ShosoError.

    `artifacts` is the URI of what artifacts belong to, `runs:/<run_id>` or `models:/<model_id>`, and `path`
    is seen from there.
    """

    def create_run(self, request: requests.CreateRun) -> entities.Run: ...
    def update_run(self, request: requests.UpdateRun) -> None: ...
    def log_batch(self, batch: Batch) -> None:
        """A batch of any size."""
        ...

    def delete_tag(self, run_id: str, key: str) -> None: ...
    def log_inputs(self, request: requests.LogInputs) -> None: ...
    def write(self, artifacts: str, path: Key, data: bytes) -> None:
        """An artifact from memory."""
        ...

    def upload(self, artifacts: str, path: Key, source: str) -> None:
        """A file, or everything in a folder, at the absolute path `source`."""
        ...

    def flush(self) -> None:
        """Return when everything is with the server, as far as it can be had."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Direct:
    """Sends at once: a call returns when the server, or the storage, has it."""

    def __init__(self, server: Server, places: Places, settings: ClientSettings) -> None:
        self._server = server
        self._places = places
        self._settings = settings

    def create_run(self, request: requests.CreateRun) -> entities.Run:
        """See Sink."""
        return blocking.run(self._server.ask("POST", "runs/create", replies.RunReply, request)).run

    def update_run(self, request: requests.UpdateRun) -> None:
        """See Sink."""
        blocking.run(self._server.ask("POST", "runs/update", Empty, request))

    def log_batch(self, batch: Batch) -> None:
        """See Sink; one call where the limits allow it."""
        for part in split(batch):
            blocking.run(self._server.ask("POST", "runs/log-batch", Empty, part))

    def delete_tag(self, run_id: str, key: str) -> None:
        """See Sink."""
        request = requests.DeleteTag(run_id, key)
        blocking.run(self._server.ask("POST", "runs/delete-tag", Empty, request))

    def log_inputs(self, request: requests.LogInputs) -> None:
        """See Sink."""
        blocking.run(self._server.ask("POST", "runs/log-inputs", Empty, request))

    def write(self, artifacts: str, path: Key, data: bytes) -> None:
        """See Sink."""
        blocking.run(self._write(artifacts, path, data))

    async def _write(self, artifacts: str, path: Key, data: bytes) -> None:
        place = await self._places.open(artifacts)
        await place.store.write(
            keys.join(place.key, path),
            BytesSource(data, digest.digest(data)),
            content_type=mimetypes.guess_type(path)[0],
        )

    def upload(self, artifacts: str, path: Key, source: str) -> None:
        """See Sink; on a terminal, a bar shows how far it is."""
        progress.watched(self._settings, lambda told: self._upload(artifacts, path, source, told))

    async def _upload(self, artifacts: str, path: Key, source: str, told: Progress) -> None:
        place = await self._places.open(artifacts)
        await upload(self._settings, Path(source), Place(place.store, keys.join(place.key, path)), told)

    def flush(self) -> None:
        """See Sink: nothing is under way."""

    def close(self) -> None:
        """See Sink: what it uses is its owner's."""
