"""The tables that are Shoso's own, beside MLflow's: MLflow's migrations don't know them and pass them by.

They are made when a database is opened; there is one version of them so far.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects import mssql, mysql

from shoso.metadata.schema import DOUBLE, primary

OWN = MetaData()

IDENTITY = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql").with_variant(mssql.BINARY(32), "mssql")

objects = Table(
    "shoso_objects",
    OWN,
    Column("id", IDENTITY, nullable=False),
    Column("root", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified", DOUBLE, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("etag", Text),
    Column("time", BigInteger, nullable=False),
    primary("shoso_objects_pk", "id"),
    sqlite_with_rowid=False,
)
"""What was stored; see `objects`. `modified` in seconds, `time` (of the record) in milliseconds."""
