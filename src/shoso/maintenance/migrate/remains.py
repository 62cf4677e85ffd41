"""What is at the target without being at the source: copies of what is gone there, and what nobody copied.

All of it looks back: `ends` and `book` are those of the way from the target to the source.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from shoso.core.keys import Key
from shoso.core.store import DELETE_BATCH
from shoso.core.streams import grouped
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, store_error
from shoso.maintenance.migrate.book import Book, Origin, is_still
from shoso.maintenance.migrate.ends import Ends
from shoso.transfer import Settled

Found = tuple[Key, ObjectMeta]
"""An object at the target, by its path below both ends."""


async def look(ends: Ends, book: Book, folders: Collection[Key], *, first: bool) -> None:
    """Raise EXISTS for an object at the target that no move has put there, where another one would go.

    The `first` time, before anything is copied there, what is in nobody's way is noted.
    """
    if not folders or await ends.is_empty(folders):
        return
    in_the_way: list[str] = []

    async def settle(group: Sequence[Settled]) -> Sequence[bool]:
        strange = [one for one in group if not _is_known(one)]
        harmless = [one for one in strange if one.same or one.there is None]
        in_the_way.extend(one.path for one in strange if one not in harmless)
        if first:
            await book.note_before(harmless)
        return [True] * len(group)

    await ends.agree(folders, book, settle)
    if in_the_way:
        raise _in_the_way(in_the_way)


async def weed(
    ends: Ends, book: Book, folders: Collection[Key], still: Callable[[], Awaitable[None]]
) -> set[str]:
    """Delete the copies of what is gone at the source; the paths of what no move has put there, and stays.

    `still` raises where nothing may be deleted any more.
    """
    kept: set[str] = set()
    with ends.journal(folders) as journal:
        async for some in grouped(ends.alone(folders), DELETE_BATCH):
            told = [*zip(some, await book.origins(some, journal), strict=True)]
            going = [meta.key for (_, meta), origin in told if origin is Origin.COPIED]
            kept |= {path for (path, _), origin in told if origin is not Origin.COPIED}
            await still()
            await ends.source.store.delete(going)
    return kept


async def origins(book: Book, group: Sequence[Settled]) -> list[Origin]:
    """Where each of these at the target came from, in the version that it has."""
    found = await book.origins([_found(one) for one in group])
    return [
        Origin.COPIED if origin is Origin.UNKNOWN and _is_known(one) else origin
        for one, origin in zip(group, found, strict=True)
    ]


def _is_known(one: Settled) -> bool:
    """Whether it is as somebody noted it, before a move or since."""
    return one.done is not None and is_still(one.meta, one.done.source, one.done.digest)


def _found(one: Settled) -> Found:
    return Key(one.path), one.meta


def _in_the_way(paths: Sequence[str]) -> Exception:
    first = min(paths)
    message = (
        f"{len(paths)} objects at the target are other ones than at the source, and nobody knows of a move"
        f" that has put them there, '{first}' among them; they stay as they are. Move them away, or name"
        " another --to."
    )
    return store_error(Kind.EXISTS, message, op="migrate", key=Key(first))
