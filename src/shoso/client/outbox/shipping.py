"""The way of an outbox's calls to the server: in their order, each until the server has it or refuses it.

A call that the server had already, before its reply was lost or the process died, changes nothing: points,
params, tags, inputs and artifacts are the same again, and a run is found by the tag that it was created with.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from shoso.client import blocking
from shoso.client.batches import BATCH_MAX, Batch
from shoso.client.outbox.journal import Journal
from shoso.client.outbox.records import Created, Header, Logged, Read, Record, Untagged, Updated, Uploaded
from shoso.client.server import Server
from shoso.client.sink import Direct
from shoso.core import keys
from shoso.errors import Kind, ShosoError
from shoso.wire import replies, requests
from shoso.wire.requests import TagInput

TAG = "shoso.outbox"
"""Names the call that created a run, so that nobody creates it twice."""

WAITED_FOR = {
    Kind.UNAVAILABLE,
    Kind.TIMEOUT,
    Kind.THROTTLED,
    Kind.UNAUTHENTICATED,
    Kind.NO_SPACE,
    Kind.CONFIG,
    Kind.UNEXPECTED,
}
"""What may pass, or be mended, while the call waits."""

_log = logging.getLogger("shoso.client")


def tagged(request: requests.CreateRun, name: str) -> requests.CreateRun:
    """The request, of a run that can be found again."""
    return msgspec.structs.replace(request, tags=[*request.tags, TagInput(TAG, name)])


class Shipping:
    """Ships a journal. Raises ShosoError: of a kind that is `WAITED_FOR`, or CORRUPT, of the journal."""

    def __init__(self, journal: Journal, server: Server, direct: Direct) -> None:
        self._journal, self._server, self._direct = journal, server, direct
        self.refused = 0

    def ship(self) -> Iterator[int]:
        """Ship what waits; yields how many calls have gone, each time that some have."""
        for record, count, end in _joined(self._journal):
            try:
                runs = self._send(record)
            except ShosoError as error:
                if error.kind in WAITED_FOR:
                    raise
                runs = {}
                self.refused += 1
                self._journal.refuse(record, error.message)
                _log.warning("%s It is kept in %s.", error.message, self._journal.folder / "refused")
            self._journal.ship(end, **runs)
            if isinstance(record, Uploaded):
                self._journal.drop(record.copy)
            yield 0 if isinstance(record, Header) else count

    def _send(self, record: Record) -> dict[str, str]:
        """Make one call; the run that it made."""
        match record:
            case Created():
                return {record.run_id: self._create(record)}
            case Updated():
                self._direct.update_run(self._renamed(record.request))
            case Logged():
                run_id = self._run(record.batch.run_id)
                self._direct.log_batch(msgspec.structs.replace(record.batch, run_id=run_id))
            case Untagged():
                self._delete_tag(record)
            case Read():
                run_id = self._run(record.request.run_id)
                self._direct.log_inputs(msgspec.structs.replace(record.request, run_id=run_id))
            case Uploaded():
                self._upload(record)
            case Header():
                pass
        return {}

    def _create(self, record: Created) -> str:
        wanted = f"tags.`{TAG}` = '{record.run_id}'"
        asked = requests.SearchRuns([record.request.experiment_id], wanted, max_results=1)
        found = blocking.run(self._server.ask("POST", "runs/search", replies.RunPage, asked))
        for run in found.runs:
            return run.info.run_id
        return self._direct.create_run(tagged(record.request, record.run_id)).info.run_id

    def _renamed(self, request: requests.UpdateRun) -> requests.UpdateRun:
        run_id = self._run(request.run_id or request.run_uuid)
        return msgspec.structs.replace(request, run_id=run_id, run_uuid=run_id)

    def _delete_tag(self, record: Untagged) -> None:
        try:
            self._direct.delete_tag(self._run(record.run_id), record.key)
        except ShosoError as error:
            if error.kind is not Kind.NOT_FOUND:  # it was deleted when this call was made before
                raise

    def _upload(self, record: Uploaded) -> None:
        scheme, _, owner = record.artifacts.partition(":/")
        artifacts = f"{scheme}:/{self._run(owner)}"
        source: Path = self._journal.copy(record.copy)
        self._direct.upload(artifacts, keys.parse(record.path), str(source))

    def _run(self, run_id: str) -> str:
        return self._journal.shipped.runs.get(run_id, run_id)


def _joined(journal: Journal) -> Iterator[tuple[Record, int, int]]:
    """What waits, with the number of calls and the byte behind it: batches of one run that follow are one."""
    held: tuple[Logged, int, int] | None = None
    for record, end in journal.calls():
        joined = _together(held[0], record) if held is not None else None
        if held is not None and joined is not None:
            held = (joined, held[1] + 1, end)
            continue
        if held is not None:
            yield held
        held = (record, 1, end) if isinstance(record, Logged) else None
        if held is None:
            yield record, 1, end
    if held is not None:
        yield held


def _together(first: Logged, record: Record) -> Logged | None:
    """Both in one call, if one may hold them: their params and tags keep their order."""
    if not isinstance(record, Logged) or record.batch.run_id != first.batch.run_id:
        return None
    one, other = first.batch, record.batch
    if one.params or other.params or one.tags or other.tags:
        return None
    if len(one.metrics) + len(other.metrics) > BATCH_MAX:
        return None
    return Logged(Batch(one.run_id, [*one.metrics, *other.metrics]))
