"""Any span of one version of an object as a source."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shoso.core.store import Store
from shoso.core.types import ALL, Buffer, ByteRange, FromTo, ObjectMeta, Reading
from shoso.errors import Kind, StoreError, store_error
from shoso.transfer.plan import version
from shoso.transfer.progress import Meter


class ObjectSource:
    """Bytes `start` up to `stop` of the very version that `meta` describes.

    Raises CHANGED as soon as another is there.
    """

    reopenable = True

    def __init__(
        self, store: Store, meta: ObjectMeta, meter: Meter, start: int = 0, stop: int | None = None
    ) -> None:
        self._store, self._meta, self._meter = store, meta, meter
        self._start, self._stop = start, meta.size if stop is None else stop
        self._begun: Reading | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self._stop - self._start

    def expected(self) -> str | None:
        """The digest of the whole, where the source's store has it."""
        return self._meta.digest if self.size == self._meta.size else None

    def resume(self, reading: Reading) -> None:
        """Take the first bytes from a reading that is open already."""
        self._begun = reading

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        """The bytes from `start` on."""
        at = self._start + start
        if 0 < at == self._stop:
            return
        async with await self._reading(at) as reading:
            self._require(reading.meta)
            async for data in reading.body:
                at += len(data)
                yield data
                self._meter.at(at - self._start)

    async def _reading(self, at: int) -> Reading:
        reading, self._begun = self._begun, None
        if reading is not None and at == 0:
            return reading
        return await self._store.read(self._meta.key, self._range(at), self._meta.etag)

    def _range(self, at: int) -> ByteRange:
        return ALL if at == 0 and self._stop == self._meta.size else FromTo(at, self._stop)

    def _require(self, found: ObjectMeta) -> None:
        """Where a store has no etags, a read of another version doesn't fail by itself."""
        if (version(found), found.size) != (version(self._meta), self._meta.size):
            raise changed(self._meta.key)


def changed(key: str) -> StoreError:
    """The error of an object that isn't any more what it was when its copy began."""
    return store_error(Kind.CHANGED, f"'{key}' has changed while it was copied.", op="copy", key=key)
