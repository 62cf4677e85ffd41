"""What another store's experiments, runs and models are brought in as, with their ids and times kept.

POST   imports/experiments    a place for each: by its name, else by its id, else under a new id
POST   imports/known          which of these runs and models are there whole
POST   imports                runs, logged models and registered models; to what is there, what it lacks
POST   imports/finished       say of runs and models that nothing more of them comes

A run or a model of which `more` comes has the tag shoso.importing, so that one whose import was interrupted
is seen, and goes on when it is sent again. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from shoso.wire.entities import DatasetInput, Double, ModelOutput, Required, Tag
from shoso.wire.objects import Count
from shoso.wire.requests import Int64, Milliseconds, ParamInput, TagInput

Stage = Literal["active", "deleted"]
RunId = Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9][\w\-]{0,31}\Z")]
ModelId = Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9][\w\-]{0,35}\Z")]
Number = Annotated[int, Meta(ge=0, le=10**18 - 1)]
"""An experiment's id."""


class ImportedExperiment(Struct, frozen=True, omit_defaults=True):
    """An experiment; without an `artifact_location` its artifacts go below the server's root."""

    experiment_id: Number
    name: Required
    artifact_location: str = ""
    lifecycle_stage: Stage = "active"
    creation_time: Milliseconds | None = None
    last_update_time: Milliseconds | None = None
    tags: Sequence[TagInput] = ()


class PlacedExperiment(Struct, frozen=True):
    """Where an experiment went: `given` is its id in the other store, `made` whether it is new here."""

    given: int
    experiment_id: int
    artifact_location: str
    made: bool


class ImportedPoint(Struct, frozen=True, array_like=True):
    """A point of a metric, as a list."""

    key: str
    value: Double
    timestamp: Milliseconds
    step: Int64


class ImportedModelPoint(Struct, frozen=True, array_like=True):
    """A point of a logged model's metric, as a list; a run measured it."""

    key: str
    value: Double
    timestamp: Milliseconds
    step: Int64
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


class ImportedRun(Struct, frozen=True, omit_defaults=True):
    """A run, or the next `part` of one: only params, tags, metrics and datasets are in any but the first.

    `stays`: its artifacts stay at `artifact_uri`, where the store that it comes from has them.
    """

    run_id: RunId
    experiment_id: Number
    name: str = ""
    user_id: str = ""
    status: Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"] = "RUNNING"
    start_time: Milliseconds | None = None
    end_time: Milliseconds | None = None
    deleted_time: Milliseconds | None = None
    lifecycle_stage: Stage = "active"
    artifact_uri: str = ""
    source_type: Literal["NOTEBOOK", "JOB", "LOCAL", "UNKNOWN", "PROJECT"] = "UNKNOWN"
    source_name: str = ""
    entry_point_name: str = ""
    source_version: str = ""
    params: Sequence[ParamInput] = ()
    tags: Sequence[TagInput] = ()
    metrics: Sequence[ImportedPoint] = ()
    datasets: Sequence[DatasetInput] = ()
    model_inputs: Sequence[str] = ()
    model_outputs: Sequence[ModelOutput] = ()
    part: Count = 0
    more: bool = False
    stays: bool = False


class ImportedModel(Struct, frozen=True, omit_defaults=True):
    """A logged model; `stays` as with a run."""

    model_id: ModelId
    experiment_id: Number
    name: str
    artifact_location: str
    creation_timestamp_ms: Milliseconds = 0
    last_updated_timestamp_ms: Milliseconds = 0
    status: Annotated[int, Meta(ge=0, le=3)] = 1
    lifecycle_stage: Stage = "active"
    model_type: str | None = None
    source_run_id: str | None = None
    status_message: str | None = None
    params: Sequence[ParamInput] = ()
    tags: Sequence[TagInput] = ()
    metrics: Sequence[ImportedModelPoint] = ()
    more: bool = False
    stays: bool = False


class ImportedVersion(Struct, frozen=True, omit_defaults=True):
    """A version of a registered model; that of a deleted one keeps its number."""

    version: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    creation_time: Milliseconds | None = None
    last_updated_time: Milliseconds | None = None
    description: str | None = None
    user_id: str | None = None
    current_stage: Literal["None", "Staging", "Production", "Archived", "Deleted_Internal"] = "None"
    source: str = ""
    storage_location: str | None = None
    run_id: str | None = None
    run_link: str | None = None
    status: str = "READY"
    status_message: str | None = None
    tags: Sequence[TagInput] = ()


class ImportedRegisteredModel(Struct, frozen=True, omit_defaults=True):
    """A registered model; of one that is there already only versions and aliases that it lacks are added."""

    name: Required
    creation_time: Milliseconds | None = None
    last_updated_time: Milliseconds | None = None
    description: str | None = None
    tags: Sequence[TagInput] = ()
    aliases: Sequence[Tag] = ()
    versions: Sequence[ImportedVersion] = ()


class ImportExperiments(Struct, frozen=True):
    experiments: Sequence[ImportedExperiment]


class ExperimentsPlaced(Struct, frozen=True):
    placed: Sequence[PlacedExperiment]
    refused: Sequence[Refused] = ()


class Import(Struct, frozen=True, omit_defaults=True):
    runs: list[ImportedRun] = []
    models: list[ImportedModel] = []
    registered_models: list[ImportedRegisteredModel] = []


class Refused(Struct, frozen=True):
    """What couldn't be taken (`run <id>`, `experiment <name>` …), and why; `whole`: nothing of it was."""

    what: str
    message: str
    whole: bool = False


class Imported(Struct, frozen=True):
    """How many runs (or last parts of them), models and versions are new; and what was refused.

    `params`, `tags` and `points` are those that were added to runs.
    """

    runs: int = 0
    params: int = 0
    tags: int = 0
    points: int = 0
    models: int = 0
    versions: int = 0
    refused: Sequence[Refused] = ()


class ImportIds(Struct, frozen=True, omit_defaults=True):
    """Runs and logged models."""

    runs: list[str] = []
    models: list[str] = []


class Known(Struct, frozen=True, omit_defaults=True):
    """What is there whole: runs, each with the place of its artifacts, and logged models."""

    runs: dict[str, str] = {}
    models: list[str] = []
