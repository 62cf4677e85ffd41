"""What is logged to a server's runs, explicitly by id, but for artifacts: params, metrics, tags and inputs.

`synchronous` is MLflow's, and changes nothing: every call returns when what it was given is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoso.client import batches, inputs
from shoso.client.batches import Batch, Pair, Point
from shoso.client.inputs import ReadDataset, ReadModel
from shoso.client.runs import Runs
from shoso.core.clock import now_ms


class Logs(Runs):
    """The calls of `Client` that log params, metrics, tags and inputs."""

    def log_param(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> Any:
        """Log a param; the value becomes text, and is given back as it was."""
        self.log_params(run_id, {key: value})
        return value

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log params, up to 100 in one call, all or nothing."""
        self._sink.log_batch(Batch(run_id, params=batches.params(params)))

    def log_metric(
        self,
        run_id: str,
        key: str,
        value: Any,
        timestamp: int | None = None,
        step: int | None = None,
        synchronous: bool | None = None,
        dataset_name: str | None = None,
        dataset_digest: str | None = None,
        model_id: str | None = None,
    ) -> None:
        """Log a point of a metric: now (milliseconds since the epoch) and at step 0, unless said."""
        point = batches.metric(
            key,
            value,
            timestamp,
            step,
            model_id=model_id,
            dataset_name=dataset_name,
            dataset_digest=dataset_digest,
        )
        self._sink.log_batch(Batch(run_id, metrics=[point]))

    def log_metrics(
        self,
        run_id: str,
        metrics: Mapping[str, Any],
        timestamp: int | None = None,
        step: int | None = None,
        model_id: str | None = None,
        dataset: Any | None = None,
    ) -> None:
        """Log a point of each metric, all of one time and step, up to 1000 in one call, all or nothing.

        With `dataset`, one of mlflow.data's, they are of that dataset, which becomes an input of the run.
        """
        moment = now_ms() if timestamp is None else timestamp
        used = inputs.read(dataset)
        of = {"dataset_name": used.dataset.name, "dataset_digest": used.dataset.digest} if used else {}
        points = [
            batches.metric(key, value, moment, step, model_id=model_id, **of)
            for key, value in metrics.items()
        ]
        if used is not None:
            self.log_inputs(run_id, [used])
        self._sink.log_batch(Batch(run_id, metrics=points))

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> None:
        """Set a tag; the value becomes text."""
        self.set_tags(run_id, {key: value})

    def set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Set tags, up to 100 in one call, all or nothing."""
        self._sink.log_batch(Batch(run_id, tags=batches.tags(tags)))

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag."""
        self._sink.delete_tag(run_id, key)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Point] = (),
        params: Sequence[Pair] = (),
        tags: Sequence[Pair] = (),
        synchronous: bool | None = None,
    ) -> None:
        """Log metrics, params and tags in as few calls as the server's limits allow, each all or nothing."""
        self._sink.log_batch(
            Batch(run_id, batches.points(metrics), batches.params(params), batches.tags(tags))
        )

    def log_inputs(
        self,
        run_id: str,
        datasets: Sequence[ReadDataset] | None = None,
        models: Sequence[ReadModel] | None = None,
    ) -> None:
        """Log what the run read: datasets, each as a `DatasetInput`, and logged models."""
        self._sink.log_inputs(inputs.call(run_id, datasets, models))
