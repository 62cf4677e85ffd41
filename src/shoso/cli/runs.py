"""`shoso runs`: MLflow's names and options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from shoso.cli import named, options

if TYPE_CHECKING:
    from shoso.cli.session import Session
    from shoso.wire.entities import Run

FLAGS = ("-r", "--run-id")


@click.group()
def runs() -> None:
    """Find, describe, delete and restore runs."""


@runs.command("list")
@options.listing("'metrics.loss < 0.1'")
def list_(
    view: int,
    wanted: str,
    max_results: int | None,
    as_json: bool,
    tracking_uri: str | None,
    **which: str | None,
) -> None:
    """List the runs of an experiment, the newest first.

    Without an experiment it is that of MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME.
    """
    from shoso.cli.session import session
    from shoso.cli.shapes import show
    from shoso.cli.words import table

    with session(tracking_uri) as opened:
        found = _found(opened, experiment(opened, **which), view, wanted, max_results)
    show(found, table(("ID", "NAME", "STATUS", "STARTED"), [*map(_row, found)]), as_json)


@runs.command()
@named.one("run", *FLAGS)
@options.as_json
@options.tracking_uri
def describe(run_id: str, as_json: bool, tracking_uri: str | None) -> None:
    """Show a run: what it is, its params, latest metrics and tags."""
    from shoso.cli.session import session
    from shoso.cli.shapes import show
    from shoso.wire.replies import RunReply
    from shoso.wire.requests import GetRun

    with session(tracking_uri) as opened:
        found = opened.ask("GET", "runs/get", RunReply, GetRun(run_id=run_id)).run
    show(found, _described(found), as_json)


@runs.command()
@named.several("run", *FLAGS)
@options.as_json
@options.tracking_uri
def delete(**asked: Any) -> None:
    """Delete runs; `restore` brings them back, until `shoso gc` has taken them."""
    _change("delete", "is deleted; `shoso runs restore` brings it back", **asked)


@runs.command()
@named.several("run", *FLAGS)
@options.as_json
@options.tracking_uri
def restore(**asked: Any) -> None:
    """Bring back deleted runs, with their artifacts."""
    _change("restore", "is restored", **asked)


def experiment(opened: Session, experiment_id: str | None, experiment_name: str | None) -> str:
    """The id of the experiment that is named, here or by a variable. Raises UsageError, TrackingError."""
    from shoso.cli.experiments import find

    if experiment_id is None and experiment_name is None:
        given = opened.settings.environment
        experiment_id = given.get("MLFLOW_EXPERIMENT_ID") or None
        experiment_name = None if experiment_id else given.get("MLFLOW_EXPERIMENT_NAME") or None
    return find(opened, experiment_id, experiment_name).experiment_id


def _found(opened: Session, of: str, view: int, wanted: str, most: int | None) -> list[Run]:
    from shoso.wire.replies import RunPage
    from shoso.wire.requests import SearchRuns

    def page(limit: int, token: str) -> tuple[list[Run], str | None]:
        request = SearchRuns([of], wanted, view, limit, [], token)
        reply = opened.ask("POST", "runs/search", RunPage, request)
        return [*reply.runs], reply.next_page_token

    return opened.every(page, most)


def _change(call: str, said: str, ids: Sequence[str], as_json: bool, tracking_uri: str | None) -> None:
    """Make a call about each of the runs, and say what it did."""
    from shoso.cli.session import session
    from shoso.cli.shapes import RunId
    from shoso.wire.replies import Empty
    from shoso.wire.requests import RunById

    with session(tracking_uri) as opened:

        def change(run_id: str) -> str:
            opened.ask("POST", f"runs/{call}", Empty, RunById(run_id))
            return f"Run {run_id} {said}."

        named.change_each(ids, change, RunId, as_json)


def _row(run: Run) -> tuple[str, str, str, str]:
    from shoso.cli.words import moment

    return run.info.run_id, run.info.run_name or "", run.info.status, moment(run.info.start_time / 1000)


def _described(run: Run) -> str:
    from shoso.cli.words import facts, moment

    info, data = run.info, run.data
    known = {
        "id": info.run_id,
        "name": info.run_name or "",
        "experiment": info.experiment_id,
        "status": info.status,
        "stage": info.lifecycle_stage,
        "started": moment(info.start_time / 1000),
        "ended": moment(info.end_time / 1000) if info.end_time else "",
        "artifacts": info.artifact_uri,
    }
    params = {f"param {param.key}": param.value for param in data.params}
    metrics = {f"metric {metric.key}": f"{metric.value} (step {metric.step})" for metric in data.metrics}
    tags = {f"tag {tag.key}": tag.value for tag in data.tags}
    return facts(known | params | metrics | tags)
