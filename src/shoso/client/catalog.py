"""Experiments and runs that are there, by the names of MLflow's functions: found, changed, deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from shoso.client import tables
from shoso.client.active import current_experiment
from shoso.client.entities import Experiment, PagedList, Run, ViewType
from shoso.client.tracking import Client
from shoso.errors import Kind, TrackingError

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")

RUNS = 100_000
"""Runs that a search gives at most, unless it says otherwise."""

PAGE = 10_000

_log = logging.getLogger("shoso")


def create_experiment(
    name: str, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None
) -> str:
    """The id of a new experiment; its artifacts go where the server decides, unless said."""
    return Client().create_experiment(name, artifact_location, tags)


def get_experiment(experiment_id: str) -> Experiment:
    """The experiment of that id."""
    return Client().get_experiment(experiment_id)


def get_experiment_by_name(name: str) -> Experiment | None:
    """The experiment of that name, deleted ones too; None where there is none."""
    return Client().get_experiment_by_name(name)


def search_experiments(
    view_type: int = ViewType.ACTIVE_ONLY,
    max_results: int | None = None,
    filter_string: str | None = None,
    order_by: Sequence[str] | None = None,
) -> list[Experiment]:
    """The experiments that a filter finds, e.g. `"name LIKE 'digits%'"`: all of them, or `max_results`."""
    client = Client()
    return _all_of(
        lambda number, token: client.search_experiments(view_type, number, filter_string, order_by, token),
        max_results,
        page=1000,
    )


def delete_experiment(experiment_id: str) -> None:
    """Delete the experiment and its runs; `restore_experiment` brings them back."""
    Client().delete_experiment(experiment_id)


def restore_experiment(experiment_id: str) -> None:
    """Bring back a deleted experiment with its runs."""
    Client().restore_experiment(experiment_id)


def set_experiment_tag(key: str, value: Any) -> None:
    """Set a tag of the experiment that this process logs to; the value becomes text."""
    Client().set_experiment_tag(current_experiment(), key, value)


def set_experiment_tags(tags: Mapping[str, Any]) -> None:
    """Set tags of the experiment that this process logs to."""
    for key, value in tags.items():
        set_experiment_tag(key, value)


def delete_experiment_tag(key: str) -> None:
    """Remove a tag of the experiment that this process logs to."""
    Client().delete_experiment_tag(current_experiment(), key)


# -- runs -------------------------------------------------------------------------------------------------


def get_run(run_id: str) -> Run:
    """The run of that id."""
    return Client().get_run(run_id)


def get_parent_run(run_id: str) -> Run | None:
    """The run that this one is nested in, if any."""
    return Client().get_parent_run(run_id)


def delete_run(run_id: str) -> None:
    """Delete the run; `restore_run` brings it back."""
    Client().delete_run(run_id)


def restore_run(run_id: str) -> None:
    """Bring back a deleted run."""
    Client().restore_run(run_id)


@overload
def search_runs(
    experiment_ids: Sequence[str] | None = ...,
    filter_string: str = ...,
    run_view_type: int = ...,
    max_results: int = ...,
    order_by: Sequence[str] | None = ...,
    output_format: Literal["pandas"] = ...,
    search_all_experiments: bool = ...,
    experiment_names: Sequence[str] | None = ...,
) -> DataFrame: ...
@overload
def search_runs(
    experiment_ids: Sequence[str] | None = ...,
    filter_string: str = ...,
    run_view_type: int = ...,
    max_results: int = ...,
    order_by: Sequence[str] | None = ...,
    *,
    output_format: Literal["list"],
    search_all_experiments: bool = ...,
    experiment_names: Sequence[str] | None = ...,
) -> list[Run]: ...
def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: int = ViewType.ACTIVE_ONLY,
    max_results: int = RUNS,
    order_by: Sequence[str] | None = None,
    output_format: Literal["pandas", "list"] = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> list[Run] | DataFrame:
    """The runs that a filter finds, e.g. `"metrics.loss < 0.1 and params.lr = '0.01'"`.

    In the experiments that are named, by id or by name, or in all, or in the one this process logs to. As a
    DataFrame, which needs pandas, or with `output_format="list"` as a list.
    """
    if output_format not in {"pandas", "list"}:
        raise ValueError(f"output_format is 'pandas' or 'list', not {output_format!r}.")
    if output_format == "pandas":
        tables.pandas('search_runs(output_format="list") does without it, else ')
    client = Client()
    ids = _experiments(client, experiment_ids, experiment_names, everywhere=search_all_experiments)
    runs = _all_of(
        lambda number, token: client.search_runs(ids, filter_string, run_view_type, number, order_by, token),
        max_results if ids else 0,
        page=PAGE,
    )
    return runs if output_format == "list" else tables.of_runs(runs)


def _experiments(
    client: Client, ids: Sequence[str] | None, names: Sequence[str] | None, *, everywhere: bool
) -> Sequence[str]:
    if ids and names:
        raise TrackingError(Kind.INVALID, "Give either experiment_ids or experiment_names.")
    if ids:
        return ids
    if names:
        return [found.experiment_id for name in names if (found := _named(client, name)) is not None]
    if everywhere:
        return [experiment.experiment_id for experiment in search_experiments()]
    return [current_experiment()]


def _named(client: Client, name: str) -> Experiment | None:
    found = client.get_experiment_by_name(name)
    if found is None:
        _log.warning("There is no experiment '%s' to search in.", name)
    return found


def _all_of(ask: Callable[[int, str | None], PagedList[T]], most: int | None, *, page: int) -> list[T]:
    """The items of every page, or as many as are wanted."""
    found: list[T] = []
    token = None
    while most is None or len(found) < most:
        got = ask(page if most is None else min(page, most - len(found)), token)
        found += got
        if (token := got.token) is None:
            break
    return found
