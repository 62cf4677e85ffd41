"""Uploads in parts, which a plain MLflow server has none of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from shoso.core.keys import Key
from shoso.core.streams import Source
from shoso.core.types import ObjectMeta, Part, UploadRef
from shoso.errors import Kind, StoreError, store_error


class NoUploads:
    """Every verb raises UNSUPPORTED."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads."""
        raise self._refusal("begin", key)

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        raise self._refusal("put", ref.key)

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        raise self._refusal("parts", ref.key)

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads."""
        raise self._refusal("finish", ref.key)

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        raise self._refusal("abort", ref.key)

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads; there are none."""
        none: tuple[UploadRef, ...] = ()
        for ref in none:
            yield ref

    def _refusal(self, op: str, key: Key) -> StoreError:
        message = f"{self._name} doesn't support uploads in parts."
        return store_error(Kind.UNSUPPORTED, message, op=op, key=key, store=self._name)
