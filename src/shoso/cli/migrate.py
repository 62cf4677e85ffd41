"""`shoso migrate`: artifacts are moved to another storage while runs go on writing."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from shoso.cli import options
from shoso.cli.groups import require_none_before

_SHARD = re.compile(r"([1-9][0-9]{0,4})/([1-9][0-9]{0,4})")

experiment = click.option(
    "-x", "--experiment", "experiments", metavar="NAME_OR_ID", multiple=True,
    help="This experiment only; as often as one likes.",
)  # fmt: skip
running = click.option("--running", is_flag=True, help="Don't wait for runs that began before it.")
yes = click.option("-y", "--yes", is_flag=True, help="Don't ask, on a terminal.")


def _shard(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int]:
    if value is None:
        return 1, 1
    found = _SHARD.fullmatch(value)
    if found is None or int(found[1]) > int(found[2]):
        raise click.BadParameter("say which one of how many, e.g. 1/4.")
    return int(found[1]), int(found[2])


@click.group(invoke_without_command=True)
@click.option("--from", "source", metavar="URI", help="Where artifacts are recorded to be, or a part of it.")
@click.option("--to", "target", metavar="URI", help="Where they go: the same paths below this.")
@experiment
@click.option(
    "--shard", metavar="I/N", callback=_shard,
    help="Copy the I-th of N parts; whoever ends the last one of an experiment moves it.",
)  # fmt: skip
@options.estate
@options.dry_run
@options.as_json
@click.pass_context
def migrate(
    context: click.Context,
    /,
    source: str | None,
    target: str | None,
    experiments: tuple[str, ...],
    shard: tuple[int, int],
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Move artifacts to another storage, while runs go on writing.

    Every run, logged model and experiment that is recorded at or below --from (a path, a storage's URI,
    mlflow-artifacts:/…) is copied to the same path below --to and compared by digest; then its rows, and
    those of registered versions, are rewritten, an experiment at a time. What is at the old place stays
    until `finish`; until then, `rollback` goes back. The same command goes on after an interruption.
    """
    if context.invoked_subcommand is not None:
        require_none_before(context)
        return
    if source is None or target is None:
        raise click.UsageError("Say --from and --to, or one of the commands: status, finish, rollback.")
    from shoso.cli.migrated import migrated

    migrated(source, target, experiments, shard, flags, dry_run=dry_run, as_json=as_json)


@migrate.command()
@options.estate
@options.as_json
def status(as_json: bool, **flags: Any) -> None:
    """Say which experiments are being moved, and how far they are."""
    from shoso.cli.migrated import told

    told(flags, as_json=as_json)


@migrate.command()
@experiment
@running
@yes
@options.estate
@options.dry_run
@options.as_json
def finish(
    experiments: tuple[str, ...], running: bool, yes: bool, dry_run: bool, as_json: bool, **flags: Any
) -> None:
    """Bring what was written to the old place since, compare once more, and delete it there.

    Only objects of the moved runs and models are deleted, each of which is at the new place. Runs that began
    before the move go on writing to the old place until they end: nobody would find that any more.
    """
    from shoso.cli.migrated import finished

    _ask(yes or dry_run, "The old copies of what was moved are deleted. Go on?")
    finished(experiments, flags, running=running, dry_run=dry_run, as_json=as_json)


@migrate.command()
@experiment
@click.option("--delete-copies", is_flag=True, help="Delete the copies at the new place, then.")
@running
@yes
@options.estate
@options.dry_run
@options.as_json
def rollback(
    experiments: tuple[str, ...],
    delete_copies: bool,
    running: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Go back to the old place, with all that was written to the new one since.

    The copies at the new place stay, unless --delete-copies. Where runs are under way that may write to the
    new place still, give the command again when they have ended: what they wrote is brought then.
    """
    from shoso.cli.migrated import rolled_back

    _ask(yes or dry_run, "What was moved is recorded at its old place again. Go on?")
    rolled_back(experiments, flags, delete=delete_copies, running=running, dry_run=dry_run, as_json=as_json)


def _ask(sure: bool, question: str) -> None:
    if sys.stdin and sys.stdin.isatty() and not sure and not click.confirm(question, err=True):
        raise click.ClickException("Nothing was done.")
