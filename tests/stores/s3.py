"""Stores on radosgw, for the tests of what is S3's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.servers import radosgw

from shoso.core.store import Store
from shoso.stores import open_store


@asynccontextmanager
async def store_of(uri: str, settings: Mapping[str, str]) -> AsyncIterator[Store]:
    """The store, without any layer; closed at the end."""
    store = open_store(uri, settings)
    try:
        yield store
    finally:
        await store.close()


class Bucket:
    """A new bucket, and the ways around the store."""

    def __init__(self) -> None:
        self.name = radosgw.bucket()
        self.uri = f"s3://{self.name}/team/mlflow"
        self.client: Any = radosgw.client()

    def put(self, key: str, data: bytes) -> None:
        """Put an object."""
        self.client.put_object(Bucket=self.name, Key=f"team/mlflow/{key}", Body=data)

    def get(self, key: str) -> bytes:
        """An object's bytes."""
        with self.client.get_object(Bucket=self.name, Key=f"team/mlflow/{key}")["Body"] as body:
            data: bytes = body.read()
        return data

    def names(self) -> set[str]:
        """What is in the bucket, below the store's folder by its keys."""
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {entry["Key"].removeprefix("team/mlflow/") for entry in found}

    def pending(self) -> list[str]:
        """The uploads that nobody has finished."""
        found = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return [entry["UploadId"] for entry in found]

    def close(self) -> None:
        """Close its connections."""
        self.client.close()
