"""The requests of MLflow's REST API, one struct a call; decoding is `shoso.wire.decode`.

A field without a default is required. `run_uuid` is MLflow's old name of `run_id`; its 3.x client sends both.
Sources: MLflow 3.17's service.proto and the validators of its handlers.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from shoso.wire.entities import DatasetInput, ModelInput, ModelOutput, Required

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Milliseconds = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1, description="milliseconds since the epoch")]


class TagInput(Struct, frozen=True, omit_defaults=True):
    """A tag to set; a missing value is stored as the empty string."""

    key: Required
    value: str = ""


class ParamInput(Struct, frozen=True, omit_defaults=True):
    """A param to log; a missing value is stored as the empty string."""

    key: Required
    value: str = ""


class MetricInput(Struct, frozen=True, omit_defaults=True):
    """A metric point to log."""

    key: Required
    value: float
    timestamp: Milliseconds
    step: Int64 = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""
    run_id: str = ""


class OfRun(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whatever names a run, by the new field or by the old one."""

    run_id: str = ""
    run_uuid: str = ""


class Nothing(Struct, frozen=True, omit_defaults=True):
    """A request that asks for nothing in particular."""


# -- experiments ------------------------------------------------------------------------------------------


class CreateExperiment(Struct, frozen=True, omit_defaults=True):
    name: Required
    artifact_location: str = ""
    tags: list[TagInput] = []


class ExperimentById(Struct, frozen=True, omit_defaults=True):
    experiment_id: Required


class ExperimentByName(Struct, frozen=True, omit_defaults=True):
    experiment_name: Required


class UpdateExperiment(Struct, frozen=True, omit_defaults=True):
    experiment_id: Required
    new_name: str = ""


class SearchExperiments(Struct, frozen=True, omit_defaults=True):
    max_results: Int64 = 0
    page_token: str = ""
    filter: str = ""
    order_by: list[str] = []
    view_type: int | str = 1


class SetExperimentTag(Struct, frozen=True, omit_defaults=True):
    experiment_id: Required
    key: Required
    value: str = ""


class DeleteExperimentTag(Struct, frozen=True, omit_defaults=True):
    experiment_id: Required
    key: Required


# -- runs -------------------------------------------------------------------------------------------------


class CreateRun(Struct, frozen=True, omit_defaults=True):
    experiment_id: str = ""
    user_id: str = ""
    run_name: str = ""
    start_time: Milliseconds = 0
    tags: list[TagInput] = []


