"""A recorded location as the folder that it is, whatever object has its name, too."""

from __future__ import annotations

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, store_error
from shoso.layers.layer import Layer


class AsFolder(Layer):
    """A store in which `top` is a folder.

    In a bucket there may be an object of that name, by which some programs mark a folder: it would be copied
    alone, as what was selected.
    """

    def __init__(self, inner: Store, top: Key) -> None:
        super().__init__(inner)
        self._top = top

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store; what is selected is no object."""
        if key == self._top:
            raise store_error(Kind.NOT_FOUND, f"'{key}' is a folder here.", op="stat", key=key)
        return await super().stat(key)
