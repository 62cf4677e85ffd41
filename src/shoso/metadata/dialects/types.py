"""Types of columns that are called otherwise in some databases; see MLflow's migrations.

MySQL's own are spelled here: its module, and SQL Server's, are loaded for those who have such a database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BINARY, NVARCHAR, LargeBinary, String, Text
from sqlalchemy.ext.compiler import compiles


class _MediumText(Text):
    """MySQL's, of 16 MiB."""


class _LongText(Text):
    """MySQL's, of 4 GiB."""


@compiles(_MediumText, "mysql")
def _medium(_type: _MediumText, _compiler: Any, **_kw: Any) -> str:
    return "MEDIUMTEXT"


@compiles(_LongText, "mysql")
def _long(_type: _LongText, _compiler: Any, **_kw: Any) -> str:
    return "LONGTEXT"


MEDIUM_TEXT = Text().with_variant(_MediumText(), "mysql")
MEDIUM_TEXT_OR_NVARCHAR = MEDIUM_TEXT.with_variant(NVARCHAR(None), "mssql")
LONG_TEXT = Text().with_variant(_LongText(), "mysql")
MODEL_NAME = String(500).with_variant(NVARCHAR(500), "mssql")

IDENTITY = LargeBinary(32).with_variant(BINARY(32), "mysql").with_variant(BINARY(32), "mssql")
"""32 bytes, as a key."""
