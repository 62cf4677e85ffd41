"""`shoso artifacts`: list, send, fetch, delete and verify, from any URI to any URI."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from shoso.cli import options
from shoso.cli.groups import Lazy

URIS = """
A URI is runs:/RUN_ID/PATH, models:/MODEL_ID/PATH, mlflow-artifacts:/PATH, a storage's own, such as
s3://BUCKET/PATH, or a path of this machine.
"""

artifacts = Lazy(
    "artifacts",
    {
        **{name: f"shoso.cli.artifacts:{name}" for name in ("ls", "put", "get", "cat", "cp", "rm", "verify")},
        "log-artifact": "shoso.cli.mlflow:log_artifact",
        "log-artifacts": "shoso.cli.mlflow:log_artifacts",
        "list": "shoso.cli.mlflow:list_",
        "download": "shoso.cli.mlflow:download",
    },
    help=f"List, send, fetch, delete and verify artifacts.\n{URIS}",
)


@click.command()
@click.argument("uri")
@click.option("-r", "--recursive", is_flag=True, help="Everything below it, by paths.")
@click.option("-l", "--long", is_flag=True, help="With sizes and times.")
@options.globs
@options.as_json
@options.tracking_uri
def ls(
    uri: str,
    recursive: bool,
    long: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    as_json: bool,
    tracking_uri: str | None,
) -> None:
    """List what is in a folder."""
    from shoso.cli.listing import line, listed
    from shoso.cli.session import session
    from shoso.cli.shapes import show
    from shoso.transfer import Selection

    with session(tracking_uri) as opened:
        entries = listed(opened, uri, Selection(include=include, exclude=exclude), recursive)
        if as_json:
            show([*entries], "", as_json)
            return
        for entry in entries:
            click.echo(line(entry, long))


@click.command()
@click.argument("path", type=click.Path())
@click.argument("uri", required=False)
@click.option("--run-id", metavar="ID", help="The run that it is logged to, instead of a URI.")
@click.option(
    "--artifact-path", metavar="PATH", help="With --run-id: the folder of the run that it goes into."
)
@options.force
@options.transfer
def put(path: str, uri: str | None, run_id: str | None, artifact_path: str | None, **asked: Any) -> None:
    """Send a file, or everything in a folder.

    A folder becomes what the URI names. A file becomes that too, or goes into it, where it's a folder or ends
    with a slash.
    """
    if (uri is None) == (run_id is None):
        raise click.UsageError("Say where to: either a URI or --run-id.")
    if artifact_path is not None and run_id is None:
        raise click.UsageError("--artifact-path goes with --run-id; write it into the URI.")
    copy(local(path), uri or in_run(str(run_id), artifact_path), **asked)


@click.command()
@click.argument("uri")
@click.argument("path", type=click.Path(), required=False)
@options.force
@options.transfer
def get(uri: str, path: str | None, **asked: Any) -> None:
    """Fetch an artifact, or everything in a folder.

    A folder becomes PATH. An artifact becomes that too, or goes into it, where it's a folder or ends with a
    slash. Without PATH it gets the name it has, in this folder.
    """
    copy(uri, local(path if path is not None else last_name(uri)), **asked)


@click.command()
@click.argument("source")
@click.argument("destination")
@options.recursive
@options.force
@options.transfer
def cp(source: str, destination: str, **asked: Any) -> None:
    """Copy an artifact, or with -r everything in a folder, from any URI to any URI.

    A folder becomes what DESTINATION names. An artifact becomes that too, or goes into it, where it's a
    folder or ends with a slash. What is there already isn't sent again, but with --force.
    """
    copy(source, destination, **asked)


@click.command()
@click.argument("uris", metavar="URI...", nargs=-1, required=True)
@options.tracking_uri
def cat(uris: tuple[str, ...], tracking_uri: str | None) -> None:
    """Write artifacts to standard output, one after another."""
    from shoso.cli.listing import content
    from shoso.cli.session import session

    with session(tracking_uri) as opened:
        for uri in uris:
            for data in content(opened, uri):
                sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@click.command()
@click.argument("uri")
@options.recursive
@click.option("-y", "--yes", is_flag=True, help="Don't ask, on a terminal.")
@options.transfer
def rm(uri: str, yes: bool, as_json: bool, tracking_uri: str | None, **asked: Any) -> None:
    """Delete an artifact, or with -r everything in a folder.

    On a terminal it asks first. A root (a bucket, all that a run has) is never deleted as a whole.
    """
    from shoso.cli.reports import of_removal, question
    from shoso.cli.session import session
    from shoso.cli.shapes import show
    from shoso.cli.transfers import Asked, removed

    wish = Asked(**asked)
    with session(tracking_uri) as opened:
        if sys.stdin and sys.stdin.isatty() and not (yes or wish.dry_run):
            found = removed(opened, uri, replace(wish, dry_run=True))
            if not click.confirm(f"{question(found)} Delete?", err=True):
                raise click.ClickException("Nothing was deleted.")
        done = removed(opened, uri, wish)
    show(done, of_removal(done), as_json)


@click.command()
@click.argument("uri")
@click.option(
    "--against", metavar="URI", help="Compare with this copy, instead of the digests that are kept."
)
@click.option("--allow-unrecorded", is_flag=True, help="Don't fail where no digest is kept to compare with.")
@options.globs
@options.as_json
@options.tracking_uri
def verify(
    uri: str,
    against: str | None,
    allow_unrecorded: bool,
    as_json: bool,
    tracking_uri: str | None,
    **asked: Any,
) -> None:
    """Read everything, and compare it with the digests that are kept, or with a copy.

    Every byte comes to this machine and is digested here.
    """
    from shoso.cli.reports import of_verification, require_verified
    from shoso.cli.session import session
    from shoso.cli.shapes import show
    from shoso.cli.transfers import Asked, verified

    with session(tracking_uri) as opened:
        found = verified(opened, uri, against, Asked(**asked))
    show(found, of_verification(found), as_json)
    require_verified(found, allow_unrecorded)


def copy(source: str, destination: str, as_json: bool, tracking_uri: str | None, **asked: Any) -> None:
    """Copy, say what it came to, and then raise the error of what failed."""
    from shoso.cli.reports import of_copy
    from shoso.cli.session import session
    from shoso.cli.shapes import show
    from shoso.cli.transfers import Asked, copied

    with session(tracking_uri) as opened:
        done, failure = copied(opened, source, destination, Asked(**asked))
    show(done, of_copy(done), as_json)
    if failure is not None:
        raise failure


def local(path: str) -> str:
    """The path as a URI that is nothing else, whatever is in its name."""
    slash = "/" if path.endswith("/") else ""
    return str(Path(path).absolute()) + slash


def in_run(run_id: str, artifact_path: str | None) -> str:
    """The URI of a folder of a run."""
    return f"runs:/{run_id}/{artifact_path.strip('/')}/" if artifact_path else f"runs:/{run_id}"


def last_name(uri: str) -> str:
    """The last name in a URI. Raises UsageError where it has none that a file can have."""
    name = uri.partition("?")[0].rstrip("/").rpartition("/")[2]
    if name in {"", ".", ".."} or name.endswith(":"):
        raise click.UsageError("Say where to: the URI ends with no name.")
    return name
