"""Many objects in one call: a tar comes in and its files are kept; one goes out, made while it's sent.

Small objects go to the storage in groups, of bounded number and bytes; a large one passes by itself, as it
comes. Each file of a tar is an object that stands or fails by itself.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from shoso.core import keys
from shoso.core.batches import SMALL, read_many, write_many
from shoso.core.keys import ROOT, Key
from shoso.core.store import Store, is_folder
from shoso.core.streams import StreamSource, closing
from shoso.core.types import Buffer, Entry, ObjectMeta, SmallObject
from shoso.errors import Kind, NotFound, StoreError, TrackingError, store_error
from shoso.layers import rooted
from shoso.server.exchange import AnyReply, Exchange, FlowReply, Header, json_reply
from shoso.server.objects import object_entry
from shoso.server.routes import OWN, Route, parse_request, raw
from shoso.server.services import Services
from shoso.server.transfers import disposition
from shoso.wire import objects, tar
from shoso.wire.decode import decode_query

WRITE_SIZE = 8 * 1024 * 1024
"""Bytes of small objects that are held until they are written together."""

WRITE_COUNT = 512

READ_COUNT = 32
"""Objects that are read together: each may have SMALL bytes, whatever was expected."""

READ_SIZE = 4 * 1024 * 1024

T = TypeVar("T")
Member = SmallObject | ObjectMeta | StoreError
"""A file of a tar: with its bytes, or large, or one that can't be kept."""

_TAR: Header = (b"content-type", objects.TAR_TYPE.encode())

_log = logging.getLogger("shoso.server")


def routes() -> list[Route]:
    """The calls of wire.objects that are about many objects."""
    media = objects.TAR_TYPE
    return [
        *raw("POST", "/objects", write_objects, roots=OWN, asked=objects.OfFolder, reply=objects.Outcomes),
        *raw("POST", "/read", read_objects, roots=OWN, request=objects.ReadObjects, media=media),
        *raw("GET", "/tar", read_folder, roots=OWN, asked=objects.OfFolder, media=media),
        *raw("PUT", "/tar", write_folder, roots=OWN, asked=objects.OfFolder, reply=objects.FolderWritten),
    ]


# -- in ---------------------------------------------------------------------------------------------------


