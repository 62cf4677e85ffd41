"""The OpenAPI document: it says what the server does, and what is made from it is never a 5xx."""

from __future__ import annotations

import re

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import APIOperation, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.server.sockets import ask, get

from shoso.server import openapi
from shoso.server.app import calls
from shoso.wire.faults import FAULTS

TABLE = calls()
DOCUMENT = "/api/shoso/1/openapi.json"
NOT_IMPLEMENTED = re.compile(
    r"/mlflow-artifacts/(mpu|presigned)/|/mlflow/artifacts/presigned-|/shoso/1/sign$"
)
EXAMPLES = 12
"""Requests made for each operation; more of them find nothing that these haven't found in thousands."""


@pytest.fixture(scope="module")
def server(launch):
    """One that may be filled with nonsense, and is whole afterwards."""
    server = launch()
    yield server
    assert ask(server, "GET", "/health").status == 200
    assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def document(server):
    return get(server, DOCUMENT).json


# -- the document -----------------------------------------------------------------------------------------


def test_the_document_names_every_route_and_no_other(document):
    named = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert named == {(route.method, route.path.replace(":path}", "}")) for route in TABLE}


def test_every_reference_leads_somewhere(document):
    found = set(re.findall(r"'\$ref': '([^']*)'", str(document)))
    assert found
    assert found <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_every_parameter_of_a_path_is_described(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            described = {item["name"] for item in operation["parameters"] if item["in"] == "path"}
            assert described == set(re.findall(r"\{(\w+)\}", path))
            names = [item["name"] for item in operation["parameters"]]
            assert len(names) == len(set(names))


def test_every_operation_says_what_it_does_and_how_it_fails(document):
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"].endswith(".")
            assert {"200", "4XX", "5XX"} <= set(operation["responses"])
            assert operation["tags"][0] in {"always", "tracking", "artifacts"}


def test_the_parameters_of_byte_calls_are_described(document):
    def query(path: str, method: str) -> dict[str, bool]:
        items = document["paths"][path][method]["parameters"]
        return {item["name"]: item["required"] for item in items if item["in"] == "query"}

    assert query("/get-artifact", "get") == {"run_id": False, "run_uuid": False, "path": True}
    assert query("/ajax-api/2.0/mlflow/upload-artifact", "post")["path"] is True
    assert query("/api/shoso/1/uploads/{id}/{number}", "put") == {"key": True}
    assert query("/api/shoso/1/uploads/{id}", "delete") == {"key": True}


def test_the_document_is_openapi(document):
    schema = schemathesis.openapi.from_dict(document)
    assert schema.specification.version == "3.1.0"
    operations = list(schema.get_all_operations())
    assert [result.err() for result in operations if not hasattr(result, "ok")] == []
    assert len(operations) == len(TABLE)


# -- fuzzing ----------------------------------------------------------------------------------------------


def operations() -> dict[str, APIOperation]:
    """The operations by name, each call once: an alias is the same call."""
    schema = schemathesis.openapi.from_dict(openapi.document(TABLE))
    found = [result.ok() for result in schema.get_all_operations()]
    aliases = re.compile(r"/ajax-api/(?!2.0/mlflow/upload-artifact|.*/artifacts/files)")
    return {operation.label: operation for operation in found if not aliases.match(operation.path)}


OPERATIONS = operations()


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_the_document_allows_or_not_is_answered_as_it_says(server, name, mode):
    operation, asked = OPERATIONS[name], []
    checks = [content_type_conformance, response_schema_conformance, status_code_conformance]

    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    def ask_all(case):
        reply = case.call(base_url=server.uri, timeout=30)
        asked.append(reply.status_code)
        case.validate_response(reply, checks=checks)
        assert reply.status_code < 500 or (reply.status_code == 501 and NOT_IMPLEMENTED.search(name))

    try:
        ask_all()
    except hypothesis.errors.Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # a call without parameters can't be asked wrongly
    takes = bool(operation.body or [*operation.iter_parameters()])
    assert len(asked) >= (EXAMPLES // 2 if takes else 1) or mode is GenerationMode.NEGATIVE


def test_every_status_that_a_route_may_answer_with_is_one_of_the_table():
    assert {fault.status for fault in FAULTS.values()} <= set(range(400, 600))
