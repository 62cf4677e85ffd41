"""Azure's blob service as Azurite has it: real signatures, conditions, blocks and copies, on loopback."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from urllib.parse import quote

import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    generate_container_sas,
)
from tests.servers.processes import CACHE, Facts, Launcher, cannot, free_ports, program, shared
from tests.servers.target import Target
from tests.servers.trust import self_signed

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, published by Microsoft."""

MAIN = CACHE / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def start(launcher: Launcher, *flags: str | Path) -> Facts:
    """Azurite on a free port."""
    if not MAIN.exists():
        cannot("there is no Azurite; run tests/servers/install.sh")
    [port] = free_ports(1)
    launcher.start(
        program("node"), MAIN, "--blobHost", "127.0.0.1", "--blobPort", str(port),
        "--location", launcher.folder, "--silent", "--skipApiVersionCheck", "--disableTelemetry", *flags,
    )  # fmt: skip
    launcher.until_port(port)
    return {"port": port}


def start_secure(launcher: Launcher) -> Facts:
    """Azurite with a certificate of its own, without which it takes no tokens of identities."""
    certificate, key = self_signed(launcher.folder)
    flags = ("--oauth", "basic", "--cert", certificate, "--key", key)
    return {**start(launcher, *flags), "certificate": str(certificate)}


def secure() -> tuple[str, str]:
    """The address of the account where Azurite speaks TLS, and the file of its certificate."""
    facts = shared("azurite_secure", start_secure)
    return f"https://127.0.0.1:{facts['port']}/{ACCOUNT}", facts["certificate"]


def port() -> int:
    """Where it listens."""
    return int(shared("azurite", start)["port"])


def endpoint(at: int | None = None) -> str:
    """The address of the account; through a proxy that listens `at` another port."""
    return f"http://127.0.0.1:{at or port()}/{ACCOUNT}"


def connection_string(at: int | None = None, key: str = KEY) -> str:
    """What opens the account."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={endpoint(at)};"
    )


@cache
def service() -> BlobServiceClient:
    """The way around the store: Microsoft's own client."""
    return BlobServiceClient(endpoint(), credential=KEY)


@cache
def _session() -> requests.Session:
    """For what is done a thousand times: Microsoft's client takes 10 ms a call."""
    session = requests.Session()
    session.trust_env = False
    return session


@cache
def _signature(container: str) -> str:
    permission = ContainerSasPermissions(write=True, create=True)
    end = datetime.now(UTC) + timedelta(hours=6)
    return generate_container_sas(ACCOUNT, container, account_key=KEY, permission=permission, expiry=end)


@dataclass(frozen=True)
class Container:
    """A new container, and the folder of it that a store is opened at."""

    client: ContainerClient
    folder: str = ""

    @property
    def uri(self) -> str:
        """Where a store finds it."""
        path = f"/{self.folder}" if self.folder else ""
        return f"wasbs://{self.client.container_name}@{ACCOUNT}.blob.core.windows.net{path}"

    def put(self, key: str, data: bytes) -> None:
        """Write an object around the store."""
        url = (
            f"{self.client.url}/{quote(self._name(key), safe='/~')}?{_signature(self.client.container_name)}"
        )
        _session().put(url, data, headers={"x-ms-blob-type": "BlockBlob"}, timeout=30).raise_for_status()

    def get(self, key: str) -> bytes | None:
        """Read an object around the store."""
        try:
            return self.client.download_blob(self._name(key)).readall()
        except ResourceNotFoundError:
            return None

    def names(self) -> set[str]:
        """Every blob that is there, and every name with blocks that are not yet one."""
        return {blob.name for blob in self.client.list_blobs(include=["uncommittedblobs"])}

    def _name(self, key: str) -> str:
        return f"{self.folder}/{key}" if self.folder else key


def container(folder: str = "", of: BlobServiceClient | None = None) -> Container:
    """A container of that run of a test alone."""
    return Container((of or service()).create_container(f"shoso-{secrets.token_hex(8)}"), folder)


def fresh() -> Target:
    """An empty container."""
    made = container()
    environment = {"AZURE_STORAGE_CONNECTION_STRING": connection_string()}
    refused = frozenset({"back\\slash"})
    return Target(made.uri, environment, made.put, made.get, refused, blind=True)
