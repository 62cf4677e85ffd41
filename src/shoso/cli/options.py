"""The options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
tracking_uri = click.option(
    "--tracking-uri",
    metavar="URI",
    help="The address of the tracking server, e.g. http://127.0.0.1:5000.  [MLFLOW_TRACKING_URI]",
)
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
force = click.option("--force", is_flag=True, help="Send everything, also what is there already.")
recursive = click.option("-r", "--recursive", is_flag=True, help="A folder, with everything in it.")
max_results = click.option("--max-results", type=click.IntRange(1), help="So many at most; by default all.")

experiment_id = click.option("-x", "--experiment-id", metavar="ID", help="The experiment, by its id.")
experiment_name = click.option("-n", "--experiment-name", metavar="NAME", help="The experiment, by its name.")

_VIEWS = {"active_only": 1, "deleted_only": 2, "all": 3}
"""MLflow's ViewType."""


def _view(context: click.Context, option: click.Parameter, value: str) -> int:
    return _VIEWS[value]


view = click.option(
    "-v",
    "--view",
    type=click.Choice([*_VIEWS]),
    default="active_only",
    callback=_view,
    show_default=True,
    help="Which ones, by whether they are deleted.",
)


def listing(example: str) -> Callable[[F], F]:
    """What every command has that lists what is in an experiment."""
    wanted = click.option("--filter", "wanted", metavar="TEXT", default="", help=f"E.g. {example}.")

    def add(command: F) -> F:
        for option in (tracking_uri, as_json, max_results, wanted, view, experiment_name, experiment_id):
            command = option(command)
        return command

    return add


def globs(command: F) -> F:
    """`--include` and `--exclude`, as often as one likes."""
    for name, what in (("--exclude", "Leave out"), ("--include", "Take only")):
        command = click.option(
            name, metavar="GLOB", multiple=True, help=f"{what} what matches, e.g. '*.bin' or 'logs/**'."
        )(command)
    return command


ESTATE = ("backend_store_uri", "artifacts_destination", "default_artifact_root", "allow_artifact_root")


def estate(command: F) -> F:
    """The server's own flags that say where its database and its artifacts are; see maintenance.estate."""
    from shoso.settings import SERVER

    command = tracking_uri(command)
    for setting in reversed([setting for setting in SERVER if setting.field in ESTATE]):
        shown = f"{setting.help}  [{setting.variable}]"
        command = click.option(setting.flag, setting.field, metavar="URI", help=shown)(command)
    return command


def transfer(command: F) -> F:
    """What every command has that copies."""
    for option in (tracking_uri, as_json, dry_run):
        command = option(command)
    return globs(command)
