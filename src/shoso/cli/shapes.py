"""What `--json` prints: one shape a command. A field is always there; what isn't known is null."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from msgspec import Struct

from shoso.cli.retained import Retaining, Retired
from shoso.cli.words import printable
from shoso.wire.entities import Experiment, LoggedModelData, LoggedModelInfo, Run


class Listed(Struct, frozen=True):
    """An artifact (`file`), or a `folder`, of which only the path is known; `modified` as ISO 8601 in UTC."""

    path: str
    type: str
    size: int | None = None
    modified: str | None = None
    digest: str | None = None


class Sized(Struct, frozen=True):
    """An artifact, by its path below the URI; `size` in bytes."""

    path: str
    size: int


class Failure(Struct, frozen=True):
    """An artifact that something is wrong with; `kind` is one of the kinds of errors."""

    path: str
    kind: str
    message: str


class Copied(Struct, frozen=True):
    """What became of a copy: numbers of artifacts, bytes sent, in a dry run what would be copied (`objects`).

    Of `failures` the first thousand are there.
    """

    source: str
    destination: str
    dry_run: bool
    copied: int
    skipped: int
    failed: int
    bytes: int
    seconds: float
    objects: list[Sized]
    failures: list[Failure]


class Removed(Struct, frozen=True):
    """What was deleted, or what a dry run would delete, which `objects` names."""

    uri: str
    dry_run: bool
    deleted: int
    bytes: int
    objects: list[Sized]


class Verified(Struct, frozen=True):
    """Numbers of artifacts: right, without anything to compare with, wrong; bytes that were read.

    Of `failures` the first thousand are there.
    """

    uri: str
    against: str | None
    verified: int
    unrecorded: int
    failed: int
    bytes: int
    seconds: float
    failures: list[Failure]


class ExperimentId(Struct, frozen=True):
    """The experiment that a command was about."""

    experiment_id: str


class RunId(Struct, frozen=True):
    """The run that a command was about."""

    run_id: str


class ModelId(Struct, frozen=True):
    """The logged model that a command was about."""

    model_id: str


class StagedModel(Struct, frozen=True):
    """A logged model as the REST API has it, and whether it is active or deleted."""

    lifecycle_stage: str
    info: LoggedModelInfo
    data: LoggedModelData


class Synced(Struct, frozen=True):
    """What became of one process's outbox: calls shipped, refused for good, set aside, why the rest waits."""

    folder: str
    shipped: int
    refused: int
    aside: int
    waits: str | None


class ImportCounts(Struct, frozen=True):
    """What is new in the target: `params`, `tags` and `points` (of metrics) are those of runs.

    `there` counts runs and logged models that were there already, `traces` those that are left out; `files`
    and `bytes` are artifacts that were copied.
    """

    experiments: int
    runs: int
    params: int
    tags: int
    points: int
    models: int
    versions: int
    there: int
    traces: int
    files: int
    bytes: int


class ImportMoved(Struct, frozen=True):
    """An experiment that has another id in the target."""

    name: str
    experiment_id: int
    new_id: int


class ImportProblem(Struct, frozen=True):
    """What wasn't brought: the file, or what it is, and why."""

    path: str
    message: str


class ImportDone(Struct, frozen=True):
    """What became of an import, or would; of the `failed` `problems` the first thousand are there."""

    source: str
    to: str
    dry_run: bool
    counts: ImportCounts
    moved: list[ImportMoved]
    problems: list[ImportProblem]
    failed: int
    seconds: float


class CheckedDatabase(Struct, frozen=True):
    """What a database is, and whether it opens.

    `state` is one of empty, unfinished, current, newer, older, damaged and foreign.
    `revision` is that of MLflow's tables, `own_version` that of Shoso's; of both, what this one knows.
    `hidden` has the number of rows of tables that are in other workspaces. Without `problems`, it opens.
    """

    uri: str
    opens: bool
    state: str
    revision: str | None
    known_revision: str
    own_version: int | None
    known_own_version: int
    problems: list[str]
    hidden: dict[str, int]


class Indexed(Struct, frozen=True):
    """What became of an index: made, made again, there, dropped or absent.

    It was made again if somebody who made it was interrupted. `bytes` that it takes or took are null where
    the database doesn't tell.
    """

    name: str
    table: str
    became: str
    bytes: int | None
    seconds: float


class Planned(Struct, frozen=True):
    """What a plan of gc comes to: the file, items that go by kind, their objects and bytes.

    `kept` stay although they were asked for; of these, `failed` could not be looked at.
    """

    plan: str
    items: dict[str, int]
    objects: int
    bytes: int
    kept: int
    failed: int


