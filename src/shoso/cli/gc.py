"""`shoso gc`: what is deleted goes for good, by a plan; with MLflow's flags, both in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shoso.cli import options
from shoso.cli.groups import Lazy, loading, refuse_unserved, require_none_before
from shoso.core.amounts import age

NOT_SERVED = {
    "--jobs": "Shoso runs no jobs",
    "--job-ids": "Shoso runs no jobs",
    "--workspace": "Shoso has no workspaces",
    "--all-workspaces": "Shoso has no workspaces",
}
"""MLflow's flags of `gc` that a job may bring along, and what to say of them."""


class Age(click.ParamType[float]):
    """MLflow's way to say how long: 30d, 1d12h, 0.5h, 90s. In seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds. Raises BadParameter."""
        if isinstance(value, float):
            return value
        if (seconds := age(str(value))) is None:
            self.fail(f"'{value}' is no age; write it like 30d, 1d12h or 90s.", param, ctx)
        return seconds


class _Ids(click.ParamType[tuple[str, ...]]):
    """Ids, with commas between them."""

    name = "ids"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Each once. Raises BadParameter for none: what was asked for isn't all that is deleted."""
        if isinstance(value, tuple):
            return value
        ids = tuple(dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip()))
        if not ids:
            self.fail("no id is named; leave the option out for all that is deleted.", param, ctx)
        return ids


class _Group(Lazy):
    """Says more of the flags that are MLflow's alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        refuse_unserved(ctx, args, NOT_SERVED, "Leave it out.")
        return super().parse_args(ctx, args)


def what(command: Any) -> Any:
    """The options that say what goes."""
    for option in reversed(_WHAT):
        command = option(command)
    return command


_WHAT = (
    click.option(
        "--older-than", type=Age(), default=0.0, metavar="AGE", show_default="any age",
        help="Only what was deleted so long ago, e.g. 30d or 1d12h.",
    ),
    click.option(
        "--run-ids", type=_Ids(), default=(), metavar="IDS",
        help="These runs alone, with commas between their ids.",
    ),
    click.option(
        "--experiment-ids", type=_Ids(), default=(), metavar="IDS",
        help="These experiments alone, with all that is in them.",
    ),
    click.option(
        "--logged-model-ids", "model_ids", type=_Ids(), default=(), metavar="IDS",
        help="These logged models alone.",
    ),
    click.option(
        "--registered", is_flag=True,
        help="Also runs and models that versions of registered models are made from.",
    ),
    click.option(
        "--imported", is_flag=True,
        help="Also what was imported while its artifacts stayed where another store has them.",
    ),
    click.option(
        "--orphans", is_flag=True,
        help="Also objects that nothing refers to, and uploads that nobody goes on with, for a day at least.",
    ),
)  # fmt: skip

trash = click.option(
    "--trash", type=Age(), metavar="AGE",
    help="Move artifacts aside for so long, e.g. 7d, and keep rows: `undo` brings both back until then.",
)  # fmt: skip
yes = click.option("-y", "--yes", is_flag=True, help="Don't ask, on a terminal.")


@click.group(
    cls=_Group,
    name="gc",
    places={
        "plan": "shoso.cli.gc:plan",
        "apply": "shoso.cli.gc:apply",
        "undo": "shoso.cli.gc:undo",
    },
    invoke_without_command=True,
)
@what
@trash
@yes
@options.as_json
@options.estate
@click.pass_context
def gc(ctx: click.Context, /, yes: bool, trash: float | None, as_json: bool, **asked: Any) -> None:
    """Delete for good what is marked deleted: artifacts, then rows.

    `plan` writes down what would go, `apply` lets go what a plan has. Without either, both are done at once,
    as `mlflow gc` does it; on a terminal, you are asked in between.

    Without ids, it is all runs, logged models and experiments that are deleted; with ids, these alone.
    """
    if ctx.invoked_subcommand is not None:
        require_none_before(ctx)
        return
    with loading():
        from shoso.cli.collected import collected, in_words
        from shoso.cli.shapes import show

    done = collected(asked, trash, ask=not yes)
    show(done, in_words(done), as_json)
    if done.stayed:
        raise SystemExit(1)


@click.command()
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where to; by default gc-….jsonl in this folder.",
)  # fmt: skip
@what
@options.as_json
@options.estate
def plan(output: Path | None, as_json: bool, **asked: Any) -> None:
    """Write down what would go: each run, model and experiment, where it is, how much and why.

    Nothing is touched. The plan is a file of JSON lines; lines that are taken out of it stay.
    """
    from shoso.cli.collected import looked, planned
    from shoso.cli.shapes import show

    done = planned(asked, output)
    show(done, looked(done), as_json)
    if done.failed:
        raise SystemExit(1)


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@trash
@options.as_json
@options.estate
def apply(plan: Path, trash: float | None, as_json: bool, **asked: Any) -> None:
    """Delete what a plan has; what has changed since is refused by name.

    Artifacts go first, then rows. What fails is named and the rest goes on; run the same command again for
    what is left, also after an interruption.
    """
    from shoso.cli.collected import applied, in_words
    from shoso.cli.shapes import show

    done = applied(plan, asked, trash)
    show(done, in_words(done), as_json)
    if done.stayed:
        raise SystemExit(1)


@click.command()
@click.argument("plan")
@click.option(
    "--missing-ok", is_flag=True,
    help="Bring back also that of which objects are missing in the trash, once you know that they are gone.",
)  # fmt: skip
@options.as_json
@options.estate
def undo(plan: str, missing_ok: bool, as_json: bool, **asked: Any) -> None:
    """Bring back what a plan, or the plan of that id, has moved to the trash.

    Runs, models and experiments stay marked deleted, with their artifacts where they were; restore them as
    any other. What was written there since is never replaced.
    """
    from shoso.cli.collected import back_in_words, undone
    from shoso.cli.shapes import show

    done = undone(plan, asked, missing_ok)
    show(done, back_in_words(done), as_json)
    if done.stayed:
        raise SystemExit(1)
