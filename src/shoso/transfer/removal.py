"""Removal: objects are deleted in batches, and may be looked at before."""

from __future__ import annotations

from dataclasses import dataclass

from shoso.core.keys import Key
from shoso.core.store import DELETE_BATCH, Store
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.errors import StoreError
from shoso.transfer.contents import contents
from shoso.transfer.policy import Policy
from shoso.transfer.report import Tally
from shoso.transfer.selection import Selection


@dataclass(frozen=True, slots=True)
class Removal:
    """Objects that are gone, and their bytes."""

    removed: int
    size: int


async def remove(store: Store, selection: Selection, policy: Policy | None = None) -> Removal:
    """Delete the object or the folder `key`, or what is selected of it; in a dry run, only find it.

    Raises NOT_FOUND where there is nothing of that name, and what the store raises of those that can't be
    deleted, when the others are gone.
    """
    return await _Removal(store, selection, policy or Policy()).run()


class _Removal:
    def __init__(self, store: Store, selection: Selection, policy: Policy) -> None:
        self._store, self._selection, self._policy = store, selection, policy
        self._batch: list[ObjectMeta] = []
        self._removed = self._size = 0
        self._tally = Tally()

    async def run(self) -> Removal:
        """Delete all of it."""
        async with closing(contents(self._store, self._selection)) as found:
            async for _, meta in found:
                self._policy.progress.planned(meta.key, meta.size)
                self._batch.append(meta)
                if len(self._batch) == DELETE_BATCH:
                    await self._flush()
        await self._flush()
        if failures := self._tally.report().failures:
            raise failures[0]
        return Removal(self._removed, self._size)

    async def _flush(self) -> None:
        batch, self._batch = self._batch, []
        try:
            if not self._policy.dry_run:
                await self._store.delete([Key(meta.key) for meta in batch])
        except StoreError as error:
            self._tally.fail(error)
            return
        self._tally.succeed()
        self._removed += len(batch)
        self._size += sum(meta.size for meta in batch)
        for meta in batch:
            self._policy.progress.finished(meta.key, meta.size)
