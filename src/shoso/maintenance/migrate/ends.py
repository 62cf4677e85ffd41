"""The two places of a move, and what is copied and compared between them: folders of runs and models only."""

from __future__ import annotations

import os.path
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from shoso.client.places import Place
from shoso.client.policy import policy
from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.core.store import Store, is_folder
from shoso.core.streams import closing
from shoso.core.types import Entry
from shoso.errors import Forbidden, NotFound
from shoso.layers.layer import Layer
from shoso.maintenance.estate import Estate
from shoso.maintenance.migrate.renaming import Renaming, overlap, refuse_overlap
from shoso.metadata.relocating import common
from shoso.transfer import (
    Comparison,
    CopyError,
    Policy,
    Progress,
    Report,
    Selection,
    Silent,
    Unchanged,
    compare,
    copy,
)
from shoso.transfer.agreement import Agreed, Judge

NOTHING = Report(0, 0, 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Ends:
    """Where artifacts come from and go to, and how they are copied."""

    source: Place
    target: Place
    policy: Policy

    @classmethod
    async def open(cls, estate: Estate, renaming: Renaming, progress: Progress | None = None) -> Ends:
        """Both places. Raises ConfigError where one lies in the other, StoreError."""
        source, target = await estate.place(renaming.source), await estate.place(renaming.target)
        if overlap(_whole(source), _whole(target)):
            raise refuse_overlap(renaming.source, renaming.target)
        return cls(source, target, policy(estate.client, source.store, progress or Silent()))

    async def require_target(self) -> None:
        """Raise the StoreError of a target that can't be reached; one that may not be listed can be."""
        with suppress(Forbidden):
            await is_folder(self.target.store, self.target.key)

    @property
    def reverse(self) -> Ends:
        """The way back."""
        return Ends(self.target, self.source, self.policy)

    async def carry(self, folders: Collection[Key], *, keep: bool = False, dry_run: bool = False) -> Report:
        """Copy these folders; `keep` what was written later at the target. Raises StoreError, CopyError."""
        if not folders:
            return NOTHING
        chosen = replace(self.policy, unchanged=Unchanged.KEEP if keep else Unchanged.SKIP, dry_run=dry_run)
        view, selection = self._view(folders)
        try:
            return await copy(view, self.target.store, selection, chosen)
        except CopyError:
            raise
        except NotFound:
            if await _is_empty(view, selection.key):
                return NOTHING
            raise

    async def agree(
        self, folders: Collection[Key], superseded: Judge | None = None, agreed: Agreed | None = None
    ) -> Comparison:
        """Look whether the target has all of these folders; see `transfer.compare`."""
        if not folders:
            return Comparison()
        view, selection = self._view(folders)
        told = {"superseded": superseded, "agreed": agreed}
        known = {name: value for name, value in told.items() if value is not None}
        try:
            return await compare(view, self.target.store, selection, self.policy, **known)  # type: ignore[arg-type]
        except NotFound:
            if await _is_empty(view, selection.key):
                return Comparison()
            raise

    def _view(self, folders: Collection[Key]) -> tuple[Store, Selection]:
        """The source with nothing else in it, and the folder that all of them lie in."""
        shared = common(folders)
        selection = Selection(keys.join(self.source.key, shared), keys.join(self.target.key, shared))
        return Only(self.source.store, {keys.join(self.source.key, one) for one in folders}), selection


class Only(Layer):
    """A store in which nothing is listed but what lies in these folders."""

    def __init__(self, inner: Store, folders: Collection[Key]) -> None:
        super().__init__(inner)
        self._folders = frozenset(folders)

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; whole folders are left out, and none is listed that has some of these below it."""
        async with closing(super().list(prefix, deep, after)) as found:
            async for entry in found:
                if within(entry.key, self._folders):
                    yield entry


def within(key: Key, folders: Collection[Key]) -> bool:
    """Whether the key lies in one of the folders, or is one."""
    while key:
        if key in folders:
            return True
        key = keys.parent(key)
    return key in folders


async def _is_empty(store: Store, folder: Key) -> bool:
    async with closing(store.list(folder, deep=True)) as found:
        return await anext(found, None) is None


def _whole(place: Place) -> Key:
    """Where that is, comparable between stores; links in local paths are followed."""
    name = place.store.info.name
    if locations.is_local(name):
        return Key(os.path.realpath(os.path.join(name, place.key)).strip("/"))  # noqa: PTH118
    return Key(f"{name}/{place.key}".rstrip("/"))
