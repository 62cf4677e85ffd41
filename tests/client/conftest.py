"""Real servers, and one that says what it's told to."""

from __future__ import annotations

import uuid

import pytest
from tests.e2e.servers import Server
from tests.servers.scripted import Scripted

from shoso.client.settings import client_settings

HASTY = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0.01", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}


@pytest.fixture(scope="session")
def shoso(server_folder):
    """A Shoso server that all tests share."""
    server = Server(server_folder()).start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Start servers with flags of one's own; they are stopped with the module."""
    started = []

    def start(*flags: str, **options) -> Server:
        server = Server(tmp_path_factory.mktemp("server"), *flags, **options)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def scripted():
    """Start servers that say what they are told to; see Scripted."""
    started = []

    def start(*replies, **options) -> Scripted:
        started.append(Scripted(replies, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def settings(tmp_path):
    """The settings of a client without a home, in no mood to wait, with these variables besides."""

    def of(**variables: str):
        return client_settings({"HOME": str(tmp_path), **HASTY, **variables})

    return of


@pytest.fixture
def unique():
    """A name nobody else uses."""
    return f"t-{uuid.uuid4().hex[:12]}"