class Collected(Retired, frozen=True):
    """What went by a plan, by kind; what was `gone` before; of those that `stayed` the first thousand.

    `trash` says that it went to the trash, from where `undo` brings it back.
    """

    trash: bool


class CheckFound(Struct, frozen=True, tag="finding"):
    """A line for what is wrong: of what kind, with what, what repairs it, and what was done (or "")."""

    kind: str
    name: str
    problem: str
    remedy: str
    done: str


class CheckTotal(Struct, frozen=True, tag="total"):
    """The last line, of a check that came to its end; `state` is clean, repaired or damaged.

    Numbers of objects that are there, of findings, of those that were repaired, and of places that are
    recorded and can't be looked at. Of the objects that were `read`, `unrecorded` had no digest to compare
    with, of which so many were `recorded`; an interrupted check had read so many `before`.
    """

    state: str
    objects: int
    bytes: int
    found: int
    repaired: int
    unchecked: int
    read: int
    read_bytes: int
    before: int
    unrecorded: int
    recorded: int
    seconds: float


class MigratedExperiment(Struct, frozen=True):
    """An experiment of a migration: rows that were rewritten, artifacts copied, and deleted at the old place.

    `state` is one of copying, moved, finishing, finished, returned and rolled back, or empty in a dry run.
    `waiting` are shards that aren't complete, `running` runs that keep it from being finished. `unsure` are
    artifacts that were written at both places, and stay at both; `kept` are objects at the new place that
    stay, for no move has put them there: paths below both places. Of `finish` they are locations of folders
    at the old place that stay, for they don't carry the id of their run or model, or have files whose names
    no artifact can have.
    """

    experiment_id: str
    name: str
    state: str
    runs: int
    models: int
    versions: int
    copied: int
    bytes: int
    deleted: int
    deleted_bytes: int
    waiting: list[int]
    running: list[str]
    unsure: list[str]
    kept: list[str]
    error: str | None


class Migrated(Struct, frozen=True):
    """What became of a migration; `failed` experiments have an `error`, `running` runs, or are `unsure`."""

    dry_run: bool
    experiments: list[MigratedExperiment]
    failed: int
    seconds: float


class MigrationState(Struct, frozen=True):
    """An experiment that is being moved; `begun` as ISO 8601 in UTC, `waiting` for these shards."""

    experiment_id: str
    name: str
    state: str
    source: str
    target: str
    begun: str
    waiting: list[int]


SHAPES: dict[tuple[str, ...], Any] = {
    ("artifacts", "ls"): list[Listed],
    ("artifacts", "put"): Copied,
    ("artifacts", "get"): Copied,
    ("artifacts", "cp"): Copied,
    ("artifacts", "rm"): Removed,
    ("artifacts", "verify"): Verified,
    ("db", "check"): CheckedDatabase,
    ("db", "index"): list[Indexed],
    ("experiments", "create"): ExperimentId,
    ("experiments", "list"): list[Experiment],
    ("experiments", "get"): Experiment,
    ("experiments", "rename"): ExperimentId,
    ("experiments", "delete"): list[ExperimentId],
    ("experiments", "restore"): list[ExperimentId],
    ("gc",): Collected,
    ("gc", "plan"): Planned,
    ("gc", "apply"): Collected,
    ("fsck",): CheckFound | CheckTotal,
    ("gc", "undo"): Collected,
    ("import",): ImportDone,
    ("migrate",): Migrated,
    ("migrate", "finish"): Migrated,
    ("migrate", "rollback"): Migrated,
    ("migrate", "status"): list[MigrationState],
    ("retention", "preview"): Retaining,
    ("retention", "plan"): Retaining,
    ("retention", "apply"): Retired,
    ("retention", "undo"): Retired,
    ("runs", "list"): list[Run],
    ("runs", "describe"): Run,
    ("models", "list"): list[StagedModel],
    ("models", "describe"): StagedModel,
    ("models", "delete"): list[ModelId],
    ("models", "restore"): list[ModelId],
    ("runs", "delete"): list[RunId],
    ("runs", "restore"): list[RunId],
    ("sync",): list[Synced],
}
"""By the command; experiments and runs are as the REST API has them."""


def show(value: Any, text: str, as_json: bool) -> None:
    """Print a result: as JSON, or in words."""
    shown = "\n".join(map(printable, text.split("\n")))
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2) if as_json else shown)
