"""What a URI names on the command line: an artifact, a folder, or a root; and where a copy of it goes."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import click

from shoso import errors
from shoso.client.places import Place, is_root
from shoso.core.keys import Key, below, contains, join, name
from shoso.core.locations import is_local, local_path, shown
from shoso.core.store import is_folder
from shoso.errors import NotFound, StoreError, store_error


class Kind(enum.Enum):
    """What there is at a place."""

    OBJECT = "object"
    FOLDER = "folder"


async def look(uri: str, place: Place) -> Kind:
    """What there is; a root is a folder, also an empty one. Raises NOT_FOUND where there is nothing."""
    if is_root(uri, place):
        return Kind.FOLDER
    try:
        await place.store.stat(place.key)
    except NotFound:
        if await is_folder(place.store, place.key):
            return Kind.FOLDER
        raise nothing(uri) from None
    return Kind.OBJECT


def nothing(uri: str) -> StoreError:
    """The error of a URI that leads to nothing."""
    return store_error(errors.Kind.NOT_FOUND, f"There is nothing at '{shown(uri)}'.")


async def target(uri: str, place: Place, source: Place, kind: Kind) -> Key:
    """The key that a copy gets: a folder becomes what the URI names; an artifact too, or goes into it.

    It goes into what is a folder, is called one by a slash at its end, or is a root.
    """
    if kind is Kind.FOLDER:
        return place.key
    if await _is_folder(uri, place):
        return join(place.key, name(source.key))
    return place.key


async def _is_folder(uri: str, place: Place) -> bool:
    if uri.endswith("/") or is_root(uri, place):
        return True
    if is_local(uri):
        return local_path(uri).is_dir()
    return await is_folder(place.store, place.key)


def require_recursive(uri: str, kind: Kind, recursive: bool) -> None:
    """Refuse a folder that nobody has called one."""
    if kind is Kind.FOLDER and not recursive:
        raise click.ClickException(f"'{shown(uri)}' is a folder; add -r for all that is in it.")


def require_removable(uri: str, place: Place, include: Sequence[str]) -> None:
    """Refuse to delete a root: what is in it has to be named."""
    if is_root(uri, place) and not include:
        message = (
            f"'{shown(uri)}' is a root, which isn't deleted as a whole; name what is in it, or --include it."
        )
        raise click.ClickException(message)


def path_of(key: Key, folder: Key) -> str:
    """A key as seen from a folder; from itself, or elsewhere, it's its name."""
    inside = contains(folder, key) and below(key, folder)
    return inside or name(key)
