"""The limits of MLflow's API, as pure functions: what they return may be stored, what they refuse may not.

Each raises TrackingError(INVALID) with MLflow's sentence. `path` is how the request names the thing, for that
sentence. Source: MLflow 3.17's utils/validation.py and its server's handlers.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from shoso.errors import Kind, TrackingError
from shoso.wire.decode import missing
from shoso.wire.requests import LogBatch, ParamInput, TagInput

KEY_MAX = 250
PARAM_VALUE_MAX = 6000
TAG_VALUE_MAX = 8000
EXPERIMENT_NAME_MAX = 500
EXPERIMENT_TAG_VALUE_MAX = 20_000
LOCATION_MAX = 2048
BATCH_METRICS_MAX = 1000
BATCH_PARAMS_MAX = 100
BATCH_TAGS_MAX = 100
BATCH_MAX = 1000
CUSTOM_VIEWS_MAX = 50
CUSTOM_VIEW = "mlflow.customView.view"
"""How the key of a tag begins that holds one of the UI's custom views of an experiment."""

RUNNING = "RUNNING"
_STATUS = {1: RUNNING, 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}

_SHOWN = 100
"""Characters of a wrong value that its error repeats."""

_KEY = re.compile(r"[/\w.\- :]*")
_RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")
_EXPERIMENT_ID = re.compile(r"-?[0-9]{1,18}")


class Point(Protocol):
    """What LogMetric and MetricInput have in common."""

    @property
    def key(self) -> str: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def dataset_name(self) -> str: ...
    @property
    def dataset_digest(self) -> str: ...


def metric(point: Point, path: str = "") -> None:
    """Refuse a metric by its key, timestamp or half a dataset, which MLflow couldn't read again.

    Any double and any 64-bit step may be stored.
    """
    check_key(point.key, _dotted(path, "name"))
    check_length("Metric name", KEY_MAX, point.key)
    if point.timestamp < 0:
        sentence = f"metric '{point.key}'. Timestamp must be a nonnegative long (64-bit integer)"
        raise _invalid(_dotted(path, "timestamp"), point.timestamp, sentence)
    if bool(point.dataset_name) != bool(point.dataset_digest):
        raise TrackingError(
            Kind.INVALID, "Both dataset_name and dataset_digest must be provided if one is provided"
        )


def param(given: ParamInput, *, truncate: bool, path: str = "") -> ParamInput:
    """The param, its value cut to what may be stored if `truncate`."""
    check_key(given.key, _dotted(path, "key"))
    check_length("Param key", KEY_MAX, given.key)
    value = _fitting("Param value", PARAM_VALUE_MAX, given.value, truncate=truncate)
    return given if value is given.value else ParamInput(given.key, value)


def tag(given: TagInput, *, truncate: bool, path: str = "") -> TagInput:
    """The tag of a run, its value cut to what may be stored if `truncate`."""
    check_key(given.key, _dotted(path, "key"))
    return first_tag(given, truncate=truncate, path=path)


def first_tag(given: TagInput, *, truncate: bool, path: str = "") -> TagInput:
    """A tag that comes with a new run: MLflow takes any characters in its key."""
    check_length(_dotted(path, "key"), KEY_MAX, given.key)
    value = _fitting(_dotted(path, "value"), TAG_VALUE_MAX, given.value, truncate=truncate)
    return given if value is given.value else TagInput(given.key, value)


def experiment_tag(given: TagInput) -> None:
    """Refuse a tag of an experiment; its value is never cut."""
    check_key(given.key, "key")
    check_length("key", KEY_MAX, given.key)
    check_length("value", EXPERIMENT_TAG_VALUE_MAX, given.value)


def custom_views(keys: Iterable[str]) -> None:
    """Refuse more custom views than an experiment may have."""
    if sum(key.startswith(CUSTOM_VIEW) for key in keys) > CUSTOM_VIEWS_MAX:
        raise TrackingError(
            Kind.INVALID,
            f"An experiment can have {CUSTOM_VIEWS_MAX} custom views at most; delete one first.",
        )


def batch(request: LogBatch, *, truncate: bool) -> LogBatch:
    """The batch with its values cut if `truncate`, or the first thing in it that may not be stored."""
    run_id(request.run_id)
    _check_counts(request)
    for index, point in enumerate(request.metrics):
        _check_point(point, index)
    params = [param(p, truncate=truncate, path=f"params[{i}]") for i, p in enumerate(request.params)]
    tags = [tag(t, truncate=truncate, path=f"tags[{i}]") for i, t in enumerate(request.tags)]
    distinct_params(params)
    return LogBatch(request.run_id, request.metrics, params, tags)


