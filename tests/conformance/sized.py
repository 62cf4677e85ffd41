"""A layer that tells each upload how large its parts will be, as Shoso's own transfers do."""

from __future__ import annotations

from shoso.core.keys import Key
from shoso.core.store import Store, Uploads
from shoso.core.types import UploadRef
from shoso.layers.layer import Layer, LayerUploads


class Sized(Layer):
    """The store, each of its uploads begun with that part size."""

    def __init__(self, inner: Store, part_size: int) -> None:
        super().__init__(inner)
        self._part_size = part_size

    @property
    def uploads(self) -> Uploads:
        return _SizedUploads(self, self.inner.uploads, self._part_size)


class _SizedUploads(LayerUploads):
    def __init__(self, layer: Layer, inner: Uploads, part_size: int) -> None:
        super().__init__(layer, inner)
        self._part_size = part_size

    async def begin(
        self, key: Key, size_hint: int | None = None, content_type: str | None = None
    ) -> UploadRef:
        return await super().begin(key, size_hint, content_type, self._part_size)
