"""check: nonsense is refused before the store sees it, and a whole read is verified before its last byte."""

from __future__ import annotations

from collections.abc import Sequence

from shoso.core.keys import Key
from shoso.core.store import Uploads
from shoso.core.streams import Source, verified
from shoso.core.types import (
    ALL,
    OVERWRITE,
    ByteRange,
    Capabilities,
    ObjectMeta,
    Part,
    Reading,
    UploadRef,
    UploadStyle,
    WriteMode,
)
from shoso.errors import Kind, StoreError, store_error
from shoso.layers.layer import Layer, LayerUploads


class Check(Layer):
    """Refuses what the store can't do, by its capabilities; verifies digests where the store keeps them."""

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store; the root is no object."""
        _refuse_root("stat", key)
        return await super().stat(key)

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Store; a whole body whose digest is known is verified while it passes."""
        _refuse_root("read", key)
        if wanted != ALL and not self.capabilities.ranges:
            raise _unsupported(self, "read", key, "ranges")
        reading = await super().open(key, wanted, if_match)
        if self.capabilities.digests and reading.meta.digest and reading.size == reading.meta.size:
            return Reading(reading.meta, reading.start, reading.stop, verified(reading), reading.close)
        return reading

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        _refuse_root("write", key)
        if mode is not OVERWRITE and not self.capabilities.conditional:
            raise _unsupported(self, "write", key, "conditional writes")
        return await super().write(key, source, mode, content_type)

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; the root is never deleted, by anybody."""
        for key in keys:
            _refuse_root("delete", key)
        await super().delete(keys)

    @property
    def uploads(self) -> Uploads:
        """The Uploads verbs within the store's limits."""
        return _CheckedUploads(self, self.inner.uploads, self.capabilities)


class _CheckedUploads(LayerUploads):
    def __init__(self, layer: Layer, inner: Uploads, capabilities: Capabilities) -> None:
        super().__init__(layer, inner)
        self._capabilities = capabilities
        self._checked = layer

    async def begin(
        self, key: Key, size_hint: int | None = None, content_type: str | None = None
    ) -> UploadRef:
        _refuse_root("begin", key)
        if self._capabilities.uploads is UploadStyle.NONE:
            raise _unsupported(self._checked, "begin", key, "uploads in parts")
        return await super().begin(key, size_hint, content_type)

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        limits = self._capabilities
        if not 1 <= number <= limits.parts_max:
            raise _invalid("put", ref.key, f"Part {number} is not between 1 and {limits.parts_max}.")
        if source.size is not None and source.size > limits.part_max:
            raise _invalid("put", ref.key, f"A part may have {limits.part_max} bytes, not {source.size}.")
        return await super().put(ref, number, source)

    async def finish(self, ref: UploadRef, parts: Sequence[Part]) -> ObjectMeta:
        numbers = [part.number for part in parts]
        if not parts or numbers != sorted(set(numbers)):
            raise _invalid("finish", ref.key, "The parts must be named once each, in ascending order.")
        if any(part.size < self._capabilities.part_min for part in parts[:-1]):
            raise _invalid(
                "finish", ref.key, f"Every part but the last needs {self._capabilities.part_min} bytes."
            )
        return await super().finish(ref, parts)


def _refuse_root(op: str, key: Key) -> None:
    if not key:
        raise store_error(Kind.INVALID_KEY, "The path is empty: name an artifact.", op=op)


def _invalid(op: str, key: Key, message: str) -> StoreError:
    return store_error(Kind.INVALID, message, op=op, key=key)


def _unsupported(layer: Layer, op: str, key: Key, what: str) -> StoreError:
    name = layer.info.name
    return store_error(Kind.UNSUPPORTED, f"{name} doesn't support {what}.", op=op, key=key, store=name)
