"""Stores on Azurite, for the tests of what is Azure's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from tests.servers import azurite
from tests.servers.azurite import ACCOUNT, KEY, Container

from shoso.core.store import Store
from shoso.stores import open_store


def environment(at: int | None = None, **more: str) -> dict[str, str]:
    """What opens Azurite; through a proxy that listens `at` another port."""
    return {"AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string(at), **more}


@asynccontextmanager
async def store_of(container: Container | str, settings: Mapping[str, str]) -> AsyncIterator[Store]:
    """The store, without any layer; closed at the end."""
    uri = container if isinstance(container, str) else container.uri
    store = open_store(uri, settings)
    try:
        yield store
    finally:
        await store.close()


def signature(container: Container, seconds: float, permission: str = "racwdl") -> str:
    """A shared access signature for a container that ends in so many seconds.

    Of a container: with one of an account, Azurite answers 500 to Put Block From URL.
    """
    return generate_container_sas(
        ACCOUNT,
        container.client.container_name,
        account_key=KEY,
        permission=ContainerSasPermissions.from_string(permission),
        expiry=datetime.now(UTC) + timedelta(seconds=seconds),
        start=datetime.now(UTC) - timedelta(hours=2),
    )


def with_signature(token: str, at: int | None = None) -> dict[str, str]:
    """What opens Azurite by a signature alone."""
    text = f"BlobEndpoint={azurite.endpoint(at)};SharedAccessSignature={token}"
    return {"AZURE_STORAGE_CONNECTION_STRING": text}
