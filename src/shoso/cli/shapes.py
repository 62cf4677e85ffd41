"""What `--json` prints: one shape a command. A field is always there; what isn't known is null."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from msgspec import Struct

from shoso.wire.entities import Experiment, Run


class ExperimentId(Struct, frozen=True):
    """The experiment that a command was about."""

    experiment_id: str


class RunId(Struct, frozen=True):
    """The run that a command was about."""

    run_id: str


SHAPES: dict[tuple[str, ...], Any] = {
    ("experiments", "create"): ExperimentId,
    ("experiments", "list"): list[Experiment],
    ("experiments", "get"): Experiment,
    ("experiments", "rename"): ExperimentId,
    ("experiments", "delete"): ExperimentId,
    ("experiments", "restore"): ExperimentId,
    ("runs", "list"): list[Run],
    ("runs", "describe"): Run,
    ("runs", "delete"): RunId,
    ("runs", "restore"): RunId,
}
"""By the command; experiments and runs are as the REST API has them."""


def show(value: Any, text: str, as_json: bool) -> None:
    """Print a result: as JSON, or in words."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2) if as_json else text)
