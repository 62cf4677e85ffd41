"""Servers for tests that speak to them by the byte."""

from __future__ import annotations

import uuid

import pytest
from tests.e2e.servers import Server
from tests.server.sockets import post


@pytest.fixture(scope="session")
def shared_server(server_folder):
    """The server of every test that asks for no other; nobody stops it or changes what isn't his."""
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
def server(shared_server):
    """The server under test; a module or class that needs another one overrides this."""
    return shared_server


@pytest.fixture
def unique():
    """A name nobody else uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def experiment(server, unique):
    """The id of a new experiment."""
    return post(server, "experiments/create", {"name": unique}).json["experiment_id"]


@pytest.fixture
def run(server, experiment):
    """The info of a new run."""
    return post(server, "runs/create", {"experiment_id": experiment}).json["run"]["info"]
