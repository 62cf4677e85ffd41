"""The replies of MLflow's REST API; an empty reply is `{}`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from shoso.wire.entities import Experiment, FileInfo, LoggedModel, Metric, Run, RunInfo


class Empty(Struct, frozen=True):
    """`{}`: the call did what it says."""


class ExperimentCreated(Struct, frozen=True):
    experiment_id: str


class ExperimentReply(Struct, frozen=True):
    experiment: Experiment


class ExperimentPage(Struct, frozen=True, omit_defaults=True):
    experiments: Sequence[Experiment] = ()
    next_page_token: str | None = None


class RunReply(Struct, frozen=True):
    run: Run


class RunUpdated(Struct, frozen=True):
    run_info: RunInfo


class RunPage(Struct, frozen=True, omit_defaults=True):
    runs: Sequence[Run] = ()
    next_page_token: str | None = None


class MetricHistory(Struct, frozen=True, omit_defaults=True):
    metrics: Sequence[Metric] = ()
    next_page_token: str | None = None


class BulkHistory(Struct, frozen=True):
    metrics: Sequence[Metric]


class DatasetSummary(Struct, frozen=True, omit_defaults=True):
    """A dataset that runs of an experiment read, once for each thing it was read for."""

    experiment_id: str
    name: str
    digest: str
    context: str | None = None


class DatasetSummaries(Struct, frozen=True, omit_defaults=True):
    dataset_summaries: Sequence[DatasetSummary] = ()


class ArtifactList(Struct, frozen=True, omit_defaults=True):
    root_uri: str | None = None
    files: Sequence[FileInfo] = ()
    next_page_token: str | None = None


class PartCredential(Struct, frozen=True, omit_defaults=True):
    """Where a part is put, and the headers that go with it."""

    url: str
    part_number: int
    headers: dict[str, str] = {}


class MultipartUpload(Struct, frozen=True):
    upload_id: str
    credentials: list[PartCredential]


class PresignedObject(Struct, frozen=True):
    """Where an object of the destination is fetched."""

    url: str
    headers: dict[str, str]
    file_size: int


class PresignedUrl(Struct, frozen=True, omit_defaults=True):
    """Where an artifact of a run is put or fetched."""

    presigned_url: str
    headers: dict[str, str] = {}
    file_size: int | None = None


class LoggedModelReply(Struct, frozen=True):
    model: LoggedModel


class LoggedModelPage(Struct, frozen=True, omit_defaults=True):
    models: Sequence[LoggedModel] = ()
    next_page_token: str | None = None


class LoggedModelRestored(Struct, frozen=True):
    """The experiment of a logged model that is active again; a deleted one is restored by itself."""

    experiment_id: str
    experiment_stage: str


class ServerInfo(Struct, frozen=True):
    """What MLflow's client asks before it moves files; field names are MLflow 3.17's."""

    store_type: str | None
    workspaces_enabled: bool
    trace_archival_enabled: bool
    multipart_uploads_enabled: bool
    multipart_downloads_enabled: bool
    presigned_upload_run_id_supported: bool
    presigned_upload_model_id_supported: bool
    features_enabled: dict[str, bool]
