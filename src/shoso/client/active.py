"""The experiment and the run that this process, and this thread, logs to when it doesn't say.

The experiment is the process's; runs are the thread's, innermost last, and a forked child begins with none.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from shoso.client import context
from shoso.client.entities import Experiment, Run
from shoso.client.tracking import Client
from shoso.errors import Kind, ShosoError, TrackingError

EXPERIMENT_ID = "MLFLOW_EXPERIMENT_ID"
EXPERIMENT_NAME = "MLFLOW_EXPERIMENT_NAME"
RUN_ID = "MLFLOW_RUN_ID"

DEFAULT_EXPERIMENT = "0"

_log = logging.getLogger("shoso")


# -- the experiment ---------------------------------------------------------------------------------------

_experiment_id: str | None = None


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> Experiment:
    """Log to this experiment from the next run on; one that isn't there yet is created by name.

    Children of this process log to it too. Raises TrackingError.
    """
    global _experiment_id  # noqa: PLW0603  one for the process is the point
    if (experiment_name is None) == (experiment_id is None):
        raise _invalid("Give either experiment_name or experiment_id.")
    client = Client()
    found = (
        _named(client, experiment_name)
        if experiment_name is not None
        else client.get_experiment(str(experiment_id))
    )
    if found.lifecycle_stage != "active":
        raise _invalid(f"The experiment '{found.name}' is deleted. Restore it, or choose another one.")
    _experiment_id = os.environ[EXPERIMENT_ID] = found.experiment_id
    return found


def _named(client: Client, name: str) -> Experiment:
    """The experiment of that name, created if need be, whoever does so first."""
    if (found := client.get_experiment_by_name(name)) is not None:
        return found
    try:
        return client.get_experiment(client.create_experiment(name))
    except ShosoError as error:
        if error.kind is Kind.DUPLICATE and (found := client.get_experiment_by_name(name)) is not None:
            return found
        raise


def current_experiment() -> str:
    """Where a new run goes: as set here, by MLFLOW_EXPERIMENT_NAME, by MLFLOW_EXPERIMENT_ID, or experiment 0.

    Raises TrackingError where the variables name none, or two.
    """
    if _experiment_id is not None:
        return _experiment_id
    name, given = os.environ.get(EXPERIMENT_NAME), os.environ.get(EXPERIMENT_ID)
    if name:
        return _agreed(_named(Client(), name), given)
    return _there(given) if given else DEFAULT_EXPERIMENT


def _agreed(experiment: Experiment, given: str | None) -> str:
    if given and given != experiment.experiment_id:
        raise _invalid(
            f"{EXPERIMENT_ID} is {given}, but the experiment '{experiment.name}' that {EXPERIMENT_NAME} names"
            f" is {experiment.experiment_id}. Unset one of them."
        )
    return experiment.experiment_id


def _there(given: str) -> str:
    try:
        return Client().get_experiment(given).experiment_id
    except TrackingError as error:
        if error.kind not in {Kind.NOT_FOUND, Kind.INVALID}:
            raise
        raise _invalid(f"{EXPERIMENT_ID} is {given}, which the server doesn't know: {error}") from error


# -- the runs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActiveRun(Run):
    """A run that is being logged to; leaving its `with` block ends it.

    It is then FINISHED, or FAILED by an exception, or KILLED by Ctrl-C.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.info.run_id not in _ids():
            return  # ended already
        if kind is None:
            _end(self.info.run_id, "FINISHED")
            return
        try:
            _end(self.info.run_id, "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")
        except ShosoError as failure:  # the caller's own exception is what matters
            _log.warning("Run %s could not be ended: %s", self.info.run_id, failure)


class _Entry(NamedTuple):
    """A run with the server that it's at, also when another one has been chosen since."""

    run: ActiveRun
    client: Client


