"""The nouns of tracking as MLflow spells them: what requests carry and replies show.

Field names, order and presence follow MLflow 3.17's protobuf JSON: an unset field and an empty list are left
out, an explicitly empty string is there, int64 are JSON numbers. Times are milliseconds since the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Required = Annotated[str, Meta(min_length=1)]
"""Text that must be there; MLflow counts the empty string as missing."""

Double = float | str
"""A double on its way out: NaN and the infinities travel as text, as protobuf's JSON has them."""


def double(value: float) -> Double:
    """The JSON form of a double (protobuf's: "NaN", "Infinity", "-Infinity")."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


class Tag(Struct, frozen=True):
    """A tag of an experiment, a run, an input or a logged model."""

    key: str
    value: str


class Param(Struct, frozen=True):
    """A param of a run or a logged model."""

    key: str
    value: str


class Metric(Struct, frozen=True, omit_defaults=True):
    """One measured point."""

    key: str
    value: Double
    timestamp: int
    step: int
    dataset_name: str | None = None
    dataset_digest: str | None = None
    model_id: str | None = None
    run_id: str | None = None


class Experiment(Struct, frozen=True, omit_defaults=True):
    """An experiment; `experiment_id` is an integer rendered as text."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int | None = None
    creation_time: int | None = None
    tags: Sequence[Tag] = ()
    workspace: str | None = None


class RunInfo(Struct, frozen=True, omit_defaults=True):
    """What a run is, without what it measured. `run_uuid` repeats `run_id` for old clients."""

    run_uuid: str
    run_id: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    run_name: str | None = None
    end_time: int | None = None


class RunData(Struct, frozen=True, omit_defaults=True):
    """What a run measured: the latest point of each metric, its params and tags."""

    metrics: Sequence[Metric] = ()
    params: Sequence[Param] = ()
    tags: Sequence[Tag] = ()


class Dataset(Struct, frozen=True, omit_defaults=True):
    """A dataset that a run read; `schema` and `profile` are JSON texts of the client's."""

    name: Required
    digest: Required
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class DatasetInput(Struct, frozen=True, omit_defaults=True):
    """A dataset as the input of a run, with the tags of that use (e.g. mlflow.data.context)."""

    dataset: Dataset
    tags: Sequence[Tag] = ()


class ModelInput(Struct, frozen=True):
    """A logged model as the input of a run."""

    model_id: str


class ModelOutput(Struct, frozen=True):
    """A logged model as the output of a run, at a step."""

    model_id: str
    step: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] = 0


class RunInputs(Struct, frozen=True, omit_defaults=True):
    """What a run read."""

    dataset_inputs: Sequence[DatasetInput] = ()
    model_inputs: Sequence[ModelInput] = ()


class RunOutputs(Struct, frozen=True, omit_defaults=True):
    """What a run made."""

    model_outputs: Sequence[ModelOutput] = ()


class Run(Struct, frozen=True):
    """A run: info, data, inputs and outputs."""

    info: RunInfo
    data: RunData = RunData()
    inputs: RunInputs = RunInputs()
    outputs: RunOutputs = RunOutputs()


class Registration(Struct, frozen=True):
    """A registered model version made from a logged model."""

    name: str
    version: str


class LoggedModelInfo(Struct, frozen=True, omit_defaults=True):
    """What a logged model is; `status` is a LOGGED_MODEL_* name."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str | None = None
    source_run_id: str | None = None
    status_message: str | None = None
    tags: Sequence[Tag] = ()
    registrations: Sequence[Registration] = ()


class LoggedModelData(Struct, frozen=True, omit_defaults=True):
    """The params and metrics of a logged model."""

    params: Sequence[Param] = ()
    metrics: Sequence[Metric] = ()


class LoggedModel(Struct, frozen=True):
    """A logged model: info and data."""

    info: LoggedModelInfo
    data: LoggedModelData = LoggedModelData()


class FileInfo(Struct, frozen=True, omit_defaults=True):
    """One entry of an artifact listing; `file_size` in bytes, left out for a folder."""

    path: str
    is_dir: bool
    file_size: int | None = None


def encode(reply: object) -> bytes:
    """The JSON bytes of a reply."""
    return _ENCODER.encode(reply)


_ENCODER = msgspec.json.Encoder()
