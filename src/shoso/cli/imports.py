"""`shoso import`: what an MLflow file store holds."""

from __future__ import annotations

from pathlib import Path

import click

from shoso.cli import options

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(name="import")
@click.argument("source", type=FOLDER, metavar="MLRUNS")
@click.option(
    "--to", metavar="URI", required=True,
    help="A Shoso server, http://127.0.0.1:5000, or a database, sqlite:///mlflow.db.",
)  # fmt: skip
@click.option(
    "--artifacts", type=click.Choice(["stay", "copy"]), default="stay", show_default=True,
    help="Leave artifacts where they are recorded, or copy them to where the target keeps its own.",
)  # fmt: skip
@click.option(
    "--artifact-root", metavar="URI", default="",
    help="Where a database's experiments keep their artifacts, for those that are copied.",
)  # fmt: skip
@click.option(
    "--allow-artifact-root", type=FOLDER, metavar="FOLDER", multiple=True,
    help="A folder beside MLRUNS that artifacts may be copied from.",
)  # fmt: skip
@options.dry_run
@options.as_json
def import_store(
    source: Path,
    to: str,
    artifacts: str,
    artifact_root: str,
    allow_artifact_root: tuple[Path, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring in what an MLflow file store (MLRUNS, "./mlruns") holds.

    Experiments, runs with all points of their metrics, logged models and the model registry keep their ids,
    times and stages. An experiment whose name is there already takes the runs; one whose id is somebody
    else's gets a new one. What is there stays, and gets what it lacks: the same command goes on after an
    interruption.

    What can't be read is named at the end, and the exit code is 1; everything else is brought.
    """
    from shoso.cli.imported import Asked, brought, in_words
    from shoso.cli.shapes import show

    asked = Asked(source, to, artifacts == "copy", artifact_root, allow_artifact_root, dry_run)
    done = brought(asked)
    show(done, in_words(done), as_json)
    if done.failed:
        raise SystemExit(1)
