"""Comparisons of whole rows, said so that an index in their order serves them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class later(FunctionElement[bool]):  # noqa: N801 - written like a function of SQL
    """`(columns) > (values)`: by the first of them that differs; as many values follow as columns."""

    type = Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True


@compiles(later)
def _later(element: later, compiler: SQLCompiler, **kw: Any) -> str:
    columns, values = _halves(element, compiler, **kw)
    return f"({', '.join(columns)}) > ({', '.join(values)})"


@compiles(later, "mysql")
@compiles(later, "mssql")
def _later_by_parts(element: later, compiler: SQLCompiler, **kw: Any) -> str:
    """MySQL uses no index for a comparison of rows, and SQL Server has none."""
    columns, values = _halves(element, compiler, **kw)
    return f"({columns[0]} >= {values[0]} AND {_nested([*zip(columns, values, strict=True)])})"


def _nested(pairs: list[tuple[str, str]]) -> str:
    (column, value), *rest = pairs
    greater = f"{column} > {value}"
    return f"({greater} OR ({column} = {value} AND {_nested(rest)}))" if rest else greater


def _halves(element: later, compiler: SQLCompiler, **kw: Any) -> tuple[list[str], list[str]]:
    sides = [*element.clauses]
    middle = len(sides) // 2
    columns = [compiler.process(side, **kw) for side in sides[:middle]]
    return columns, [compiler.process(side, **kw) for side in sides[middle:]]
