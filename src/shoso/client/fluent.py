"""Logging to the active run, by the names of MLflow's functions. Without a run, one is started.

`synchronous` is MLflow's: every call here returns when what it was given is kept. False is answered with a
`RunOperations`, whose `wait` has nothing to wait for.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoso.client import inputs, link
from shoso.client.active import active_run, current_experiment, target
from shoso.client.inputs import ReadModel
from shoso.client.tracking import Client
from shoso.core import keys, locations

if TYPE_CHECKING:
    from pandas import DataFrame

_log = logging.getLogger("shoso")


class RunOperations:
    """What was to be logged later, and has been logged."""

    def wait(self) -> None:
        """Return at once."""


def _outcome(synchronous: bool | None) -> RunOperations | None:
    return RunOperations() if synchronous is False else None


def log_param(key: str, value: Any, synchronous: bool | None = None) -> Any:
    """Log a param; the value becomes text, and is given back as it was."""
    client, run_id = target()
    client.log_param(run_id, key, value)
    return _outcome(synchronous) or value


def log_params(
    params: Mapping[str, Any], synchronous: bool | None = None, run_id: str | None = None
) -> RunOperations | None:
    """Log params, up to 100 in one call, all or nothing."""
    client, run = target(run_id)
    client.log_params(run, params)
    return _outcome(synchronous)


def log_metric(
    key: str,
    value: Any,
    step: int | None = None,
    synchronous: bool | None = None,
    timestamp: int | None = None,
    run_id: str | None = None,
    model_id: str | None = None,
    dataset: Any | None = None,
) -> RunOperations | None:
    """Log a point of a metric: at step 0 and now (milliseconds since the epoch), unless said otherwise."""
    return log_metrics({key: value}, step, synchronous, run_id, timestamp, model_id, dataset)


def log_metrics(
    metrics: Mapping[str, Any],
    step: int | None = None,
    synchronous: bool | None = None,
    run_id: str | None = None,
    timestamp: int | None = None,
    model_id: str | None = None,
    dataset: Any | None = None,
) -> RunOperations | None:
    """Log a point of each metric, up to 1000 in one call, all or nothing.

    With `dataset`, one of mlflow.data's, they are of that dataset, which becomes an input of the run.
    """
    client, run = target(run_id)
    client.log_metrics(run, metrics, timestamp, step, model_id, dataset)
    return _outcome(synchronous)


def set_tag(key: str, value: Any, synchronous: bool | None = None) -> RunOperations | None:
    """Set a tag; the value becomes text."""
    return set_tags({key: value}, synchronous)


def set_tags(tags: Mapping[str, Any], synchronous: bool | None = None) -> RunOperations | None:
    """Set tags, up to 100 in one call, all or nothing."""
    client, run = target()
    client.set_tags(run, tags)
    return _outcome(synchronous)


def delete_tag(key: str) -> None:
    """Remove a tag."""
    client, run = target()
    client.delete_tag(run, key)


# -- inputs -----------------------------------------------------------------------------------------------


def log_input(
    dataset: Any | None = None,
    context: str | None = None,
    tags: Mapping[str, str] | None = None,
    model: ReadModel | None = None,
) -> None:
    """Log a dataset that the run reads, one of mlflow.data's, and for what: "training"; or a logged model."""
    one = inputs.read(dataset, context, tags)
    client, run = target()
    client.log_inputs(run, [one] if one else None, [model] if model else None)


def log_inputs(
    datasets: Sequence[Any | None] | None = None,
    contexts: Sequence[str | None] | None = None,
    tags_list: Sequence[Mapping[str, str] | None] | None = None,
    models: Sequence[ReadModel | None] | None = None,
) -> None:
    """Log several at once; `datasets`, `contexts` and `tags_list` are of one length, None for nothing."""
    uses = inputs.each_read(datasets, contexts, tags_list)
    client, run = target()
    client.log_inputs(run, uses, [model for model in models or () if model is not None])


# -- artifacts --------------------------------------------------------------------------------------------


def log_artifact(local_path: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Keep a file, or a folder under its name, below `artifact_path`."""
    client, run = target(run_id)
    client.log_artifact(run, local_path, artifact_path)


def log_artifacts(local_dir: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Keep everything in a folder below `artifact_path`; what is there unchanged isn't sent again."""
    client, run = target(run_id)
    client.log_artifacts(run, local_dir, artifact_path)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a text, as UTF-8."""
    client, run = target(run_id)
    client.log_text(run, text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a dict or list as JSON, or as YAML where the name ends in .yml or .yaml."""
    client, run = target(run_id)
    client.log_dict(run, dictionary, artifact_file)


def log_figure(figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
    """Keep a figure of matplotlib's or plotly's, in the format that the name ends in."""
    client, run = target()
    client.log_figure(run, figure, artifact_file, save_kwargs=save_kwargs)


def log_image(
    image: Any,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
    synchronous: bool | None = False,
) -> None:
    """Keep an image of PIL's or an array of numpy's: as a file, or as the image `key` at a step."""
    client, run = target()
    client.log_image(run, image, artifact_file, key, step, timestamp)


def log_stream(
    stream: io.BufferedIOBase | io.RawIOBase, artifact_file: str, run_id: str | None = None
) -> None:
    """Keep what a binary file-like object has to read, to its end."""
    client, run = target(run_id)
    client.log_stream(run, stream, artifact_file)


def log_table(data: dict[str, Any] | DataFrame, artifact_file: str, run_id: str | None = None) -> None:
    """Keep a table, or add its rows to the one of that name. Needs pandas."""
    client, run = target(run_id)
    client.log_table(run, data, artifact_file)


def load_table(
    artifact_file: str, run_ids: list[str] | None = None, extra_columns: list[str] | None = None
) -> DataFrame:
    """The rows of a table of this experiment's runs, or of those that are named, in one. Needs pandas.

    `extra_columns` are columns of `search_runs`, e.g. run_id or params.lr, that say which run a row is of.
    """
    return Client().load_table(current_experiment(), artifact_file, run_ids, extra_columns)


def get_artifact_uri(artifact_path: str | None = None) -> str:
    """Where the active run's artifacts are, or the one at `artifact_path`."""
    if active_run() is None:
        _log.warning("No run is active: get_artifact_uri starts one.")
    client, run_id = target()
    run = active_run() or client.get_run(run_id)
    uri = run.info.artifact_uri
    return locations.below(uri, keys.parse(artifact_path.rstrip("/"))) if artifact_path else uri


def flush_async_logging() -> None:
    """Return when everything that was logged is with the server."""
    link.to(None).sink.flush()


def flush_artifact_async_logging() -> None:
    """Return when everything that was logged is with the server."""
    flush_async_logging()
