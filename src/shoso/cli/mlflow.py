"""`mlflow artifacts`' own commands and options, so that a script changes one word."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from shoso.cli import options
from shoso.cli.artifacts import copy, in_run, last_name, local

run_id = click.option("-r", "--run-id", metavar="ID", required=True, help="The run.")
artifact_path = click.option(
    "-a", "--artifact-path", metavar="PATH", help="The folder of the run that is meant."
)


@click.command()
@click.option("-l", "--local-file", type=click.Path(), required=True, help="The file.")
@run_id
@artifact_path
@options.tracking_uri
def log_artifact(local_file: str, run_id: str, artifact_path: str | None, tracking_uri: str | None) -> None:
    """Send a file, as `mlflow artifacts log-artifact`."""
    if Path(local_file).is_dir():
        raise click.UsageError(f"'{local_file}' is a folder; log-artifacts sends one.")
    copy(local(local_file), in_run(run_id, artifact_path), as_json=False, tracking_uri=tracking_uri)


@click.command()
@click.option("-l", "--local-dir", type=click.Path(), required=True, help="The folder.")
@run_id
@artifact_path
@options.tracking_uri
def log_artifacts(local_dir: str, run_id: str, artifact_path: str | None, tracking_uri: str | None) -> None:
    """Send what is in a folder, as `mlflow artifacts log-artifacts`."""
    if not Path(local_dir).is_dir():
        raise click.UsageError(f"'{local_dir}' is no folder.")
    copy(local(local_dir), in_run(run_id, artifact_path), as_json=False, tracking_uri=tracking_uri)


@click.command("list")
@run_id
@artifact_path
@options.tracking_uri
def list_(run_id: str, artifact_path: str | None, tracking_uri: str | None) -> None:
    """List a folder of a run as JSON, as `mlflow artifacts list`."""
    from shoso.cli.listing import file_infos
    from shoso.cli.session import session
    from shoso.cli.shapes import show

    with session(tracking_uri) as opened:
        show(file_infos(opened, run_id, artifact_path), "", as_json=True)


@click.command()
@click.option("-r", "--run-id", metavar="ID", help="The run.")
@click.option("-a", "--artifact-path", metavar="PATH", help="With --run-id: the artifact or folder of it.")
@click.option("-u", "--artifact-uri", metavar="URI", help="An artifact or a folder, instead of --run-id.")
@click.option("-d", "--dst-path", type=click.Path(), help="The folder that it goes into; else a new one.")
@options.tracking_uri
def download(
    run_id: str | None,
    artifact_path: str | None,
    artifact_uri: str | None,
    dst_path: str | None,
    tracking_uri: str | None,
) -> None:
    """Fetch an artifact or a folder, and print where it is, as `mlflow artifacts download`."""
    if artifact_uri is None and run_id is None:
        raise click.UsageError("Say what: either --run-id or --artifact-uri.")
    path = (artifact_path or "").strip("/")
    uri = artifact_uri or in_run(str(run_id), path).rstrip("/")
    click.echo(_fetched(uri, dst_path, tracking_uri, into=bool(artifact_uri or path)))


def _fetched(uri: str, folder: str | None, tracking_uri: str | None, into: bool) -> Path:
    """Where it is now: in the folder under its name, or the folder; what is here already stays there."""
    from shoso.cli.session import session
    from shoso.cli.transfers import Asked, copied
    from shoso.core.locations import is_local, local_path

    if folder is None and is_local(uri):
        return local_path(uri)
    target = Path(folder or tempfile.mkdtemp()).absolute()
    target.mkdir(parents=True, exist_ok=True)
    if into:
        target /= last_name(uri)
    with session(tracking_uri) as opened:
        _, failure = copied(opened, uri, str(target), Asked())
    if failure is not None:
        raise failure
    return target
