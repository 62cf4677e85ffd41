"""Experiments and runs: parse → repository function → reply."""

from __future__ import annotations

import re
import uuid
from urllib.parse import SplitResult, urlsplit

from shoso.core import locations
from shoso.errors import Kind, TrackingError
from shoso.metadata import datasets, experiments, histories, metrics, model_history, runs, search
from shoso.server.routes import Route, call
from shoso.server.services import Services
from shoso.wire import replies, requests
from shoso.wire.decode import missing
from shoso.wire.replies import Empty

HOST_ADDRESSED = {"ftp", "ftps", "sftp", "hdfs", "viewfs", "http", "https", "r2", "b2", "abfss"}
"""Schemes whose location names a host: a client could make the server call any machine."""

_TOGETHER = 100
"""Points of a batch that may share a transaction with others: a full group of them takes under a second."""


def routes() -> list[Route]:
    """The tracking calls."""
    return [*_experiment_routes(), *_run_routes(), *_history_routes()]


def _experiment_routes() -> list[Route]:
    at = "/mlflow/experiments"
    by_id, one = requests.ExperimentById, replies.ExperimentReply
    find, found = requests.SearchExperiments, replies.ExperimentPage
    return [
        *call(
            "POST", at + "/create", create_experiment, requests.CreateExperiment, replies.ExperimentCreated
        ),
        *call("GET", at + "/get", get_experiment, by_id, one),
        *call("GET", at + "/get-by-name", get_experiment_by_name, requests.ExperimentByName, one),
        *call("GET", at + "/search", search_experiments, find, found),
        *call("POST", at + "/search", search_experiments, find, found),
        *call("POST", at + "/delete", delete_experiment, by_id, Empty),
        *call("POST", at + "/restore", restore_experiment, by_id, Empty),
        *call("POST", at + "/update", update_experiment, requests.UpdateExperiment, Empty),
        *call("POST", at + "/set-experiment-tag", set_experiment_tag, requests.SetExperimentTag, Empty),
        *call(
            "POST", at + "/delete-experiment-tag", delete_experiment_tag, requests.DeleteExperimentTag, Empty
        ),
        *call(
            "POST",
            at + "/search-datasets",
            search_datasets,
            requests.SearchDatasets,
            replies.DatasetSummaries,
        ),
    ]


def _run_routes() -> list[Route]:
    at = "/mlflow/runs"
    return [
        *call("POST", at + "/log-metric", log_metric, requests.LogMetric, Empty),
        *call("POST", at + "/log-batch", log_batch, requests.LogBatch, Empty),
        *call("POST", at + "/create", create_run, requests.CreateRun, replies.RunReply),
        *call("GET", at + "/get", get_run, requests.GetRun, replies.RunReply),
        *call("POST", at + "/search", search_runs, requests.SearchRuns, replies.RunPage),
        *call("POST", at + "/update", update_run, requests.UpdateRun, replies.RunUpdated),
        *call("POST", at + "/delete", delete_run, requests.RunById, Empty),
        *call("POST", at + "/restore", restore_run, requests.RunById, Empty),
        *call("POST", at + "/log-parameter", log_param, requests.LogParam, Empty),
        *call("POST", at + "/set-tag", set_tag, requests.SetTag, Empty),
        *call("POST", at + "/delete-tag", delete_tag, requests.DeleteTag, Empty),
        *call("POST", at + "/log-model", log_model, requests.LogModel, Empty),
        *call("POST", at + "/log-inputs", log_inputs, requests.LogInputs, Empty),
        *call("POST", at + "/outputs", log_outputs, requests.LogOutputs, Empty),
    ]


def _history_routes() -> list[Route]:
    at = "/mlflow/metrics/get-history"
    many, sample = requests.GetBulkHistory, requests.GetSampledHistory
    return [
        *call("GET", at, metric_history, requests.GetMetricHistory, replies.MetricHistory),
        *call("GET", at + "-bulk", bulk_history, many, replies.BulkHistory),
        *call("GET", at + "-bulk-interval", sampled_history, sample, replies.MetricHistory),
    ]


