"""`shoso experiments`: MLflow's names and options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shoso.cli import named, options

if TYPE_CHECKING:
    from shoso.cli.session import Session
    from shoso.wire.entities import Experiment

F = TypeVar("F", bound=Callable[..., Any])


def _about_one(command: F) -> F:
    """The options of a command about one experiment, which it gets as `which`."""
    for option in (options.tracking_uri, options.as_json, options.experiment_name, options.experiment_id):
        command = option(command)
    return command


def _some(command: F) -> F:
    """The options of a command about one experiment, or those whose `ids` are its arguments."""
    return click.argument("ids", metavar="[ID]...", nargs=-1)(_about_one(command))


@click.group()
def experiments() -> None:
    """Make, find, rename, delete and restore experiments."""


@experiments.command()
@click.option("-n", "--experiment-name", metavar="NAME", required=True, help="A name that no other one has.")
@click.option(
    "-l",
    "--artifact-location",
    metavar="URI",
    default="",
    help="Where its runs keep their artifacts; by default where the server decides.",
)
@options.as_json
@options.tracking_uri
def create(experiment_name: str, artifact_location: str, as_json: bool, tracking_uri: str | None) -> None:
    """Make an experiment, and print its id."""
    from shoso.cli.session import session
    from shoso.cli.shapes import ExperimentId, show
    from shoso.wire.replies import ExperimentCreated
    from shoso.wire.requests import CreateExperiment

    request = CreateExperiment(experiment_name, artifact_location)
    with session(tracking_uri) as opened:
        made = opened.ask("POST", "experiments/create", ExperimentCreated, request)
    show(ExperimentId(made.experiment_id), made.experiment_id, as_json)


@experiments.command("list")
@options.view
@click.option("--filter", "wanted", metavar="TEXT", default="", help="""E.g. "name LIKE 'digits%'".""")
@options.max_results
@options.as_json
@options.tracking_uri
def list_(view: int, wanted: str, max_results: int | None, as_json: bool, tracking_uri: str | None) -> None:
    """List experiments."""
    from shoso.cli.session import session
    from shoso.cli.shapes import show
    from shoso.cli.words import table

    with session(tracking_uri) as opened:
        found = _found(opened, view, wanted, max_results)
    rows = [(each.experiment_id, each.name, each.lifecycle_stage, each.artifact_location) for each in found]
    show(found, table(("ID", "NAME", "STAGE", "ARTIFACT LOCATION"), rows), as_json)


@experiments.command()
@_about_one
def get(as_json: bool, tracking_uri: str | None, **which: str | None) -> None:
    """Show an experiment."""
    from shoso.cli.session import session
    from shoso.cli.shapes import show

    with session(tracking_uri) as opened:
        found = find(opened, **which)
    show(found, _described(found), as_json)


@experiments.command()
@_about_one
@click.option("--new-name", metavar="NAME", required=True, help="A name that no other one has.")
def rename(new_name: str, **which: Any) -> None:
    """Give an experiment another name."""
    from shoso.cli.words import printable
    from shoso.wire.requests import UpdateExperiment

    said = f"is called '{printable(new_name)}' now"
    _change("update", lambda found: UpdateExperiment(found, new_name), said, **which)


@experiments.command()
@_some
def delete(**asked: Any) -> None:
    """Delete experiments with their runs; `restore` brings them back, until `shoso gc` has taken them."""
    _change_stage("delete", "is deleted; `shoso experiments restore` brings it back", **asked)


@experiments.command()
@_some
def restore(**asked: Any) -> None:
    """Bring back deleted experiments with their runs, also those that were deleted before them."""
    _change_stage("restore", "is restored", **asked)


def find(opened: Session, experiment_id: str | None, experiment_name: str | None) -> Experiment:
    """The experiment that is named in one way or the other. Raises UsageError, TrackingError."""
    from shoso.wire.replies import ExperimentReply
    from shoso.wire.requests import ExperimentById, ExperimentByName

    if (experiment_id is None) == (experiment_name is None):
        raise click.UsageError("Name the experiment: either --experiment-id or --experiment-name.")
    if experiment_name is not None:
        path, request = "experiments/get-by-name", ExperimentByName(experiment_name)
        return opened.ask("GET", path, ExperimentReply, request).experiment
    return opened.ask(
        "GET", "experiments/get", ExperimentReply, ExperimentById(str(experiment_id))
    ).experiment


def _found(opened: Session, view: int, wanted: str, most: int | None) -> list[Experiment]:
    from shoso.wire.replies import ExperimentPage
    from shoso.wire.requests import SearchExperiments

    def page(limit: int, token: str) -> tuple[list[Experiment], str | None]:
        request = SearchExperiments(limit, token, wanted, [], view)
        reply = opened.ask("POST", "experiments/search", ExperimentPage, request)
        return [*reply.experiments], reply.next_page_token

    return opened.every(page, most)


def _change(
    call: str,
    request: Callable[[str], object],
    said: str,
    as_json: bool,
    tracking_uri: str | None,
    **which: str | None,
) -> None:
    """Make a call about one experiment, and say what it did."""
    from shoso.cli.session import session
    from shoso.cli.shapes import ExperimentId, show
    from shoso.wire.replies import Empty

    with session(tracking_uri) as opened:
        found = find(opened, **which).experiment_id
        opened.ask("POST", f"experiments/{call}", Empty, request(found))
    show(ExperimentId(found), f"Experiment {found} {said}.", as_json)


def _change_stage(
    call: str,
    said: str,
    ids: Sequence[str],
    as_json: bool,
    tracking_uri: str | None,
    **which: str | None,
) -> None:
    """Make a call about each of the experiments, and say what it did."""
    from shoso.cli.session import session
    from shoso.cli.shapes import ExperimentId
    from shoso.wire.replies import Empty
    from shoso.wire.requests import ExperimentById

    if ids and any(which.values()):
        raise click.UsageError("Name the experiments either by their ids, or one by its flag.")
    with session(tracking_uri) as opened:

        def change(number: str) -> str:
            opened.ask("POST", f"experiments/{call}", Empty, ExperimentById(number))
            return f"Experiment {number} {said}."

        wanted = dict.fromkeys(ids) if ids else [find(opened, **which).experiment_id]
        named.change_each([*wanted], change, ExperimentId, as_json)


def _described(found: Experiment) -> str:
    from shoso.cli.words import facts, moment

    tags = {f"tag {tag.key}": tag.value for tag in found.tags}
    known = {
        "id": found.experiment_id,
        "name": found.name,
        "stage": found.lifecycle_stage,
        "artifact location": found.artifact_location,
        "created": moment((found.creation_time or 0) / 1000),
        "changed": moment((found.last_update_time or 0) / 1000),
    }
    return facts(known | tags)
