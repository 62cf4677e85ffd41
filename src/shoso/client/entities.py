"""What the SDK hands out and takes: MLflow's nouns as frozen values, with MLflow's names for their fields.

Times are milliseconds since the epoch. What comes from somewhere else and has the same fields, e.g. a
`mlflow.entities.Metric`, is taken as well.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeVar

from shoso.wire import entities as wire

T = TypeVar("T")


class ViewType(enum.IntEnum):
    """Which runs or experiments a search sees: those that are there, those deleted, or both."""

    ACTIVE_ONLY = 1
    DELETED_ONLY = 2
    ALL = 3


class LoggedModelStatus(enum.StrEnum):
    """How far a logged model has come."""

    UNSPECIFIED = "UNSPECIFIED"
    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"

    @property
    def wire(self) -> str:
        """The name that travels."""
        return _WIRE_STATUS[self]

    @classmethod
    def from_wire(cls, name: str) -> Self:
        """The status of that name; one that is new to us is UNSPECIFIED."""
        return cls(next((status for status, known in _WIRE_STATUS.items() if known == name), "UNSPECIFIED"))


_WIRE_STATUS = {
    LoggedModelStatus.UNSPECIFIED: "LOGGED_MODEL_STATUS_UNSPECIFIED",
    LoggedModelStatus.PENDING: "LOGGED_MODEL_PENDING",
    LoggedModelStatus.READY: "LOGGED_MODEL_READY",
    LoggedModelStatus.FAILED: "LOGGED_MODEL_UPLOAD_FAILED",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured point; `model_id` and the dataset are of a point that measures a logged model."""

    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    run_id: str | None = None

    @classmethod
    def from_wire(cls, it: wire.Metric) -> Self:
        """The point in a reply, where NaN and the infinities are text."""
        return cls(
            it.key,
            float(it.value),
            it.timestamp,
            it.step,
            it.model_id or None,
            it.dataset_name or None,
            it.dataset_digest or None,
            it.run_id or None,
        )


@dataclass(frozen=True, slots=True)
class Param:
    """A param of a run: what was chosen."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class RunTag:
    """A tag of a run."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that a run read; `source`, `schema` and `profile` are JSON of whoever logged it."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None

    @classmethod
    def from_wire(cls, it: wire.Dataset) -> Self:
        """The dataset in a reply."""
        return cls(it.name, it.digest, it.source_type, it.source, it.schema, it.profile)


@dataclass(frozen=True, slots=True)
class InputTag:
    """A tag of the use that a run made of a dataset, e.g. mlflow.data.context."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset that a run read, with the tags of that use."""

    dataset: Dataset
    tags: tuple[InputTag, ...] = ()

    @classmethod
    def from_wire(cls, it: wire.DatasetInput) -> Self:
        """The use in a reply."""
        return cls(Dataset.from_wire(it.dataset), tuple(InputTag(tag.key, tag.value) for tag in it.tags))


@dataclass(frozen=True, slots=True)
class LoggedModelInput:
    """A logged model that a run read."""

    model_id: str


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run read."""

    dataset_inputs: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[LoggedModelInput, ...] = ()

    @classmethod
    def from_wire(cls, it: wire.RunInputs) -> Self:
        """What is in a reply."""
        return cls(
            tuple(map(DatasetInput.from_wire, it.dataset_inputs)),
            tuple(LoggedModelInput(model.model_id) for model in it.model_inputs),
        )


@dataclass(frozen=True, slots=True)
class FileInfo:
    """An artifact or a folder of artifacts; `path` as seen from the run, `file_size` in bytes."""

    path: str
    is_dir: bool
    file_size: int | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """A group of runs."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    tags: Mapping[str, str] = field(default_factory=dict)
    creation_time: int | None = None
    last_update_time: int | None = None

    @classmethod
    def from_wire(cls, it: wire.Experiment) -> Self:
        """The experiment in a reply."""
        return cls(
            it.experiment_id,
            it.name,
            it.artifact_location,
            it.lifecycle_stage,
            _texts(it.tags),
            it.creation_time,
            it.last_update_time,
        )


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run is; `end_time` is None while it runs."""

    run_id: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    lifecycle_stage: str
    artifact_uri: str
    run_name: str | None = None

    @classmethod
    def from_wire(cls, it: wire.RunInfo) -> Self:
        """The run in a reply."""
        return cls(
            it.run_id,
            it.experiment_id,
            it.user_id,
            it.status,
            it.start_time,
            it.end_time or None,
            it.lifecycle_stage,
            it.artifact_uri,
            it.run_name,
        )


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run measured: the last value of each metric, its params and its tags."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, it: wire.RunData) -> Self:
        """The data in a reply."""
        return cls(
            {metric.key: float(metric.value) for metric in it.metrics}, _texts(it.params), _texts(it.tags)
        )


@dataclass(frozen=True, slots=True)
class Run:
    """A run: what it is, what it measured and what it read."""

    info: RunInfo
    data: RunData
    inputs: RunInputs = RunInputs()

    @classmethod
    def from_wire(cls, it: wire.Run) -> Self:
        """The run in a reply."""
        return cls(RunInfo.from_wire(it.info), RunData.from_wire(it.data), RunInputs.from_wire(it.inputs))


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model that was logged for an experiment, with artifacts of its own."""

    experiment_id: str
    model_id: str
    name: str
    artifact_location: str
    creation_timestamp: int
    last_updated_timestamp: int
    model_type: str | None = None
    source_run_id: str | None = None
    status: LoggedModelStatus = LoggedModelStatus.READY
    status_message: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()

    @property
    def model_uri(self) -> str:
        """The URI of its artifacts."""
        return f"models:/{self.model_id}"

    @classmethod
    def from_wire(cls, it: wire.LoggedModel) -> Self:
        """The model in a reply."""
        info = it.info
        return cls(
            info.experiment_id,
            info.model_id,
            info.name,
            info.artifact_uri,
            info.creation_timestamp_ms,
            info.last_updated_timestamp_ms,
            info.model_type or None,
            info.source_run_id or None,
            LoggedModelStatus.from_wire(info.status),
            info.status_message or None,
            _texts(info.tags),
            _texts(it.data.params),
            tuple(map(Metric.from_wire, it.data.metrics)),
        )


class PagedList(list[T]):
    """A page of a search; `token` asks for the next one, None where this is the last."""

    def __init__(self, items: Iterable[T], token: str | None) -> None:
        super().__init__(items)
        self.token = token


def _texts(pairs: Iterable[wire.Tag | wire.Param]) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs}
