"""Both ends side by side: each object to copy with what the destination has of it, as the listings stream."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from shoso.core.keys import Key, contains, join, name
from shoso.core.store import Store, find
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.errors import Forbidden, Kind, store_error
from shoso.transfer.ahead import Ahead
from shoso.transfer.selection import Selection

_log = logging.getLogger("shoso.transfer")
_UNSEEN = "%s What is to be copied is sent, whatever is there already."

Found = tuple[str, ObjectMeta]
"""An object, by its path below the folder that is listed."""

Pair = tuple[str, ObjectMeta, ObjectMeta | None]
"""The path below the selection ("" for a selected object), the object, and what is there of it."""


def target(selection: Selection, path: str) -> Key:
    """Where the object at `path` goes. Raises INVALID_KEY."""
    return join(selection.to, path) if path else selection.to or Key(name(selection.key))


async def pairs(src: Store, dst: Store, selection: Selection) -> AsyncIterator[Pair]:
    """Everything selected.

    Raises NOT_FOUND where there is neither an object nor a folder of that key, INVALID where a folder would
    be copied into itself, or an object onto itself.
    """
    single = await find(src, selection.key) if selection.key else None
    to = target(selection, "") if single is not None else selection.to
    _require_apart(_place(src, selection.key), _place(dst, to))
    if single is not None:
        yield "", single, await _there(dst, to)
        return
    wanted = selection.filter()
    async with (
        aclosing(Ahead(_source(src, selection.key))) as found,
        aclosing(Ahead(_destination(dst, selection.to))) as there,
        closing(_beside(aiter(found), aiter(there), src, dst)) as both,
    ):
        async for pair in both:
            if wanted(pair[0]):
                yield pair


async def _there(dst: Store, key: Key) -> ObjectMeta | None:
    try:
        return await find(dst, key)
    except Forbidden as error:
        _log.info(_UNSEEN, error.message)
        return None


def _place(store: Store, key: Key) -> Key:
    """Where that is, comparable between stores of one storage."""
    return Key(f"{store.info.name}/{key}".rstrip("/"))


def _require_apart(source: Key, destination: Key) -> None:
    if contains(source, destination):
        message = f"'{source}' can't be copied to '{destination}', which is the same or lies in it."
        raise store_error(Kind.INVALID, message, op="copy")


async def _source(store: Store, folder: Key) -> AsyncIterator[Found]:
    """The objects of a folder, which is there; only the root may be empty."""
    nothing = True
    async with closing(_below(store, folder)) as found:
        async for each in found:
            nothing = False
            yield each
    if nothing and folder:
        await store.stat(folder)  # says in the store's words that it isn't there


async def _destination(store: Store, folder: Key) -> AsyncIterator[Found]:
    """What is there already; nothing where that may not be known."""
    try:
        async with closing(_below(store, folder)) as found:
            async for each in found:
                yield each
    except Forbidden as error:
        _log.info(_UNSEEN, error.message)


async def _below(store: Store, folder: Key) -> AsyncIterator[Found]:
    cut = len(folder) + 1 if folder else 0
    async with closing(store.list(folder, deep=True)) as found:
        async for meta in found:
            if isinstance(meta, ObjectMeta):
                yield meta.key[cut:], meta


def _beside(
    found: AsyncIterator[Found], there: AsyncIterator[Found], src: Store, dst: Store
) -> AsyncIterator[Pair]:
    both = src.capabilities.sorted_list and dst.capabilities.sorted_list
    return _merged(found, there) if both else _looked_up(found, there)


async def _merged(found: AsyncIterator[Found], there: AsyncIterator[Found]) -> AsyncIterator[Pair]:
    """Both in the order of keys: one object of each is in memory."""
    other = await anext(there, None)
    async for path, meta in found:
        while other is not None and other[0] < path:
            other = await anext(there, None)
        yield path, meta, other[1] if other is not None and other[0] == path else None


async def _looked_up(found: AsyncIterator[Found], there: AsyncIterator[Found]) -> AsyncIterator[Pair]:
    """Where one has no order, what is there is held in memory."""
    known = {path: meta async for path, meta in there}
    async for path, meta in found:
        yield path, meta, known.get(path)
