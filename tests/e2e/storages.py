"""The storages that the end-to-end tests run on: a real server of each kind, started when it's asked for."""

from __future__ import annotations

from importlib import import_module

from tests.conformance.subjects import Target

STORAGES = {
    "s3": "tests.servers.radosgw",
    "azure": "tests.servers.azurite",
    "gcs": "tests.servers.gcs",
    "sftp": "tests.servers.sshd",
    "ftp": "tests.servers.ftpd",
    "hdfs": "tests.servers.hdfs",
}


def fresh(name: str) -> Target:
    """An empty place in the storage of that name."""
    target: Target = import_module(STORAGES[name]).fresh()
    return target


def root_of(client, run_id: str) -> str:
    """The key of a run's artifacts in the destination."""
    return client.get_run(run_id).info.artifact_uri.removeprefix("mlflow-artifacts:/")
