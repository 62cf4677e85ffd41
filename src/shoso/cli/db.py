"""`shoso db`: what a database is, and what is done to it, without a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from shoso.cli import options
from shoso.cli.indexes import index

if TYPE_CHECKING:
    from shoso.cli.shapes import CheckedDatabase
    from shoso.metadata.compatibility import Finding

UPGRADE_MLFLOW, UPGRADE_SHOSO, UNFIT = 3, 4, 5
"""Exit codes of `check`, beside 0 and 1."""


@click.group()
def db() -> None:
    """Ask a database whether a server can work on it, and make it search faster."""


db.add_command(index)


@db.command()
@click.argument("uri", envvar="MLFLOW_BACKEND_STORE_URI")
@options.as_json
def check(uri: str, as_json: bool) -> None:
    """Say whether `shoso server --backend-store-uri URI` opens a database; nothing is changed.

    Exit codes: 0 it opens; 1 it can't be reached; 3 MLflow must upgrade its tables first; 4 it needs a newer
    version of Shoso; 5 it is another program's, or damaged.

    URI is by default that of MLFLOW_BACKEND_STORE_URI.
    """
    from shoso.cli.shapes import show
    from shoso.metadata import compatibility
    from shoso.metadata.dialects import choose
    from shoso.metadata.dialects.options import read_options

    dialect = choose(uri, read_options(os.environ), "URI")
    try:
        found = dialect.inspect(lambda conn: compatibility.find(conn, dialect.shown))
    finally:
        dialect.close()
    shape = _shape(dialect.shown, found)
    show(shape, _words(shape), as_json)
    raise SystemExit(_code(found))


def _shape(shown: str, found: Finding) -> CheckedDatabase:
    from shoso.cli.shapes import CheckedDatabase
    from shoso.metadata import own
    from shoso.metadata.revisions import HEAD

    return CheckedDatabase(
        uri=shown,
        opens=not found.problems,
        state=found.state.value,
        revision=found.revision,
        known_revision=HEAD,
        own_version=found.own,
        known_own_version=len(own.MIGRATIONS),
        problems=[*found.problems],
        hidden=found.hidden,
    )


_STATES = {
    "empty": "empty: a server makes the tables",
    "unfinished": "unfinished: a server was stopped while it made the tables; the next one goes on",
    "current": "current: MLflow's tables, as this version of Shoso knows them",
    "newer": "newer: MLflow's tables, of a newer MLflow",
    "older": "older: MLflow's tables, of an older MLflow",
    "damaged": "damaged: MLflow's tables, with parts missing",
    "foreign": "foreign: another program's tables",
}


def _words(checked: CheckedDatabase) -> str:
    from shoso.cli.words import facts
    from shoso.core.amounts import count

    known = {"database": checked.uri, "state": _STATES[checked.state]}
    if checked.revision:
        known["MLflow's tables"] = f"revision {checked.revision}; Shoso knows {checked.known_revision}"
    if checked.own_version is not None:
        known["Shoso's tables"] = f"version {checked.own_version}; Shoso knows {checked.known_own_version}"
    for table, rows in checked.hidden.items():
        known[table] = f"{count(rows, 'row')} in other workspaces, which aren't shown"
    last = checked.problems or ["A server opens it."]
    return "\n".join((facts(known), "", *(f"{line[0].upper()}{line[1:]}" for line in last)))


def _code(found: Finding) -> int:
    from shoso.metadata import own
    from shoso.metadata.compatibility import State

    if not found.problems:
        return 0
    if found.state is State.OLDER:
        return UPGRADE_MLFLOW
    newer = found.state is State.NEWER or own.problems(found.own)
    return UPGRADE_SHOSO if newer else UNFIT
