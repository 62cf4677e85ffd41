"""Types of columns that are called otherwise in some databases; see MLflow's migrations."""

from __future__ import annotations

from sqlalchemy import LargeBinary, String, Text
from sqlalchemy.dialects import mssql, mysql

MEDIUM_TEXT = Text().with_variant(mysql.MEDIUMTEXT, "mysql")
MEDIUM_TEXT_OR_NVARCHAR = MEDIUM_TEXT.with_variant(mssql.NVARCHAR(None), "mssql")
LONG_TEXT = Text().with_variant(mysql.LONGTEXT, "mysql")
MODEL_NAME = String(500).with_variant(mssql.NVARCHAR(500), "mssql")

IDENTITY = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql").with_variant(mssql.BINARY(32), "mssql")
"""32 bytes, as a key."""
