"""The two places of a move, and what is copied and compared between them: folders of runs and models only."""

from __future__ import annotations

import os.path
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing as closing_now
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from shoso.client.places import Place
from shoso.client.policy import policy
from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.core.store import Store, is_folder
from shoso.core.streams import closing
from shoso.core.types import Entry, ObjectMeta
from shoso.errors import ConfigError, Forbidden, NotFound, StoreError
from shoso.maintenance.estate import DESTINATION, Estate
from shoso.maintenance.folder import AsFolder
from shoso.maintenance.migrate.book import Book, Find
from shoso.maintenance.migrate.renaming import Renaming, overlap, refuse_overlap
from shoso.metadata.connect import Database
from shoso.metadata.relocating import common
from shoso.transfer import (
    Comparison,
    CopyError,
    Policy,
    Progress,
    Report,
    Selection,
    Settle,
    Settled,
    Silent,
    compare,
    copy,
)
from shoso.transfer.comparison import near
from shoso.transfer.journal import Done
from shoso.transfer.listing import pairs
from shoso.transfer.shelf import open_journal

NOTHING = Report(0, 0, 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Ends:
    """Where artifacts come from and go to, and how they are copied; `back` is the way of a rollback."""

    source: Place
    target: Place
    policy: Policy
    back: bool = False

    @classmethod
    async def open(cls, estate: Estate, renaming: Renaming, progress: Progress | None = None) -> Ends:
        """Both places. Raises ConfigError where one lies in the other, or may for all we know; StoreError."""
        for uri in (renaming.source, renaming.target):
            if estate.is_served(uri):
                raise _served(uri)
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
        return Ends(self.target, self.source, self.policy, not self.back)

    def book(self, database: Database, number: int, renaming: Renaming) -> Book:
        """What is known of the objects of an experiment, as seen from the source here."""
        origin = self.target if self.back else self.source
        return Book(database, number, renaming, self.back, near(origin.store))

    async def carry(
        self, folders: Collection[Key], *, over: Mapping[Key, str] | None = None, dry_run: bool = False
    ) -> Report:
        """Copy these folders; or of the objects in them those of `over`, each over that version alone.

        Raises StoreError, CopyError.
        """
        if not folders:
            return NOTHING
        view, selection, shared = self._view(folders, over)
        below = {keys.below(path, shared): version for path, version in (over or {}).items()}
        chosen = replace(self.policy, over=None if over is None else below, dry_run=dry_run)
        try:
            return await copy(view, self.target.store, selection, chosen)
        except CopyError:
            raise
        except NotFound:
            if await _is_empty(view, selection.key):
                return NOTHING
            raise

    async def agree(
        self,
        folders: Collection[Key],
        book: Book,
        settle: Settle | None = None,
        only: Collection[Key] | None = None,
    ) -> Comparison:
        """Look whether the target has these folders, or `only` these objects of them; see `transfer.compare`.

        What is the same is noted in the book; `settle` is told paths below both ends. Raises StoreError.
        """
        if not folders:
            return Comparison()
        view, selection, shared = self._view(folders, only)

        async def recall(paths: Sequence[str]) -> Sequence[Done | None]:
            return await book.recall([keys.join(shared, Key(path)) for path in paths], journal)

        async def told(group: Sequence[Settled]) -> Sequence[bool]:
            found = [one._replace(path=keys.join(shared, Key(one.path))) for one in group]
            if settle is None:
                await book.note(found)
                return [one.same for one in found]
            return await settle(found)

        with self.journal(folders) as journal:
            try:
                return await compare(
                    view, self.target.store, selection, self._reading, recall=recall, settle=told
                )
            except NotFound:
                if await _is_empty(view, selection.key):
                    return Comparison()
                raise

    async def alone(self, folders: Collection[Key]) -> AsyncIterator[tuple[Key, ObjectMeta]]:
        """The objects in these folders that the target lacks, by their paths below both ends."""
        view, selection, shared = self._view(folders)
        if await _is_empty(view, selection.key):
            return
        async with closing(pairs(view, self.target.store, selection)) as found:
            async for path, meta, there in found:
                if there is None:
                    yield keys.join(shared, Key(path)), meta

    async def is_empty(self, folders: Collection[Key]) -> bool:
        """Whether there is nothing at the source."""
        view, selection, _ = self._view(folders)
        return await _is_empty(view, selection.key)

    @contextmanager
    def journal(self, folders: Collection[Key]) -> Iterator[Find]:
        """What this machine has copied of these folders there, whichever way this goes."""
        if self.back:
            with self.reverse.journal(folders) as journal:
                yield journal
            return
        view, selection, shared = self._view(folders)
        with closing_now(open_journal(self.policy.journal, view, self.target.store, selection)) as journal:
            yield lambda path: journal.find(keys.below(path, shared))

    @property
    def _reading(self) -> Policy:
        """For a comparison, which has the journal from here."""
        return replace(self.policy, journal=None)

    def _view(
        self, folders: Collection[Key], only: Collection[Key] | None = None
    ) -> tuple[Store, Selection, Key]:
        """The source with nothing else in it; what is chosen there: the folder that all of them lie in."""
        shared = common(folders if only is None else map(keys.parent, only))
        selection = Selection(keys.join(self.source.key, shared), keys.join(self.target.key, shared))
        seen = {keys.join(self.source.key, one) for one in (folders if only is None else only)}
        return Only(self.source.store, seen, selection.key), selection, shared


class Only(AsFolder):
    """A store in which nothing is listed but what lies in these folders, and `top` is a folder."""

    def __init__(self, inner: Store, folders: Collection[Key], top: Key) -> None:
        super().__init__(inner, top)
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


def unseen(place: Place, folders: Iterable[Key]) -> list[Key]:
    """Those of the folders of this machine with files whose names no key can have: no store lists them."""
    if not locations.is_local(place.store.info.name):
        return []
    return [folder for folder in folders if _has_unseen(place, folder)]


def _has_unseen(place: Place, folder: Key) -> bool:
    root = place.store.info.name
    found = os.walk(os.path.join(root, place.key, folder))  # noqa: PTH118
    paths = (f"{inside}/{name}" for inside, _, names in found for name in names)
    return not all(_is_key(path.removeprefix(root).lstrip("/")) for path in paths)


def _is_key(text: str) -> bool:
    try:
        keys.parse(text)
    except StoreError:
        return False
    return True


async def _is_empty(store: Store, folder: Key) -> bool:
    async with closing(store.list(folder, deep=True)) as found:
        return await anext(found, None) is None


def _served(uri: str) -> ConfigError:
    """A server deletes what is being moved at both places, and its storage may be the other place itself."""
    message = (
        f"isn't named, and '{locations.shown(uri)}' is reached through a server. To move artifacts takes the"
        " folder or storage that the server was started with; name it."
    )
    return ConfigError(DESTINATION, message)


def _whole(place: Place) -> Key:
    """Where that is, comparable between stores; links in local paths are followed."""
    name = place.store.info.name
    if locations.is_local(name):
        return Key(os.path.realpath(os.path.join(name, place.key)).strip("/"))  # noqa: PTH118
    return Key(f"{name}/{place.key}".rstrip("/"))
