"""`shoso db index`: Shoso's indexes on MLflow's tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from shoso.cli import options

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shoso.cli.shapes import Indexed
    from shoso.metadata.indexes import Outcome

_SECONDS = 7 * 86_400.0
"""How long a statement may take here; that of a server would end in the middle of an index."""


@click.command()
@click.argument("uri", envvar="MLFLOW_BACKEND_STORE_URI")
@click.option("--drop", is_flag=True, help="Drop them instead.")
@options.as_json
def index(uri: str, drop: bool, as_json: bool) -> None:
    """Make the indexes that searches for values of params and tags profit from, where they are missing.

    For PostgreSQL, MySQL and MariaDB; servers, MLflow's among them, go on reading and writing meanwhile. A
    command that was interrupted is made good by giving it again. Params and tags take longer to log with
    them.

    URI is by default that of MLFLOW_BACKEND_STORE_URI.
    """
    from shoso.cli.shapes import show
    from shoso.metadata import tables
    from shoso.metadata.dialects import choose
    from shoso.metadata.dialects.options import read_options

    dialect = choose(uri, replace(read_options(os.environ), timeout=_SECONDS), "URI")
    try:
        if not drop:  # they are dropped from whatever schema a migration has left
            dialect.inspect(lambda conn: tables.check(conn, "URI", dialect.shown))
        outcomes = dialect.tend(_drop if drop else _make)
    finally:
        dialect.close()
    shapes = [_shape(one) for one in outcomes]
    show(shapes, _words(shapes), as_json)


def _make(conn: Connection) -> list[Outcome]:
    from shoso.metadata import indexes

    return indexes.make(conn, lambda index: _tell(f"Making {index.name} on {index.table}"))


def _drop(conn: Connection) -> list[Outcome]:
    from shoso.metadata import indexes

    return indexes.drop(conn, lambda index: _tell(f"Dropping {index.name}"))


def _tell(doing: str) -> None:
    click.echo(f"{doing} …", err=True)


def _shape(outcome: Outcome) -> Indexed:
    from shoso.cli.shapes import Indexed

    index = outcome.index
    return Indexed(index.name, index.table, outcome.became.value, outcome.bytes, round(outcome.seconds, 3))


def _words(shapes: Sequence[Indexed]) -> str:
    from shoso.cli.words import table
    from shoso.core.amounts import duration

    titles = ("INDEX", "TABLE", "NOW", "SIZE", "TOOK")
    rows = [(one.name, one.table, one.became, _size(one.bytes), duration(one.seconds)) for one in shapes]
    return table(titles, rows)


def _size(known: int | None) -> str:
    from shoso.core.amounts import size

    return "unknown" if known is None else size(known)
