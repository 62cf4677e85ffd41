"""The way of an outbox's calls to the server: in their order, each until the server has it or refuses it.

One that the server only ever fails on is set aside, so that it doesn't keep the others; where that is the
making of a run, what is logged to the run goes with it, in its order.

A call that the server had already, before its reply was lost or the process died, changes nothing: points,
params, tags, inputs and artifacts are the same again, and a run is found by the tag that it was created with.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from shoso.client import blocking
from shoso.client.batches import BATCH_MAX, Batch
from shoso.client.context import PARENT_RUN_ID
from shoso.client.outbox.journal import ASIDE, REFUSED, Journal
from shoso.client.outbox.records import (
    Aside,
    Created,
    Header,
    Logged,
    Read,
    Record,
    Untagged,
    Updated,
    Uploaded,
    run_of,
)
from shoso.client.server import Server
from shoso.client.sink import Direct
from shoso.core import keys
from shoso.errors import Kind, ShosoError, TrackingError
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
}
"""What may pass, or be mended, while the call waits."""

TRIES = 6
"""How often a call is made on which the server fails in a way that it has no word for (a 500)."""

_SET_ASIDE = "%s The call is set aside in %s, and the others go on. To try it again: shoso sync %s"

_log = logging.getLogger("shoso.client")


def tagged(request: requests.CreateRun, name: str) -> requests.CreateRun:
    """The request, of a run that can be found again."""
    return msgspec.structs.replace(request, tags=[*request.tags, TagInput(TAG, name)])


class Shipping:
    """Ships a journal. Raises ShosoError: of a kind that is `WAITED_FOR`, or UNEXPECTED, or CORRUPT.

    The first wait until the server can be had; a call that is UNEXPECTED `tries` times is set aside, and the
    calls behind it go on. CORRUPT is of the journal.
    """

    def __init__(self, journal: Journal, server: Server, direct: Direct, tries: int = TRIES) -> None:
        self._journal, self._server, self._direct = journal, server, direct
        self._tries = tries
        self._failures = 0
        self.refused = self.aside = 0

    def ship(self) -> Iterator[int]:
        """Ship what waits; yields how many calls have gone, each time that some are settled."""
        return self._settled(_joined(self._journal))

    def _settled(self, calls: Iterable[tuple[Record, int, int]], *, alone: bool = False) -> Iterator[int]:
        """Ship these, or those `alone` that were tried together as often as one is."""
        before = self.aside
        for record, count, end in calls:
            if run_of(record) in self._journal.shipped.aside:
                yield self._put_aside(record, end, "The run it is of was set aside.")
                continue
            try:
                runs = self._send(record)
            except ShosoError as error:
                if self._waits(error):
                    raise
                if count > 1:  # one of them may spoil the others
                    yield from self._settled(_alone(self._journal, end), alone=True)
                else:
                    yield self._given_up(record, end, error, silent=alone and self.aside > before)
            else:
                self._journal.ship(end, **runs)
                self._dropped(record)
                yield 0 if isinstance(record, Header) else count
            if not alone:
                self._failures = 0

    def _waits(self, error: ShosoError) -> bool:
        if error.kind is not Kind.UNEXPECTED:
            return error.kind in WAITED_FOR
        self._failures += 1
        return self._failures < self._tries

    def _given_up(self, record: Record, end: int, error: ShosoError, *, silent: bool) -> int:
        if error.kind is not Kind.UNEXPECTED:
            self._refuse(record, error)
            self._journal.ship(end)
            return 0
        if not silent:
            place = self._journal.folder
            _log.warning(_SET_ASIDE, error.message, place / ASIDE, place.parent)
        if isinstance(record, Created):
            self._journal.hold(record.run_id)
        return self._put_aside(record, end, error.message)

    def _put_aside(self, record: Record, end: int, message: str) -> int:
        self.aside += 1
        self._journal.set_aside(record, message)
        self._journal.ship(end)
        return 0

    def _refuse(self, record: Record, error: ShosoError) -> None:
        self.refused += 1
        self._journal.refuse(record, error.message)
        _log.warning("%s It is kept in %s.", error.message, self._journal.folder / REFUSED)

    def _dropped(self, record: Record) -> None:
        if isinstance(record, Uploaded):
            self._journal.drop(record.copy)

    def again(self) -> Iterator[int]:
        """Try what was set aside once more, in its order; what the server fails on again stays there.

        Yields how many calls have gone. Raises ShosoError of a kind that is `WAITED_FOR`.
        """
        left = self._journal.aside()
        stays: list[Aside] = []
        gone: list[Record] = []
        try:
            while left:
                failure, record = self._tried_again(left[0].call), left.pop(0).call
                if failure is None:
                    gone.append(record)
                    yield 1
                elif failure.kind is Kind.UNEXPECTED:
                    stays.append(Aside(failure.message, record))
                else:
                    self._refuse(record, failure)
        finally:
            self.aside += len(stays) + len(left)
            self._journal.keep_aside([*stays, *left])
            for record in gone:  # not before: who dies on the way tries all of them again
                self._dropped(record)

    def _tried_again(self, record: Record) -> ShosoError | None:
        if not isinstance(record, Created) and run_of(record) in self._journal.shipped.aside:
            return TrackingError(Kind.UNEXPECTED, "The run it is of was set aside.")
        try:
            runs = self._send(record)
        except ShosoError as error:
            if error.kind in WAITED_FOR:
                raise
            return error
        self._journal.ship(self._journal.shipped.offset, **runs)
        return None

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
        return self._direct.create_run(tagged(self.nested(record.request), record.run_id)).info.run_id

    def nested(self, request: requests.CreateRun) -> requests.CreateRun:
        """The request, with its parent's id at the server."""
        tags = [
            TagInput(tag.key, self._run(tag.value)) if tag.key == PARENT_RUN_ID else tag
            for tag in request.tags
        ]
        return msgspec.structs.replace(request, tags=tags)

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


def _alone(journal: Journal, until: int) -> Iterator[tuple[Record, int, int]]:
    """The same up to a byte, with nothing joined."""
    for record, end in journal.calls():
        yield record, 1, end
        if end == until:
            return


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
