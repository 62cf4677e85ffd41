"""azure: blobs of a container, over Azure's REST interface.

A small object is one Put Blob, a larger one blocks that nobody sees until Put Block List makes them a blob;
both carry the BLAKE3 of the whole in the blob's metadata (`shosodigest`) and an MD5 of every body, so that
Azure refuses what was corrupted on its way. Conditions are If-Match and If-None-Match.

An upload in parts keeps each part as a blob of its own below `.shoso`, which no listing shows, and joins
them on the side of Azure (Put Block From URL): blocks of two uploads staged on one blob would be thrown away
by whichever is finished first.

Facts: https://learn.microsoft.com/rest/api/storageservices/ (Put Blob, Put Block, Put Block List, Put Block
From URL, Get Blob, List Blobs, Authorize with Shared Key, Create a service SAS, Status and error codes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shoso.core.options import PUBLIC_ENDPOINT, Setting, silence, text

if TYPE_CHECKING:
    from shoso.stores.azure.store import AzureStore

SILENCE = 600.0

CONNECTION_STRING = Setting(
    "connection_string",
    "AZURE_STORAGE_CONNECTION_STRING",
    text,
    "",
    "Azure: the account, its key or a SAS, and its address; goes before every other credential.",
)
ACCESS_KEY = Setting(
    "access_key", "AZURE_STORAGE_ACCESS_KEY", text, "", "Azure: a key of the account that the URI names."
)
SAS_TOKEN = Setting(
    "sas_token",
    "AZURE_STORAGE_SAS_TOKEN",
    text,
    "",
    "Azure: a shared access signature; used where neither a connection string nor a key is given. Without"
    " any of the three, DefaultAzureCredential finds an identity (AZURE_CLIENT_ID and so on, a managed"
    " identity, az login).",
)
SETTINGS = (CONNECTION_STRING, ACCESS_KEY, SAS_TOKEN, silence(SILENCE), PUBLIC_ENDPOINT)


def open_store(uri: str, environment: Mapping[str, str]) -> AzureStore:
    """The folder of a container that a wasbs: or abfss: URI names. Raises ConfigError."""
    from shoso.stores.azure.options import options
    from shoso.stores.azure.store import AzureStore

    return AzureStore(options(uri, environment))
