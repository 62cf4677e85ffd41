"""The REST surface under schemathesis, from the OpenAPI document that the server itself shows.

Whatever the document allows, and much that it doesn't, is answered: never with a 5xx, but for the calls that
say what isn't supported (501), and always with the body that the document promises for an error.
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.errors import SchemathesisError

EXAMPLES = 12
"""Requests per call; the suite has a minute for all of them."""

ALLOWED = {501}


@pytest.fixture(scope="module")
def server(launch):
    """One of its own: the calls delete what they find."""
    return launch()


@pytest.fixture(scope="module")
def schema(server):
    config = schemathesis.Config.from_dict({"generation": {"mode": "all"}})
    return schemathesis.openapi.from_url(f"{server.uri}/api/shoso/1/openapi.json", config=config)


def calls(schema, method: str):
    """The calls of a method, each once: `ajax-api` repeats `api`."""
    for result in schema.get_all_operations():
        call = result.ok()
        if call.method.upper() == method and not call.path.startswith("/ajax-api"):
            yield call


LEAST = {"GET": 150, "POST": 300, "PUT": 30, "PATCH": 20, "DELETE": 30}
"""Requests that must have been made of each method: a fuzzer that makes none finds nothing."""


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda m: m.value)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_no_call_is_answered_with_a_5xx(schema, method, mode):
    tried = 0
    for call in calls(schema, method):
        tried += _probe(call, mode)
    assert tried >= LEAST[method] or mode is GenerationMode.NEGATIVE


def _probe(call, mode: GenerationMode) -> int:
    answers = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=call.as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call(timeout=30)
        answers.append(answer.status_code)
        assert answer.status_code < 500 or answer.status_code in ALLOWED, (
            answer.request.method,
            answer.request.url,
            answer.request.body,
            answer.text,
        )
        if answer.status_code >= 400 and answer.request.method != "HEAD":
            assert {"error_code", "message"} <= answer.json().keys()

    try:
        ask()
    except (SchemathesisError, Unsatisfiable):
        return 0  # nothing can be made that breaks a call without fields
    return len(answers)