# -- experiments ------------------------------------------------------------------------------------------


async def create_experiment(
    services: Services, request: requests.CreateExperiment
) -> replies.ExperimentCreated:
    """Create an experiment; its name must be free, also among deleted ones."""
    location = checked_location(services, request.artifact_location)
    created = await services.database.write(
        experiments.create, request, services.settings.artifact_root, location
    )
    return replies.ExperimentCreated(created)


async def get_experiment(services: Services, request: requests.ExperimentById) -> replies.ExperimentReply:
    """Get an experiment, also a deleted one."""
    return replies.ExperimentReply(await services.database.read(experiments.get, request.experiment_id))


async def get_experiment_by_name(
    services: Services, request: requests.ExperimentByName
) -> replies.ExperimentReply:
    """Get an experiment by its name, also a deleted one."""
    found = await services.database.read(experiments.get_by_name, request.experiment_name)
    return replies.ExperimentReply(found)


async def search_experiments(
    services: Services, request: requests.SearchExperiments
) -> replies.ExperimentPage:
    """Search experiments by name, times and tags."""
    return await services.database.search(search.search_experiments, request)


async def delete_experiment(services: Services, request: requests.ExperimentById) -> Empty:
    """Mark an experiment and its runs deleted."""
    await services.database.write(experiments.delete, request.experiment_id)
    return Empty()


async def restore_experiment(services: Services, request: requests.ExperimentById) -> Empty:
    """Bring a deleted experiment back, with its runs."""
    await services.database.write(experiments.restore, request.experiment_id)
    return Empty()


async def update_experiment(services: Services, request: requests.UpdateExperiment) -> Empty:
    """Rename an experiment."""
    await services.database.write(experiments.rename, request.experiment_id, request.new_name)
    return Empty()


async def set_experiment_tag(services: Services, request: requests.SetExperimentTag) -> Empty:
    """Set a tag of an experiment."""
    await services.database.write(experiments.set_tag, request)
    return Empty()


async def delete_experiment_tag(services: Services, request: requests.DeleteExperimentTag) -> Empty:
    """Delete a tag of an experiment."""
    await services.database.write(experiments.delete_tag, request)
    return Empty()


async def search_datasets(services: Services, request: requests.SearchDatasets) -> replies.DatasetSummaries:
    """Find the datasets that runs of the experiments read, and what for."""
    found = await services.database.search(datasets.summaries, request)
    return replies.DatasetSummaries(found or ())


def checked_location(services: Services, location: str) -> str:
    """The artifact location of a new experiment, a relative path made absolute. Raises INVALID."""
    if not location:
        return ""
    parts = _split(location, "artifact_location")
    if parts.scheme == "runs":
        raise _bad_location("can't be a runs:/ URI; name the storage itself.")
    if parts.fragment or ";" in parts.path:
        raise _bad_location("can't have a fragment or parameters.")
    if ".." in re.split(r"[=&/\\]", parts.query):
        raise _bad_location("can't have '..' in its query.")
    check_place(services, "artifact_location", location)
    return locations.absolute(location)


def check_place(services: Services, field: str, location: str) -> None:
    """Refuse a location that holds a password, or names a host that isn't the server's. Raises INVALID."""
    if locations.has_password(location):
        raise _bad_location(
            "can't hold a password: it would be kept in the database and shown to everybody.", field
        )
    parts = _split(location, field)
    named = parts.scheme in HOST_ADDRESSED or (parts.scheme == "mlflow-artifacts" and parts.netloc)
    if named and not services.locations.holds(location):
        message = f"can't name a host by '{parts.scheme}:' here; the server would need --allow-artifact-root."
        raise _bad_location(message, field)


def _split(location: str, field: str) -> SplitResult:
    try:
        return urlsplit(location)
    except ValueError:
        raise _bad_location("is not a path and no URI.", field) from None


def _bad_location(why: str, field: str = "artifact_location") -> TrackingError:
    return TrackingError(Kind.INVALID, f"'{field}' {why}")


# -- runs -------------------------------------------------------------------------------------------------


