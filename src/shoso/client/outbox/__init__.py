"""An outbox: what is logged is kept on this machine's disk first, and shipped behind the caller's back.

So a server that is down, slow or full costs a warning and no training. What a process leaves behind when it
ends is shipped by `shoso sync`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from shoso.client import blocking
from shoso.client.batches import Batch
from shoso.client.context import PARENT_RUN_ID
from shoso.client.outbox.journal import Journal
from shoso.client.outbox.records import Created, Logged, Read, Record, Untagged, Updated, Uploaded
from shoso.client.outbox.shipping import WAITED_FOR, Shipping, tagged
from shoso.client.places import Places
from shoso.client.server import Server
from shoso.client.settings import ClientSettings
from shoso.client.sink import Direct
from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import Kind, ShosoError
from shoso.wire import entities, requests

FIRST, LONGEST = 1.0, 60.0
"""Seconds before the server is asked again: at first, and at most."""

PATIENCE = 10.0
"""Seconds for a last attempt when the process ends."""

_log = logging.getLogger("shoso.client")


class Outbox:
    """The Sink that never waits for the server, but for a run to be created. Raises ConfigError.

    A run that can't be created now has an id of the outbox's own, which stands for it in this process only.
    """

    def __init__(self, folder: Path, address: str, settings: ClientSettings) -> None:
        once = replace(settings, http=replace(settings.http, retries=0), progress_bar=False)
        self._server = Server(address, once)
        self._places = Places(self._server, once)
        self._direct = Direct(self._server, self._places, once)
        self._journal = Journal.begin(folder, self._server.name)
        self._shipping = Shipping(self._journal, self._server, self._direct)
        self._kept_runs: set[str] = set()
        self._changed = threading.Condition()
        self._down: Exception | None = None
        self._trouble: Exception | None = None
        self._failures = 0
        self._nudged = self._flushing = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="shoso-outbox", daemon=True)
        self._thread.start()

    # -- the Sink -----------------------------------------------------------------------------------------

    def create_run(self, request: requests.CreateRun) -> entities.Run:
        """See Sink."""
        run_id = uuid4().hex
        if self._down is None and not self._orphan(request):
            try:
                return self._direct.create_run(tagged(self._shipping.nested(request), run_id))
            except ShosoError as error:
                if error.kind not in {*WAITED_FOR, Kind.UNEXPECTED}:
                    raise
        self._kept_runs.add(run_id)
        self._keep(Created(run_id, request), lambda: self._direct.create_run(request))
        return _provisional(run_id, request)

    def _orphan(self, request: requests.CreateRun) -> bool:
        """Whether its parent still waits to be created."""
        parents = {tag.value for tag in request.tags if tag.key == PARENT_RUN_ID}
        return not self._kept_runs.isdisjoint(parents - self._journal.shipped.runs.keys())

    def update_run(self, request: requests.UpdateRun) -> None:
        """See Sink."""
        self._keep(Updated(request), lambda: self._direct.update_run(request))

    def log_batch(self, batch: Batch) -> None:
        """See Sink."""
        self._keep(Logged(batch), lambda: self._direct.log_batch(batch))

    def delete_tag(self, run_id: str, key: str) -> None:
        """See Sink."""
        self._keep(Untagged(run_id, key), lambda: self._direct.delete_tag(run_id, key))

    def log_inputs(self, request: requests.LogInputs) -> None:
        """See Sink."""
        self._keep(Read(request), lambda: self._direct.log_inputs(request))

    def write(self, artifacts: str, path: Key, data: bytes) -> None:
        """See Sink."""
        self._store(
            artifacts,
            path,
            lambda: self._journal.kept(keys.name(path), data),
            lambda: self._direct.write(artifacts, path, data),
        )

    def upload(self, artifacts: str, path: Key, source: str) -> None:
        """See Sink; a copy is made first, for the caller may remove or change what is logged."""
        self._store(
            artifacts,
            path,
            lambda: self._journal.copied(Path(source)),
            lambda: self._direct.upload(artifacts, path, source),
        )

    def flush(self) -> None:
        """See Sink; a server that is down is asked once more, and not waited for.

        One that is there, but fails on a call, has a few seconds for what is behind that call.
        """
        with self._changed:
            failures = self._failures
            self._nudged = self._flushing = True
            self._changed.notify_all()
            if self._trouble is None:
                while not self._changed.wait_for(lambda: self._answered(failures), blocking.HEARING):
                    pass
            else:
                self._changed.wait_for(lambda: self._answered(failures), PATIENCE)
            self._changed.wait_for(lambda: not self._journal.waiting or self._down is not None, PATIENCE)
            self._flushing = False
        if self._journal.waiting:
            _log.warning(
                "What was logged waits in %s: %s When the server is there: shoso sync %s",
                self._journal.folder,
                self._trouble,
                self._journal.folder.parent,
            )

    def _answered(self, failures: int) -> bool:
        """Whether the server has everything, or has failed once more than so often."""
        return not self._journal.waiting or self._failures > failures

    def close(self) -> None:
        """See Sink; what is still here stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(PATIENCE)
        self._journal.close()
        blocking.run(self._disconnected())

    async def _disconnected(self) -> None:
        await self._places.close()
        await self._server.close()

    # -- keeping ------------------------------------------------------------------------------------------

    def _store(
        self, artifacts: str, path: Key, copy: Callable[[], str], otherwise: Callable[[], object]
    ) -> None:
        try:
            name = copy()
        except OSError as error:
            self._unkept(error, otherwise)
        else:
            self._keep(Uploaded(artifacts, path, name), otherwise)

    def _keep(self, record: Record, otherwise: Callable[[], object]) -> None:
        try:
            with self._changed:
                self._journal.append(record)
                self._changed.notify_all()
        except OSError as error:
            self._unkept(error, otherwise)

    def _unkept(self, error: OSError, otherwise: Callable[[], object]) -> None:
        """Log without the outbox, which can't take it. Raises ShosoError."""
        _log.warning("The outbox %s can't take what is logged: %s.", self._journal.folder, error)
        otherwise()

    # -- shipping, in a thread of its own -----------------------------------------------------------------

    def _work(self) -> None:
        pause = FIRST
        while not self._closed:
            try:
                for _ in self._shipping.ship():
                    self._up()
                    pause = FIRST
            except Exception as error:  # noqa: BLE001  (a thread that died would be waited for without end)
                self._wait_out(error, FIRST if self._flushing else pause)
                pause = min(LONGEST, 2 * pause)
            else:
                self._wait(lambda: self._journal.waiting, None)

    def _wait(self, happened: Callable[[], bool], timeout: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or happened(), timeout)

    def _up(self) -> None:
        with self._changed:
            if self._down is not None:
                _log.warning("%s takes what is logged again.", self._server.name)
            self._down = self._trouble = None
            self._changed.notify_all()

    def _wait_out(self, error: Exception, pause: float) -> None:
        """Say once that the server is down, and wait; whoever flushes has it asked at once.

        One that fails on a call isn't: a warning follows where the call is set aside.
        """
        with self._changed:
            self._trouble = error
            if not (isinstance(error, ShosoError) and error.kind is Kind.UNEXPECTED):
                if self._down is None:
                    _log.warning("%s What is logged is kept in %s.", error, self._journal.folder)
                self._down = error
            self._failures += 1
            self._nudged = False
            self._changed.notify_all()
        self._wait(lambda: self._nudged, pause)


def _provisional(run_id: str, request: requests.CreateRun) -> entities.Run:
    """The run as the server will have it, but for its id and its place."""
    info = entities.RunInfo(
        run_uuid=run_id,
        run_id=run_id,
        experiment_id=request.experiment_id,
        user_id=request.user_id,
        status="RUNNING",
        start_time=request.start_time,
        artifact_uri=f"runs:/{run_id}",
        lifecycle_stage="active",
        run_name=request.run_name,
    )
    tags = [entities.Tag(tag.key, tag.value) for tag in request.tags]
    return entities.Run(info, entities.RunData(tags=tags))
