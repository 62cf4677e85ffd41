"""What a selection names in one store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shoso.core.keys import below
from shoso.core.store import Store, find
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.transfer.selection import Selection

Found = tuple[str, ObjectMeta]
"""An object, by its path below the folder; "" for a selected object itself."""


async def contents(store: Store, selection: Selection) -> AsyncIterator[Found]:
    """The object of that key, else what is selected of the folder; an object is always selected.

    Raises NOT_FOUND where there is neither; only the root may be empty.
    """
    if selection.key and (single := await find(store, selection.key)) is not None:
        yield "", single
        return
    wanted, nothing = selection.filter(), True
    async with closing(store.list(selection.key, deep=True)) as found:
        async for meta in found:
            nothing = False
            path = below(meta.key, selection.key)
            if isinstance(meta, ObjectMeta) and wanted(path):
                yield path, meta
    if nothing and selection.key:
        await store.stat(selection.key)  # says in the store's words that it isn't there
