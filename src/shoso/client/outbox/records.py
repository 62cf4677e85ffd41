"""What an outbox keeps of a call: a line of JSON each."""

from __future__ import annotations

from msgspec import Struct

from shoso.client.batches import Batch
from shoso.wire.requests import CreateRun, LogInputs, UpdateRun


class Header(Struct, frozen=True, tag="outbox"):
    """The first line: the server, without who we are to it, that all of the calls are for."""

    address: str


class Created(Struct, frozen=True, tag="create"):
    """A run that the server couldn't be asked for; `run_id` stands for it in the calls that follow."""

    run_id: str
    request: CreateRun


class Updated(Struct, frozen=True, tag="update"):
    """A change of a run's status or name."""

    request: UpdateRun


class Logged(Struct, frozen=True, tag="batch"):
    """Metrics, params and tags."""

    batch: Batch


class Untagged(Struct, frozen=True, tag="delete_tag"):
    """A tag that goes."""

    run_id: str
    key: str


class Read(Struct, frozen=True, tag="inputs"):
    """Datasets and models that a run read."""

    request: LogInputs


class Uploaded(Struct, frozen=True, tag="upload"):
    """A copy of a file or folder, in the folder `copy` among the outbox's files."""

    artifacts: str
    path: str
    copy: str


Record = Header | Created | Updated | Logged | Untagged | Read | Uploaded


class Shipped(Struct, frozen=True):
    """How far it is: the byte behind the last call that is settled, and the runs that were made there.

    `aside` are the runs whose making was set aside, and with it what is logged to them.
    """

    offset: int = 0
    runs: dict[str, str] = {}
    aside: list[str] = []


class Aside(Struct, frozen=True):
    """A call that was taken out of the line, with the server's words."""

    error: str
    call: Record


def run_of(record: Record) -> str:
    """The run that a call is about; "" for none."""
    match record:
        case Created() | Untagged():
            return record.run_id
        case Updated():
            return record.request.run_id or record.request.run_uuid
        case Logged():
            return record.batch.run_id
        case Read():
            return record.request.run_id
        case Uploaded():
            return record.artifacts.removeprefix("runs:/")
        case Header():
            return ""