class UpdateRun(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    status: int | str | None = None
    end_time: Milliseconds | None = None
    run_name: str = ""


class GetRun(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    pass


class RunById(Struct, frozen=True, omit_defaults=True):
    run_id: Required


class SearchRuns(Struct, frozen=True, omit_defaults=True):
    experiment_ids: list[str] = []
    filter: str = ""
    run_view_type: int | str = 1
    max_results: Int64 = 1000
    order_by: list[str] = []
    page_token: str = ""


class LogMetric(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    key: Required
    value: float
    timestamp: Milliseconds
    step: Int64 = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LogParam(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    key: Required
    value: str = ""


class SetTag(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    key: Required
    value: str = ""


class DeleteTag(Struct, frozen=True, omit_defaults=True):
    run_id: Required
    key: Required


class LogBatch(Struct, frozen=True, omit_defaults=True):
    run_id: Required
    metrics: list[MetricInput] = []
    params: list[ParamInput] = []
    tags: list[TagInput] = []


class LogModel(Struct, frozen=True, omit_defaults=True):
    run_id: Required
    model_json: Required


class LogInputs(Struct, frozen=True, omit_defaults=True):
    run_id: Required
    datasets: list[DatasetInput] = []
    models: list[ModelInput] = []


class LogOutputs(Struct, frozen=True, omit_defaults=True):
    run_id: Required
    models: list[ModelOutput] = []


class GetMetricHistory(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    metric_key: Required
    page_token: str = ""
    max_results: Int64 | None = None


class GetBulkHistory(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The points of one metric in many runs; the field `run_id` is repeated."""

    run_id: list[str] = []
    metric_key: Required
    max_results: Int64 = 25_000


class GetSampledHistory(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sample of a metric in many runs, of all its steps or of those from `start_step` to `end_step`."""

    run_ids: list[str] = []
    metric_key: Required
    start_step: Int64 | None = None
    end_step: Int64 | None = None
    max_results: Int64 = 2_500


class SearchDatasets(Struct, frozen=True, omit_defaults=True):
    experiment_ids: list[str] = []


# -- artifacts --------------------------------------------------------------------------------------------


class ListArtifacts(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    path: str = ""
    page_token: str = ""


class ListProxiedArtifacts(Struct, frozen=True, omit_defaults=True):
    path: str = ""


class GetRunArtifact(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    path: Required


class UploadRunArtifact(OfRun, frozen=True, kw_only=True, omit_defaults=True):
    path: Required


class CreateMultipartUpload(Struct, frozen=True, omit_defaults=True):
    """`path` is the client's own path of the file, of which only the last name counts."""

    folder: str
    path: Required
    num_parts: Int64 = 1


class MultipartUploadPart(Struct, frozen=True, omit_defaults=True):
    """A part that a client has put; Azure's parts have no etag."""

    part_number: Int64
    etag: str | None = None
    url: str | None = None


class CompleteMultipartUpload(Struct, frozen=True, omit_defaults=True):
    folder: str
    path: Required
    parts: list[MultipartUploadPart]
    upload_id: str | None = None


class AbortMultipartUpload(Struct, frozen=True, omit_defaults=True):
    folder: str
    path: Required
    upload_id: str | None = None


class PresignedDownload(Struct, frozen=True, omit_defaults=True):
    path: str


class PresignUpload(Struct, frozen=True, omit_defaults=True):
    """Exactly one of run and model is named; `expiration` in seconds."""

    path: Required
    run_id: str = ""
    model_id: str = ""
    expiration: Int64 = 900


class PresignDownload(Struct, frozen=True, omit_defaults=True):
    run_id: Required
    path: Required
    expiration: Int64 | None = None


# -- logged models ----------------------------------------------------------------------------------------


class CreateLoggedModel(Struct, frozen=True, omit_defaults=True):
    experiment_id: Required
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[ParamInput] = []
    tags: list[TagInput] = []


class FinalizeLoggedModel(Struct, frozen=True, omit_defaults=True):
    model_id: str
    status: int | str


class GetLoggedModel(Struct, frozen=True, omit_defaults=True):
    model_id: str
    allow_deleted: bool = False


class LoggedModelById(Struct, frozen=True, omit_defaults=True):
    model_id: str


class ModelDataset(Struct, frozen=True, omit_defaults=True):
    """A dataset that restricts the metrics of a logged-model search."""

    dataset_name: Required
    dataset_digest: str = ""


class ModelOrderBy(Struct, frozen=True, omit_defaults=True):
    field_name: Required
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""


class SearchLoggedModels(Struct, frozen=True, omit_defaults=True):
    experiment_ids: list[str] = []
    filter: str = ""
    datasets: list[ModelDataset] = []
    max_results: Int64 = 50
    order_by: list[ModelOrderBy] = []
    page_token: str = ""


class SetLoggedModelTags(Struct, frozen=True, omit_defaults=True):
    model_id: str
    tags: list[TagInput] = []


class DeleteLoggedModelTag(Struct, frozen=True, omit_defaults=True):
    model_id: str
    tag_key: str


class LogLoggedModelParams(Struct, frozen=True, omit_defaults=True):
    model_id: str
    params: list[ParamInput] = []


class ListLoggedModelArtifacts(Struct, frozen=True, omit_defaults=True):
    model_id: str
    artifact_directory_path: str = ""
    page_token: str = ""


class GetLoggedModelArtifact(Struct, frozen=True, omit_defaults=True):
    model_id: str
    artifact_file_path: Required
