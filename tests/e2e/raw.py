"""Plain HTTP, without MLflow's client: REST calls by `Api`, exact bytes on the wire by `send`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests

HELLO = b"hello world"
ABSENT_RUN = "0" * 32
ABSENT_EXPERIMENT = "99999999"


class Api:
    """MLflow's REST API at `uri`, one keep-alive session; replies are handed over as they come."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.session = requests.Session()
        self.session.trust_env = False

    def call(
        self, method: str, path: str, body: Any = None, /, *, root: str = "api/2.0/mlflow", **query: Any
    ):
        """Any call; a list in the query is a repeated key."""
        url = f"{self.uri}/{root}/{path}"
        return self.session.request(method, url, json=body, params=query or None, timeout=60)

    def get(self, path: str, /, **query: Any):
        return self.call("GET", path, **query)

    def post(self, path: str, body: Any):
        return self.call("POST", path, body)

    def ok(self, method: str, path: str, body: Any = None, /, **query: Any) -> dict[str, Any]:
        """The decoded reply of a call that must succeed."""
        reply = self.call(method, path, body, **query)
        assert reply.status_code == 200, f"{method} {path} {body}: {reply.status_code} {reply.text}"
        return reply.json()

    def create_experiment(self, name: str, **fields: Any) -> str:
        return self.ok("POST", "experiments/create", {"name": name, **fields})["experiment_id"]

    def create_run(self, experiment_id: str, **fields: Any) -> dict[str, Any]:
        return self.ok("POST", "runs/create", {"experiment_id": experiment_id, **fields})["run"]

    def run_id(self, experiment_id: str, **fields: Any) -> str:
        return self.create_run(experiment_id, **fields)["info"]["run_id"]


class Reply(NamedTuple):
    """A reply as it came: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(uri: str) -> http.client.HTTPConnection:
    """A keep-alive connection to the server at `uri`."""
    return http.client.HTTPConnection(urlsplit(uri).netloc, timeout=60)


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | str | Iterable[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    """One request on an open connection; `target` goes out as it is, an iterable body in chunks."""
    chunked = not isinstance(body, bytes | str | None)
    headers = {"Transfer-Encoding": "chunked", **(headers or {})} if chunked else headers or {}
    connection.request(method, target, body=body, headers=headers, encode_chunked=chunked)
    reply = connection.getresponse()
    return Reply(reply.status, {name.lower(): v for name, v in reply.getheaders()}, reply.read())


class Wire:
    """Artifact calls with the path written by hand, one connection a call."""

    def __init__(self, uri: str, root: str = "api/2.0/mlflow-artifacts") -> None:
        self.uri = uri
        self.root = f"{urlsplit(uri).path}/{root}"

    def send(self, method: str, target: str, body=None, headers: dict[str, str] | None = None) -> Reply:
        """`target` is the request line's, from the first slash."""
        connection = connect(self.uri)
        try:
            return ask(connection, method, target, body, headers)
        finally:
            connection.close()

    def put(self, path: str, body, **headers: str) -> Reply:
        """`path` is percent-encoded already."""
        return self.send("PUT", f"{self.root}/artifacts/{path}", body, _dashed(headers))

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", f"{self.root}/artifacts/{path}", headers=_dashed(headers))

    def head(self, path: str, **headers: str) -> Reply:
        return self.send("HEAD", f"{self.root}/artifacts/{path}", headers=_dashed(headers))

    def delete(self, path: str) -> Reply:
        return self.send("DELETE", f"{self.root}/artifacts/{path}")

    def list(self, path: str) -> Reply:
        return self.send("GET", f"{self.root}/artifacts?path={quote(path)}")


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def names(listing: Reply) -> list[str]:
    """The names in a listing of artifacts."""
    assert listing.status == 200, listing
    return [info["path"] for info in json.loads(listing.body).get("files", [])]


def error_code(reply: Reply) -> str:
    """MLflow's code of an error."""
    return json.loads(reply.body)["error_code"]
