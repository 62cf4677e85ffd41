"""SQL Server, of which none could be had: that its SQL can be written is all that is tested.

Beside what is here, `conftest` writes every statement that the tests of this folder run on SQLite for it too.
"""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest
from sqlalchemy import make_url
from sqlalchemy.dialects import mssql
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

import shoso.metadata
from shoso.errors import ConfigError, Kind
from shoso.metadata.bulk import BulkInsert, BulkSelect
from shoso.metadata.dialects import choose, served
from shoso.metadata.dialects.mssql import SQLServer
from shoso.metadata.dialects.options import Options

DIALECT = mssql.dialect(paramstyle="qmark")
URI = "mssql+pyodbc://me:hunter2@host/mlflow?driver=ODBC+Driver+18+for+SQL+Server"


def bulks():
    """Every statement on many rows that is written by hand for it, by its name."""
    for module in pkgutil.walk_packages(shoso.metadata.__path__, "shoso.metadata."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, (BulkInsert, BulkSelect)):
                yield pytest.param(value, id=f"{module.name}.{name}")


@pytest.mark.parametrize("bulk", [*bulks()])
@pytest.mark.parametrize("count", [1, 3])
def test_statements_on_many_rows_have_a_place_for_each_value(bulk, count):
    text = bulk._way(DIALECT)(count)
    width = len(bulk.table.columns) if isinstance(bulk, BulkInsert) else 1
    assert text.count("?") == width * count
    assert text.count("(") == text.count(")")


def test_an_insert_that_gives_way_is_a_merge():
    from shoso.metadata import metrics

    text = metrics._REPLACE.written(DIALECT)
    assert re.sub(r"\s+", " ", text) == (
        "MERGE INTO latest_metrics WITH (HOLDLOCK) AS old USING (VALUES (?, ?, ?, ?, ?, ?)) AS new"
        " ([key], value, timestamp, step, is_nan, run_uuid)"
        " ON old.[key] = new.[key] AND old.run_uuid = new.run_uuid"
        " WHEN MATCHED AND ((new.step > old.step) OR (new.step = old.step AND new.timestamp > old.timestamp)"
        " OR (new.step = old.step AND new.timestamp = old.timestamp AND new.value > old.value))"
        " THEN UPDATE SET value = new.value, timestamp = new.timestamp, step = new.step, is_nan = new.is_nan"
        " WHEN NOT MATCHED THEN INSERT ([key], value, timestamp, step, is_nan, run_uuid)"
        " VALUES (new.[key], new.value, new.timestamp, new.step, new.is_nan, new.run_uuid);"
    )


def test_rows_are_locked_by_hints():
    from shoso.metadata import experiments, lifecycle

    assert "FROM runs WITH (UPDLOCK)" in str(lifecycle._RUN.compile(dialect=DIALECT))
    assert "FROM experiments WITH (HOLDLOCK)" in str(experiments._SHARED.compile(dialect=DIALECT))


@pytest.mark.parametrize("uri", [URI, "mssql://me@dsn"])
def test_it_can_be_named(uri):
    dialect = choose(uri, Options())
    assert "hunter2" not in dialect.shown
    dialect.close()


def test_a_driver_without_what_it_stands_on_is_told(monkeypatch):
    """As pyodbc fails where there is no unixODBC."""

    def fail(name):
        raise ImportError("libodbc.so.2: cannot open shared object file")

    monkeypatch.setattr("shoso.metadata.dialects.mssql.import_module", fail)
    with pytest.raises(ConfigError, match="needs unixODBC and Microsoft's driver"):
        choose(URI, Options())


def test_a_driver_that_is_missing_or_unknown_is_told():
    with pytest.raises(ConfigError, match=r"needs the package pymssql: pip install pymssql$"):
        choose("mssql+pymssql://me@host/mlflow", Options())
    with pytest.raises(ConfigError, match=re.escape("use mssql+pyodbc://")):
        choose("mssql+aioodbc://me@host/mlflow", Options())


@pytest.mark.parametrize(
    ("args", "meaning"),
    [
        (("40001", "[40001] [Microsoft] Transaction was deadlocked (1205) (SQLExecDirectW)"), served.BUSY),
        (("23000", "[23000] Violation of PRIMARY KEY constraint (2627) (SQLExecDirectW)"), served.TAKEN),
        ((2601, b"Cannot insert duplicate key row"), served.TAKEN),
        ((547, b"conflicted with the FOREIGN KEY constraint"), served.DANGLING),
        (("22001", "[22001] String or binary data would be truncated (2628)"), served.TOO_LONG),
        (("HY000", "[HY000] something else"), served.UNEXPECTED),
    ],
)
def test_errors_are_told_by_their_number(args, meaning):
    """Made up after the documentation of pyodbc, which has a state and a text, and pymssql, with a number."""
    assert SQLServer().meaning(DBAPIError("", None, Exception(*args))) == meaning


def test_a_lost_connection_is_one_that_sqlalchemy_says_is():
    error = OperationalError("", None, Exception("08S01"), connection_invalidated=True)
    assert SQLServer().meaning(error).kind is Kind.UNAVAILABLE


def test_a_refused_login_names_the_fix_and_no_password():
    error = IntegrityError("", None, Exception("28000", "[28000] Login failed for user 'me'. (18456)"))
    sentence = SQLServer().refusal(error, make_url(URI))
    assert sentence == "SQL Server at host refuses the user 'me' with that password; correct them in the URI"
