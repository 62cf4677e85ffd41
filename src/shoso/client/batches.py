"""What is logged for a run, as the server takes it: checked here, and cut to the size of its calls."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from reprlib import repr  # noqa: A004  a value may be large: it's shown in a few words
from typing import Any, Protocol

from msgspec import Struct

from shoso.core.clock import now_ms
from shoso.errors import Kind, TrackingError
from shoso.wire.entities import Metric, Param, Tag, double

PAIRS_MAX = 100
"""Params in a call, and tags in a call."""

BATCH_MAX = 1000
"""Metrics, params and tags in a call, together."""


class Batch(Struct, frozen=True, omit_defaults=True):
    """The body of `runs/log-batch`."""

    run_id: str
    metrics: Sequence[Metric] = ()
    params: Sequence[Param] = ()
    tags: Sequence[Tag] = ()


class Point(Protocol):
    """A metric as a caller gives it: ours, or MLflow's."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def step(self) -> int: ...


class Pair(Protocol):
    """A param or a tag as a caller gives it: ours, or MLflow's."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> Any: ...


def split(batch: Batch) -> Iterator[Batch]:
    """The same in calls of the size that a server takes; nothing for a batch with nothing in it."""
    metrics, params, tags = batch.metrics, batch.params, batch.tags
    while metrics or params or tags:
        head_params, params = params[:PAIRS_MAX], params[PAIRS_MAX:]
        head_tags, tags = tags[:PAIRS_MAX], tags[PAIRS_MAX:]
        room = BATCH_MAX - len(head_params) - len(head_tags)
        head_metrics, metrics = metrics[:room], metrics[room:]
        yield Batch(batch.run_id, head_metrics, head_params, head_tags)


def metric(
    key: str,
    value: Any,
    timestamp: int | None = None,
    step: int | None = None,
    *,
    model_id: str | None = None,
    dataset_name: str | None = None,
    dataset_digest: str | None = None,
) -> Metric:
    """A point as it travels; now, and step 0, unless said otherwise. Raises TrackingError(INVALID)."""
    return Metric(
        text("name of a metric", key),
        double(number(key, value)),
        now_ms() if timestamp is None else _whole(f"timestamp of metric '{key}'", timestamp),
        0 if step is None else _whole(f"step of metric '{key}'", step),
        dataset_name,
        dataset_digest,
        model_id,
    )


def points(given: Iterable[Point]) -> list[Metric]:
    """Metrics of the caller's as they travel. Raises TrackingError(INVALID)."""
    return [
        metric(
            each.key,
            each.value,
            each.timestamp,
            each.step,
            model_id=getattr(each, "model_id", None),
            dataset_name=getattr(each, "dataset_name", None),
            dataset_digest=getattr(each, "dataset_digest", None),
        )
        for each in given
    ]


def params(given: Mapping[str, Any] | Iterable[Pair]) -> list[Param]:
    """Params as they travel: the values as text. Raises TrackingError(INVALID)."""
    return [Param(key, value) for key, value in _pairs("param", given)]


def tags(given: Mapping[str, Any] | Iterable[Pair]) -> list[Tag]:
    """Tags as they travel: the values as text. Raises TrackingError(INVALID)."""
    return [Tag(key, value) for key, value in _pairs("tag", given)]


def _pairs(what: str, given: Mapping[str, Any] | Iterable[Pair]) -> Iterator[tuple[str, str]]:
    pairs = given.items() if isinstance(given, Mapping) else ((each.key, each.value) for each in given)
    for key, value in pairs:
        yield text(f"name of a {what}", key), text(f"value of {what} '{key}'", str(value))


def text(what: str, value: object) -> str:
    """The text, if it is one. Raises TrackingError(INVALID) that says what it's for."""
    if not isinstance(value, str):
        raise _refusal(f"The {what} must be a text, not {repr(value)} ({type(value).__name__}).")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refusal(f"The {what} is not valid Unicode: {repr(value)}.") from None
    return value


def number(key: str, value: Any) -> float:
    """A metric's value; arrays and tensors of one element count. Raises TrackingError(INVALID)."""
    try:
        return float(value if isinstance(value, str | float) else _item(value))
    except (TypeError, ValueError, RuntimeError, OverflowError):  # a tensor of many raises RuntimeError
        raise _refusal(f"Metric '{key}' must be one number, not {repr(value)}.") from None


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _whole(what: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise _refusal(f"The {what} must be a whole number, not {repr(value)}.") from None


def _refusal(message: str) -> TrackingError:
    return TrackingError(Kind.INVALID, message)
