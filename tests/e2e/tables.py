"""Tables of calls as tests: an outcome and the calls that have it, or calls alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from tests.e2e.raw import Api


def rows(table: dict[tuple[int, str], list[tuple]]) -> list:
    """The table's rows as parameters, named by call and body; a row's third member marks it."""
    return [
        pytest.param(call, body, outcome, id=f"{call} {short(body)}", marks=marks)
        for outcome, entries in table.items()
        for call, body, *marks in entries
    ]


def short(body: Any) -> str:
    """The body, as the name of a test."""
    text = json.dumps(body, ensure_ascii=True)
    return text if len(text) < 90 else f"{text[:80]}..{len(text)}"


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with the names in braces replaced; other braces stay."""
    if isinstance(value, dict):
        return {key: filled(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], found[0]), value)
    return value


def answer(api: Api, names: Mapping[str, str], call: str, body: dict[str, Any]):
    """The reply to a row's call, as "METHOD path"; the body of a GET is its query."""
    method, path = filled(call, names).split(" ")
    given = filled(body, names)
    return api.get(path, **given) if method == "GET" else api.call(method, path, given)