class _Runs(threading.local):
    """The runs of a thread."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """With none."""
        self.entries: list[_Entry] = []
        self.last: _Entry | None = None
        self.process = os.getpid()


_runs = _Runs()


def _stack() -> list[_Entry]:
    if _runs.process != os.getpid():
        _runs.begin()  # a child's runs are its own
    return _runs.entries


def _ids() -> list[str]:
    return [entry.run.info.run_id for entry in _stack()]


def start_run(
    run_id: str | None = None,
    experiment_id: str | int | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
) -> ActiveRun:
    """Make a run the active one: a new one, or with `run_id` (or MLFLOW_RUN_ID) one that goes on.

    Use it in a `with` statement, or end it with `end_run`. Inside another run, `nested` must be true.
    Raises TrackingError.
    """
    if (active := active_run()) is not None and not nested:
        raise _invalid(
            f"Run {active.info.run_id} is active. End it with shoso.end_run(), or start a run inside it with"
            " nested=True."
        )
    if log_system_metrics:
        _log.warning("Shoso logs no system metrics; log_system_metrics is ignored.")
    client = Client()
    given = _with_note(tags, description)
    if again := run_id or os.environ.pop(RUN_ID, None):
        run = _resume(client, again, run_name, given)
    else:
        run = _create(client, experiment_id, run_name, _parent(client, parent_run_id), given)
    entry = _Entry(ActiveRun(run.info, run.data, run.inputs), client)
    _stack().append(entry)
    return entry.run


def _with_note(tags: Mapping[str, Any] | None, description: str | None) -> dict[str, Any]:
    given = dict(tags or {})
    if description:
        if context.NOTE in given:
            raise _invalid(f"Give the description, or the tag {context.NOTE}, but not both.")
        given[context.NOTE] = description
    return given


def _resume(client: Client, run_id: str, run_name: str | None, tags: Mapping[str, Any]) -> Run:
    there = client.get_run(run_id)
    if _experiment_id not in {None, there.info.experiment_id}:
        own = there.info.experiment_id
        raise _invalid(f"Run {run_id} is of experiment {own}, but experiment {_experiment_id} is set.")
    _require_active(there)
    client.update_run(run_id, "RUNNING", run_name)
    client.set_tags(run_id, tags)
    return client.get_run(run_id)


def _create(
    client: Client,
    experiment: str | int | None,
    name: str | None,
    parent: str | None,
    tags: Mapping[str, Any],
) -> Run:
    named = {context.RUN_NAME: name} if name else {}
    nested = {context.PARENT_RUN_ID: parent} if parent else {}
    all_tags = {**context.tags(client.username), **tags, **nested, **named}
    return client.create_run(
        current_experiment() if experiment is None else str(experiment), tags=all_tags, run_name=name
    )


def _parent(client: Client, parent_run_id: str | None) -> str | None:
    """The run that a new one is nested in: the active one, else the one that is named."""
    active = active_run()
    if parent_run_id is None:
        return active.info.run_id if active else None
    if active is not None and active.info.run_id != parent_run_id:
        raise _invalid(f"Run {active.info.run_id} is active, not the parent {parent_run_id}: end it first.")
    _require_active(client.get_run(parent_run_id))
    return parent_run_id


def _require_active(run: Run) -> None:
    if run.info.lifecycle_stage == "deleted":
        raise _invalid(f"Run {run.info.run_id} is deleted. Restore it first.")


def end_run(status: str = "FINISHED") -> None:
    """End the active run, if there is one."""
    if _stack():
        _end(_ids()[-1], status)


def _end(run_id: str, status: str) -> None:
    """End that run, and first those in it."""
    os.environ.pop(RUN_ID, None)
    while run_id in _ids():
        entry = _runs.last = _stack().pop()
        entry.client.set_terminated(entry.run.info.run_id, status)


def active_run() -> ActiveRun | None:
    """The innermost run of this thread."""
    return _stack()[-1].run if _stack() else None


def last_active_run() -> Run | None:
    """The active run, else the last one that this thread ended, as the server has it now."""
    if (run := active_run()) is not None:
        return run
    last = _runs.last
    return last.client.get_run(last.run.info.run_id) if last else None


def target(run_id: str | None = None) -> tuple[Client, str]:
    """Where to log: the run that is named, else the active one, else a new one."""
    if run_id is not None:
        return Client(), run_id
    if not _stack():
        start_run()
    entry = _stack()[-1]
    return entry.client, entry.run.info.run_id


def _invalid(message: str) -> TrackingError:
    return TrackingError(Kind.INVALID, message)


def _end_all() -> None:
    """At the end of the process, whose runs would be RUNNING for ever."""
    with suppress(Exception):
        while _stack():
            end_run()


atexit.register(_end_all)