async def create_run(services: Services, request: requests.CreateRun) -> replies.RunReply:
    """Create a run, running."""
    asked = (request, _truncates(services), uuid.uuid4().hex)
    return replies.RunReply(await services.database.create_each(runs.create_each, asked))


async def get_run(services: Services, request: requests.GetRun) -> replies.RunReply:
    """Get a run with its latest metrics, params, tags, inputs and outputs."""
    return replies.RunReply(await services.database.read(runs.get, _run_id(request)))


async def search_runs(services: Services, request: requests.SearchRuns) -> replies.RunPage:
    """Search the runs of experiments."""
    return await services.database.search(search.search_runs, request)


async def update_run(services: Services, request: requests.UpdateRun) -> replies.RunUpdated:
    """Change status, end time or name of a run."""
    return replies.RunUpdated(await services.database.write(runs.update, _run_id(request), request))


async def delete_run(services: Services, request: requests.RunById) -> Empty:
    """Mark a run deleted; its artifacts stay."""
    await services.database.write(runs.delete, request.run_id)
    return Empty()


async def restore_run(services: Services, request: requests.RunById) -> Empty:
    """Bring a deleted run back."""
    await services.database.write(runs.restore, request.run_id)
    return Empty()


async def log_metric(services: Services, request: requests.LogMetric) -> Empty:
    """Log one point of a metric, durably."""
    _run_id(request)
    await services.database.write_each(metrics.log_each, request)
    return Empty()


async def log_param(services: Services, request: requests.LogParam) -> Empty:
    """Log a param; another value for one that is there is refused."""
    params = [requests.ParamInput(request.key, request.value)]
    await services.database.write(runs.log_params, _run_id(request), params, _truncates(services))
    return Empty()


async def set_tag(services: Services, request: requests.SetTag) -> Empty:
    """Set a tag of a run."""
    tags = [requests.TagInput(request.key, request.value)]
    await services.database.write(runs.set_tags, _run_id(request), tags, _truncates(services))
    return Empty()


async def delete_tag(services: Services, request: requests.DeleteTag) -> Empty:
    """Delete a tag of a run."""
    await services.database.write(runs.delete_tag, request.run_id, request.key)
    return Empty()


async def log_batch(services: Services, request: requests.LogBatch) -> Empty:
    """Log metrics, params and tags of a run: all of them, or none."""
    asked = (request, _truncates(services))
    if len(request.metrics) > _TOGETHER:
        await services.database.write(runs.log_batch, *asked)
    else:
        await services.database.write_each(runs.log_batches, asked)
    return Empty()


async def log_model(services: Services, request: requests.LogModel) -> Empty:
    """Record a model that a run logged, as clients before MLflow 3 do."""
    await services.database.write(model_history.record, request)
    return Empty()


async def log_inputs(services: Services, request: requests.LogInputs) -> Empty:
    """Record the datasets and models that a run read."""
    await services.database.write(datasets.log_inputs, request)
    return Empty()


async def log_outputs(services: Services, request: requests.LogOutputs) -> Empty:
    """Record the models that a run made."""
    await services.database.write(datasets.log_outputs, request)
    return Empty()


async def metric_history(services: Services, request: requests.GetMetricHistory) -> replies.MetricHistory:
    """Get all points of one metric of a run, in pages where a size is asked for."""
    return await services.database.search(
        metrics.history, _run_id(request), request.metric_key, request.page_token, request.max_results
    )


async def bulk_history(services: Services, request: requests.GetBulkHistory) -> replies.BulkHistory:
    """Get the points of one metric in many runs, the first ones where there are more than asked for."""
    return replies.BulkHistory(await services.database.search(histories.bulk, request))


async def sampled_history(services: Services, request: requests.GetSampledHistory) -> replies.MetricHistory:
    """Get evenly spaced points of one metric in many runs, the first and the last of each among them."""
    return replies.MetricHistory(await services.database.search(histories.sampled, request) or ())


def _run_id(request: requests.OfRun) -> str:
    if not (run_id := request.run_id or request.run_uuid):
        raise missing("run_id")
    return run_id


def _truncates(services: Services) -> bool:
    return services.settings.truncate_long_values
