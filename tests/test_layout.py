"""The house style, measured: short functions and files, names that say something, words on what is public.

Lengths are counted as `ast` sees a function, from `def` to its last line, less its docstring.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoso
from shoso.core.types import Capabilities
from shoso.errors import Kind
from shoso.wire.faults import FAULTS

SOURCE = Path(shoso.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in FILES}
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "common", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef


def _functions() -> Iterator[tuple[str, Function]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{name}:{node.lineno} {node.name}", node


def _docstring_lines(node: Documented) -> int:
    if ast.get_docstring(node) is None:
        return 0
    return node.body[0].end_lineno - node.body[0].lineno + 1


LENGTHS = {name: node.end_lineno - node.lineno + 1 - _docstring_lines(node) for name, node in _functions()}


def test_half_of_all_functions_have_at_most_6_lines():
    assert statistics.median(LENGTHS.values()) <= 6


def test_nine_of_ten_functions_have_at_most_20_lines():
    assert statistics.quantiles(LENGTHS.values(), n=10)[-1] <= 20


def test_no_function_has_more_than_60_lines():
    assert {name: length for name, length in LENGTHS.items() if length > 60} == {}


def test_no_file_has_more_than_400_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in FILES}
    assert {str(path): length for path, length in lengths.items() if length > 400} == {}


def test_every_module_has_a_name_that_says_what_is_in_it():
    names = {part.removesuffix(".py") for name in TREES for part in name.split("/")}
    assert names & EMPTY_NAMES == set()


def _public(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Documented]]:
    """What others may use, and its members; a bare declaration is its class's to explain."""
    for node in body:
        if not isinstance(node, Documented) or node.name.startswith("_") or _is_declaration(node):
            continue
        yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body, f"{prefix}{node.name}.")


def _is_declaration(node: Documented) -> bool:
    """A protocol's member or an overload without a word to it."""
    [first, *more] = node.body
    return not more and isinstance(first, ast.Expr) and getattr(first.value, "value", None) is Ellipsis


def _is_shape(node: Documented) -> bool:
    """Nothing but fields: what travels in a call, under a name that says which."""
    return isinstance(node, ast.ClassDef) and all(
        isinstance(line, ast.AnnAssign | ast.Pass) for line in node.body
    )


@pytest.mark.parametrize("name", sorted(TREES))
def test_whatever_is_public_says_what_it_does(name):
    tree = TREES[name]
    silent = [what for what, node in _public(tree.body, "") if not ast.get_docstring(node)]
    shapes = {node.name for node in tree.body if name.startswith("wire/") and _is_shape(node)}
    assert ast.get_docstring(tree)
    assert [what for what in silent if what not in shapes] == []


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Capabilities)])
def test_every_capability_has_a_reader(field):
    """A field that nobody reads promises what nobody keeps."""
    read = re.compile(rf"\b_?(capabilities|limits)\.{field}\b")
    assert [
        path for path in FILES if path.parent.name in {"layers", "core"} and read.search(path.read_text())
    ]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_error_travels(kind):
    assert kind in FAULTS
    assert 400 <= FAULTS[kind].status <= 599
