"""What is at a URI, entry by entry, and an artifact's bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import click

from shoso.cli.places import Kind, look, path_of
from shoso.cli.session import Session
from shoso.cli.shapes import Listed
from shoso.cli.words import moment, printable
from shoso.client import blocking
from shoso.client.places import Place
from shoso.core.amounts import size
from shoso.core.keys import Key, below, join, parse
from shoso.core.locations import shown
from shoso.core.streams import closing
from shoso.core.types import Buffer, Entry, Prefix
from shoso.transfer.selection import Selection
from shoso.wire.entities import FileInfo


def listed(opened: Session, uri: str, selection: Selection, recursive: bool) -> Iterator[Listed]:
    """The entries of a folder, or the artifact itself. Raises NOT_FOUND where there is nothing."""
    place = blocking.run(opened.places.find(uri))
    wanted = selection.filter()
    for entry in blocking.iterate(_entries(uri, place, recursive)):
        path = path_of(entry.key, place.key)
        if wanted(path):
            yield _shown(entry, path)


async def _entries(uri: str, place: Place, recursive: bool) -> AsyncIterator[Entry]:
    if await look(uri, place) is Kind.OBJECT:
        yield await place.store.stat(place.key)
        return
    async with closing(place.store.list(place.key, deep=recursive)) as found:
        async for entry in found:
            yield entry


def _shown(entry: Entry, path: str) -> Listed:
    if isinstance(entry, Prefix):
        return Listed(path, "folder")
    return Listed(path, "file", entry.size, moment(entry.modified), entry.digest)


def file_infos(opened: Session, run_id: str, folder: str | None) -> list[FileInfo]:
    """A folder of a run as MLflow lists it: by paths as seen from the run; nothing where nothing is."""
    path = parse((folder or "").strip("/"))
    place = blocking.run(opened.places.find(f"runs:/{run_id}/{path}".rstrip("/")))
    entries = blocking.iterate(place.store.list(place.key))
    return [_info(entry, join(path, below(entry.key, place.key))) for entry in entries]


def _info(entry: Entry, path: Key) -> FileInfo:
    return FileInfo(path, True) if isinstance(entry, Prefix) else FileInfo(path, False, entry.size)


def line(entry: Listed, long: bool) -> str:
    """The entry for people: its path, a folder's with a slash; before it size and time."""
    path = printable(entry.path) + ("/" if entry.type == "folder" else "")
    known = size(entry.size) if entry.size is not None else ""
    return f"{known:>10}  {entry.modified or '':20}  {path}" if long else path


def content(opened: Session, uri: str) -> Iterator[Buffer]:
    """The bytes of an artifact, verified where it has a digest. Raises NOT_FOUND."""
    return blocking.iterate(_content(opened, uri))


async def _content(opened: Session, uri: str) -> AsyncIterator[Buffer]:
    place = await opened.places.find(uri)
    if await look(uri, place) is Kind.FOLDER:
        raise click.ClickException(f"'{shown(uri)}' is a folder; name an artifact in it.")
    async with await place.store.read(place.key) as reading:
        async for data in reading.body:
            yield data