async def write_objects(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Keep the files of a tar below a prefix, and say of each what became of it."""
    entries: list[objects.OutcomeEntry] = []
    async for outcome in _kept(services.locations.destination, exchange):
        if len(entries) == objects.MOST:
            message = f"The tar has more than {objects.MOST} files; send it in pieces, or by PUT."
            raise TrackingError(Kind.INVALID, message)
        entries.append(_outcome_entry(outcome))
    return json_reply(objects.Outcomes(entries))


async def write_folder(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Keep the files of a tar below a prefix; an error if one of them can't be kept, when all were tried."""
    count = size = failed = 0
    first: StoreError | None = None
    async for outcome in _kept(services.locations.destination, exchange):
        if isinstance(outcome, ObjectMeta):
            count, size = count + 1, size + outcome.size
        else:
            first, failed = first or outcome, failed + 1
    if first is not None:
        message = f"Of {count + failed} files {failed} couldn't be kept, the first: {first.message}"
        raise store_error(first.kind, message, op="write", key=first.key)
    return json_reply(objects.FolderWritten(count, size))


async def _kept(store: Store, exchange: Exchange) -> AsyncIterator[ObjectMeta | StoreError]:
    """What became of each file of the tar in the body, in its order."""
    prefix = keys.parse(decode_query(exchange.query(), objects.OfFolder).prefix)
    async with closing(exchange.stream()) as stream:
        reader = tar.Reader(stream, prefix)
        async for group in _grouped(_members(reader), _size, WRITE_COUNT, WRITE_SIZE):
            for outcome in await _write(store, reader, group):
                if isinstance(outcome, StoreError):
                    _tell(exchange, outcome)
                yield outcome


async def _members(reader: tar.Reader) -> AsyncIterator[Member]:
    while (found := await reader.next()) is not None:
        if isinstance(found, ObjectMeta) and found.size <= SMALL:
            yield SmallObject(found, await reader.whole())
        else:
            yield found


async def _write(store: Store, reader: tar.Reader, group: Sequence[Member]) -> list[ObjectMeta | StoreError]:
    """What became of a group: of a large object, whose bytes are still to come, or of small ones."""
    if isinstance(group[0], ObjectMeta):
        return [await _write_large(store, reader, group[0])]
    written = iter(await write_many(store, [each for each in group if isinstance(each, SmallObject)]))
    return [each if isinstance(each, StoreError) else next(written) for each in group]


async def _write_large(store: Store, reader: tar.Reader, meta: ObjectMeta) -> ObjectMeta | StoreError:
    source = StreamSource(reader.open(), meta.size, meta.digest)
    try:
        return await store.write(meta.key, source, content_type=meta.content_type)
    except StoreError as error:
        return error


# -- out --------------------------------------------------------------------------------------------------


async def read_objects(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Send small objects as a tar, in the order of the keys; an error stands in the place of its object."""
    request: objects.ReadObjects = await parse_request(exchange, objects.ReadObjects, params)
    if len(request.keys) > objects.MOST:
        raise TrackingError(Kind.INVALID, f"More than {objects.MOST} keys; ask for them in pieces.")
    wanted = [keys.parse(key) for key in request.keys]
    if ROOT in wanted:
        raise TrackingError(Kind.INVALID_KEY, "The path is empty: name an artifact.")
    return FlowReply(200, [_TAR], _objects(services.locations.destination, exchange, wanted))


async def _objects(store: Store, exchange: Exchange, wanted: Sequence[Key]) -> AsyncIterator[Buffer]:
    for start in range(0, len(wanted), READ_COUNT):
        group = wanted[start : start + READ_COUNT]
        pieces: list[Buffer] = []
        for key, found in zip(group, await read_many(store, group), strict=True):
            if isinstance(found, SmallObject):
                pieces += _packed(found)
            else:
                _tell(exchange, found)
                pieces.append(tar.failed(key, found))
        yield b"".join(pieces)
    yield tar.END


async def read_folder(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Send all that lies below a prefix as a tar, the names as seen from there."""
    prefix = keys.parse(decode_query(exchange.query(), objects.OfFolder).prefix)
    store = services.locations.destination
    await _require_folder(store, prefix)
    headers = [_TAR, (b"content-disposition", disposition(f"{keys.name(prefix) or 'artifacts'}.tar"))]
    return FlowReply(200, headers, _folder(rooted(store, prefix)))


async def _require_folder(store: Store, prefix: Key) -> None:
    """Raise NOT_FOUND where nothing lies below `prefix`; the root may be empty."""
    if prefix and not await is_folder(store, prefix):
        message = f"'{prefix}' is no folder: nothing lies below it."
        raise store_error(Kind.NOT_FOUND, message, op="list", key=prefix)


async def _folder(store: Store) -> AsyncIterator[Buffer]:
    """All objects of a store as a tar; what goes away meanwhile isn't in it."""
    listed = store.list(ROOT, deep=True)
    async with closing(_grouped(listed, _size, READ_COUNT, READ_SIZE)) as groups:
        async for group in groups:
            if _size(group[0]) <= SMALL:
                yield await _small(store, [entry.key for entry in group])
                continue
            async with closing(_large(store, group[0].key)) as body:
                async for data in body:
                    yield data
    yield tar.END


async def _small(store: Store, wanted: Sequence[Key]) -> bytes:
    pieces: list[Buffer] = []
    for found in await read_many(store, wanted):
        if isinstance(found, SmallObject):
            pieces += _packed(found, own=False)
        elif found.kind is not Kind.NOT_FOUND:
            raise found
    return b"".join(pieces)


async def _large(store: Store, key: Key) -> AsyncIterator[Buffer]:
    try:
        reading = await store.read(key)
    except NotFound:
        return
    async with reading:
        yield tar.head(reading.meta, own=False)
        async for data in reading.body:
            yield data
        yield tar.tail(reading.meta.size)


def _packed(found: SmallObject, own: bool = True) -> tuple[Buffer, ...]:
    return tar.head(found.meta, own), found.data, tar.tail(found.meta.size)


# -- both -------------------------------------------------------------------------------------------------


async def _grouped(
    found: AsyncIterator[T], size_of: Callable[[T], int], count: int, size: int
) -> AsyncIterator[list[T]]:
    """Small ones together, at most `count` and `size` bytes of them; a large one alone; in their order."""
    group: list[T] = []
    held = 0
    async with closing(found):
        async for each in found:
            large = size_of(each) > SMALL
            if group and (large or len(group) == count or held + size_of(each) > size):
                yield group
                group, held = [], 0
            group.append(each)
            held += size_of(each)
            if large:
                yield group
                group, held = [], 0
    if group:
        yield group


def _size(each: Member | Entry) -> int:
    if isinstance(each, SmallObject):
        return len(each.data)
    return each.size if isinstance(each, ObjectMeta) else 0


def _tell(exchange: Exchange, error: StoreError) -> None:
    """Log what nobody expects; the client is told of each anyway."""
    if error.kind is Kind.UNEXPECTED:
        _log.error("%s: %s", exchange.route, error)


def _outcome_entry(outcome: ObjectMeta | StoreError) -> objects.OutcomeEntry:
    if isinstance(outcome, ObjectMeta):
        return objects.OutcomeEntry(written=object_entry(outcome))
    failure = objects.FailureEntry(outcome.key, outcome.kind.value, outcome.message)
    return objects.OutcomeEntry(failure=failure)
