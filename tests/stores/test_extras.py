"""A storage whose packages aren't installed: one sentence says which, and how they are installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import pytest

from shoso.stores import BACKENDS

EXTRAS = [backend for backend in BACKENDS if backend.extra]
URIS = {
    "s3": "s3://bucket/path",
    "r2": "r2://bucket@account.r2.cloudflarestorage.com/path",
    "b2": "b2://bucket@s3.eu-central-003.backblazeb2.com/path",
    "wasbs": "wasbs://container@account.blob.core.windows.net/path",
    "abfss": "abfss://container@account.dfs.core.windows.net/path",
    "gs": "gs://bucket/path",
    "sftp": "sftp://user@host/path",
    "ftp": "ftp://user@host/path",
    "ftps": "ftps://user@host/path",
    "hdfs": "hdfs://host:8020/path",
    "viewfs": "viewfs://cluster/path",
}
NAMESPACES = {"azure", "google"}
IN_NAMESPACES = {
    "azure": ["azure.storage", "azure.identity"],
    "gcs": ["google.cloud.storage", "google.auth"],
}
WITHOUT = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == absent or name.startswith(absent + ".") for absent in ABSENT):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

ABSENT, uri = json.loads(sys.argv[1])
sys.meta_path.insert(0, Absent())
from shoso.errors import ConfigError
from shoso.stores import open_store
try:
    open_store(uri, {})
except ConfigError as error:
    print(error)
"""


def _modules(extra: str) -> list[str]:
    """What the packages of an extra, and of no other part of Shoso, are imported as."""
    marked = re.compile(rf"^([A-Za-z0-9._-]+).*extra == ['\"]{extra}['\"]")
    wanted = {found[1].lower() for line in requires("shoso") or () if (found := marked.match(line))}
    return [
        module
        for module, packages in packages_distributions().items()
        if {package.lower() for package in packages} & wanted
    ]


@pytest.mark.parametrize(
    ("scheme", "extra"), [(scheme, backend.extra) for backend in EXTRAS for scheme in backend.schemes]
)
def test_a_missing_extra_is_named_with_its_pip_line(scheme, extra):
    absent = [module for module in _modules(extra) if module not in NAMESPACES] + IN_NAMESPACES.get(extra, [])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps([absent, URIS[scheme]])],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"pip install 'shoso[{extra}]'" in done.stdout
    assert done.stdout.count("\n") == 1


def test_every_scheme_is_tested_here():
    assert {scheme for backend in EXTRAS for scheme in backend.schemes} <= set(URIS)
