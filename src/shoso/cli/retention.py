"""`shoso retention`: policies say which runs stay; the others are marked deleted, by a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shoso.cli import options
from shoso.cli.groups import Lazy

retention = Lazy(
    "retention",
    {name: f"shoso.cli.retention:{name}" for name in ("preview", "plan", "apply", "undo")},
    help="""Mark the runs deleted that no policy keeps.

    A policy is a table of a TOML file. What is marked, `shoso gc` lets go for good; before that, `undo`
    brings it back.""",
)

_policy = click.argument("policy", type=click.Path(dir_okay=False, path_type=Path))


@click.command()
@_policy
@options.as_json
@options.estate
def preview(policy: Path, as_json: bool, **asked: Any) -> None:
    """Show what would go: each run and its logged models, why, and how much."""
    from shoso.cli.retired import looked, previewed
    from shoso.cli.shapes import show

    done, table = previewed(policy, asked, whole=as_json)
    show(done, looked(done, table), as_json)
    if done.failed:
        raise SystemExit(1)


@click.command()
@_policy
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where to; by default retention-….jsonl in this folder.",
)  # fmt: skip
@options.as_json
@options.estate
def plan(policy: Path, output: Path | None, as_json: bool, **asked: Any) -> None:
    """Write down what would go: a line of JSON for each; lines that are taken out of it stay.

    Nothing is touched. The plan holds the policies, which are asked again when it is applied.
    """
    from shoso.cli.retired import looked, planned
    from shoso.cli.shapes import show

    done, table = planned(policy, output, asked)
    show(done, looked(done, table), as_json)
    if done.failed:
        raise SystemExit(1)


@click.command()
@click.argument("plan", type=click.Path(dir_okay=False, path_type=Path))
@options.as_json
@options.estate
def apply(plan: Path, as_json: bool, **asked: Any) -> None:
    """Mark deleted what a plan has; what its policies keep by now stays, and is named.

    No artifact is touched: `shoso gc` deletes them later. Run again, it goes on where it stopped.
    """
    from shoso.cli.retired import applied, in_words
    from shoso.cli.shapes import show

    done = applied(plan, asked)
    show(done, in_words(done, plan), as_json)
    if done.stayed:
        raise SystemExit(1)


@click.command()
@click.argument("plan", type=click.Path(dir_okay=False, path_type=Path))
@options.as_json
@options.estate
def undo(plan: Path, as_json: bool, **asked: Any) -> None:
    """Restore what a plan has marked deleted, as long as `shoso gc` hasn't begun with it."""
    from shoso.cli.retired import back_in_words, undone
    from shoso.cli.shapes import show

    done = undone(plan, asked)
    show(done, back_in_words(done), as_json)
    if done.stayed:
        raise SystemExit(1)
