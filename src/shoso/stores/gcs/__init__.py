"""gcs: a bucket of Google Cloud Storage, `gs://bucket/folder`, over its JSON API.

An object appears whole or not at all; its generation is the etag, and CREATE and IfMatch are preconditions on
it. The BLAKE3 travels with the object as the metadata `shoso-digest`; Cloud Storage compares the CRC32C of
every write before the object appears. Uploads in parts are hidden objects below `.shoso/uploads`, composed
when they are finished: the digest of the whole isn't known then.

The requests are aiohttp's, the credentials google-auth's: docs/decisions/0007-google-cloud-storage.md. Facts
are of https://cloud.google.com/storage/docs/json_api and .../docs/access-control/signed-urls.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from shoso.core.locations import parse, shown
from shoso.core.options import (
    PUBLIC_ENDPOINT,
    TRANSFER_TIMEOUT,
    Setting,
    from_environment,
    seconds_or_none,
    silence,
    text,
    whole,
)
from shoso.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from shoso.stores.gcs.store import GcsStore

_log = logging.getLogger("shoso.stores.gcs")

SILENCE = 60.0
QUANTUM = 256 * 1024
"""What Cloud Storage takes in one request of a resumable upload is a multiple of so many bytes."""


def _chunk(value: str) -> int:
    size = whole(value)
    if size <= 0 or size % QUANTUM:
        raise ValueError(f"'{value}' is no multiple of {QUANTUM} bytes (256 KiB), which Cloud Storage wants")
    return size


DEPRECATED_TIMEOUT = Setting(
    "deprecated_silence",
    "MLFLOW_GCS_DEFAULT_TIMEOUT",
    seconds_or_none,
    SILENCE,
    f"Deprecated: the same as {TRANSFER_TIMEOUT}, which goes first.",
)

SETTINGS = (
    silence(SILENCE),
    DEPRECATED_TIMEOUT,
    Setting(
        "upload_chunk",
        "MLFLOW_GCS_UPLOAD_CHUNK_SIZE",
        _chunk,
        None,
        "The most bytes in one request of an upload to Google Cloud Storage, a multiple of 262144 (256 KiB);"
        " by default a large object is one stream. Memory doesn't grow with it.",
    ),
    Setting(
        "download_chunk",
        "MLFLOW_GCS_DOWNLOAD_CHUNK_SIZE",
        _chunk,
        None,
        "The most bytes in one request of a download from Google Cloud Storage, a multiple of 262144"
        " (256 KiB); by default an object is one stream. Memory doesn't grow with it.",
    ),
    Setting(
        "credentials",
        "GOOGLE_APPLICATION_CREDENTIALS",
        text,
        "",
        "The file of Google credentials (a service account's key, or a workload identity); by default those"
        " of 'gcloud auth application-default login', then those of the machine, then none.",
    ),
    Setting(
        "quota_project",
        "GOOGLE_CLOUD_QUOTA_PROJECT",
        text,
        "",
        "The Google project that pays for requests, as buckets want it whose requester pays.",
    ),
    Setting(
        "emulator",
        "STORAGE_EMULATOR_HOST",
        text,
        "",
        "The address of an emulator of Google Cloud Storage, e.g. http://127.0.0.1:9023; it gets no"
        " credentials.",
    ),
    PUBLIC_ENDPOINT,
)


def open_store(uri: str, environment: Mapping[str, str]) -> GcsStore:
    """The store at a `gs:` URI. Raises ConfigError."""
    from shoso.stores.gcs.store import GcsOptions, GcsStore

    bucket, folder = _place(uri)
    options = from_environment(SETTINGS, environment)
    deprecated = options.pop(DEPRECATED_TIMEOUT.field)
    if environment.get(DEPRECATED_TIMEOUT.variable):
        _log.warning("%s is deprecated; use %s.", DEPRECATED_TIMEOUT.variable, TRANSFER_TIMEOUT)
        if not environment.get(TRANSFER_TIMEOUT):
            options["silence"] = deprecated
    return GcsStore(GcsOptions(bucket, folder, **options))


def _place(uri: str) -> tuple[str, str]:
    try:
        location = parse(uri)
    except (ValueError, StoreError) as error:
        raise ConfigError(shown(uri), f"names no folder of a bucket: {error}.") from None
    if not location.authority or "@" in location.authority or ":" in location.authority:
        raise ConfigError(shown(uri), "names no bucket; write gs://bucket/folder.")
    return location.authority, location.folder