def distinct_params(params: Sequence[ParamInput]) -> None:
    """Refuse a param key that comes twice in one request."""
    _check_distinct("parameter", "param", [param.key for param in params])


def distinct_tags(tags: Sequence[TagInput]) -> None:
    """Refuse a tag key that comes twice with a new run or experiment."""
    _check_distinct("tag", "tag", [tag.key for tag in tags])


def run_id(text: str) -> None:
    """Refuse what can't be the id of a run."""
    if _RUN_ID.fullmatch(text) is None:
        raise _invalid("run_id", text)


def experiment_id(text: str) -> int:
    """The number of an experiment."""
    if _EXPERIMENT_ID.fullmatch(text) is None:
        raise TrackingError(
            Kind.INVALID, f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer."
        )
    return int(text)


def experiment_name(text: str) -> None:
    """Refuse a name that an experiment can't have."""
    if not text:
        raise TrackingError(Kind.INVALID, "Invalid experiment name: ''")
    check_length("name", EXPERIMENT_NAME_MAX, text)


def artifact_location(location: str) -> None:
    """Refuse a location that is too long; which places are allowed is the server's policy."""
    check_length("artifact_location", LOCATION_MAX, location)


def status(given: int | str) -> str:
    """The status of a run, given by number or name."""
    text = str(given)[:_SHOWN]
    by_number = {str(number): name for number, name in _STATUS.items()}
    name = by_number.get(text, text)
    if name not in _STATUS.values():
        known = ", ".join(_STATUS.values())
        raise TrackingError(
            Kind.INVALID, f"Invalid value '{text}' for parameter 'status'; there are {known}."
        )
    return name


def _check_counts(request: LogBatch) -> None:
    metrics, params, tags = len(request.metrics), len(request.params), len(request.tags)
    _check_count("metrics", BATCH_METRICS_MAX, metrics)
    _check_count("params", BATCH_PARAMS_MAX, params)
    _check_count("tags", BATCH_TAGS_MAX, tags)
    _check_count("metrics, params, and tags", BATCH_MAX, metrics + params + tags)


def _check_count(what: str, limit: int, count: int) -> None:
    if count > limit:
        raise TrackingError(
            Kind.INVALID,
            f"A batch logging request can contain at most {limit} {what}. Got {count} {what}. Please split up"
            f" {what} across multiple requests and try again.",
        )


def _check_distinct(what: str, short: str, keys: Sequence[str]) -> None:
    if repeated := [key for key, count in Counter(keys).items() if count > 1]:
        raise TrackingError(
            Kind.INVALID,
            f"Duplicate {what} keys have been submitted: {repeated}. Please ensure the request contains only"
            f" one {short} value per {short} key.",
        )


def _check_point(point: Point, index: int) -> None:
    """`metric`, with the path written only when it is needed: there may be a thousand."""
    try:
        metric(point)
    except TrackingError:
        metric(point, f"metrics[{index}]")


def check_key(key: str, path: str) -> None:
    """Refuse what can't be the key of a metric, a param or a tag."""
    if sentence := _key_fault(key):
        raise missing(path) if not key else _invalid(path, key, sentence)


def check_path(name: str, path: str) -> None:
    """Refuse a name that would be another one as a path."""
    if sentence := _path_fault(name):
        raise _invalid(path, name, sentence)


@lru_cache(maxsize=4096)
def _key_fault(key: str) -> str:
    """What is wrong with a key, or nothing; the same few come again and again."""
    if _KEY.fullmatch(key) is None:
        return (
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ),"
            " colon(:) and slashes (/)."
        )
    return _path_fault(key)


def _path_fault(name: str) -> str:
    """What is wrong with a name as a path, or nothing."""
    normal = posixpath.normpath(name)
    if normal != name or normal == "." or normal.startswith(("..", "/")):
        return (
            "Names may be treated as files in certain cases, and must not resolve to other names when treated"
            f" as such. This name would resolve to {normal!r}"
        )
    return ""


def check_length(what: str, limit: int, text: str) -> None:
    """Refuse what has more characters than the limit."""
    if len(text) > limit:
        raise TrackingError(Kind.INVALID, f"'{what}' exceeds the maximum length of {limit} characters")


def _fitting(what: str, limit: int, text: str, *, truncate: bool) -> str:
    if truncate and len(text) > limit:
        return text[:limit]
    check_length(what, limit, text)
    return text


def _dotted(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def _invalid(path: str, value: object, sentence: str = "") -> TrackingError:
    shown = json.dumps(value, ensure_ascii=False)
    reason = f": {sentence}" if sentence else "."
    return TrackingError(Kind.INVALID, f"Invalid value {shown} for parameter '{path}' supplied{reason}")
