"""What a run read, as the server takes it: the caller's datasets and logged models → `runs/log-inputs`.

A dataset is whatever has MLflow's interface, e.g. from `mlflow.data.from_pandas`; nothing of MLflow's is
imported for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from shoso.client import batches
from shoso.client.batches import Pair
from shoso.errors import Kind, TrackingError
from shoso.wire.entities import Dataset, DatasetInput, ModelInput, Tag
from shoso.wire.requests import LogInputs

CONTEXT = "mlflow.data.context"
"""The tag that says what the run read the dataset for, e.g. training."""

_REQUIRED = ("name", "digest", "source_type", "source")
_OPTIONAL = ("schema", "profile")


class ReadDataset(Protocol):
    """A dataset with the tags of its use, as a caller gives it: ours, or MLflow's."""

    @property
    def dataset(self) -> Any: ...
    @property
    def tags(self) -> Sequence[Pair]: ...


class ReadModel(Protocol):
    """A logged model that a run read, as a caller gives it: ours, or MLflow's."""

    @property
    def model_id(self) -> str: ...


def dataset(given: Any) -> Dataset:
    """A dataset as it travels: from its `to_dict()`, or its fields. Raises TrackingError(INVALID)."""
    facts = given.to_dict() if callable(getattr(given, "to_dict", None)) else None
    known = facts if isinstance(facts, Mapping) else _fields(given)
    for name in _REQUIRED:
        if known.get(name) is None:
            raise _refusal(
                f"A dataset is one of mlflow.data's, or has a to_dict() with {', '.join(_REQUIRED)}; this"
                f" {type(given).__name__} has no {name}."
            )
    texts = {
        name: batches.text(f"{name} of a dataset", known[name])
        for name in (*_REQUIRED, *_OPTIONAL)
        if known.get(name) is not None
    }
    return Dataset(**texts)


def _fields(given: Any) -> dict[str, Any]:
    return {name: getattr(given, name, None) for name in (*_REQUIRED, *_OPTIONAL)}


def read(
    given: Any | None, context: str | None = None, tags: Mapping[str, Any] | None = None
) -> DatasetInput | None:
    """The use of a dataset as it travels; None for no dataset. Raises TrackingError(INVALID)."""
    if given is None:
        if context or tags:
            raise _refusal("A context, or tags, are of a dataset: give it too.")
        return None
    used = [Tag(CONTEXT, batches.text("context of a dataset", context))] if context else []
    return DatasetInput(dataset(given), [*batches.tags(tags or {}), *used])


def each_read(
    datasets: Sequence[Any | None] | None,
    contexts: Sequence[str | None] | None,
    tags: Sequence[Mapping[str, Any] | None] | None,
) -> list[DatasetInput]:
    """The same of lists that belong together; an entry may be None. Raises TrackingError(INVALID)."""
    lists = datasets or (), contexts or (), tags or ()
    if len(set(map(len, lists))) > 1:
        raise _refusal("datasets, contexts and tags_list must be of one length; fill them up with None.")
    return [one for one in (read(*each) for each in zip(*lists, strict=True)) if one is not None]


def call(
    run_id: str, datasets: Iterable[ReadDataset] | None, models: Iterable[ReadModel | None] | None
) -> LogInputs:
    """The body of the call. Raises TrackingError(INVALID)."""
    uses = [DatasetInput(dataset(each.dataset), batches.tags(each.tags)) for each in datasets or ()]
    ids = [batches.text("id of a model", each.model_id) for each in models or () if each is not None]
    return LogInputs(run_id, uses, [ModelInput(each) for each in ids])


def _refusal(message: str) -> TrackingError:
    return TrackingError(Kind.INVALID, message)
