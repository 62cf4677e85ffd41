"""Shoso's own calls: the artifacts destination as a store over HTTP, for `stores.remote`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from shoso.core import keys
from shoso.core.store import page
from shoso.core.types import Entry, ObjectMeta, Part, UploadRef
from shoso.errors import StoreError
from shoso.server.exchange import JSON_TYPE, AnyReply, Exchange, FlowReply, Reply, json_reply
from shoso.server.locations import Place
from shoso.server.routes import OWN, Area, Handler, Route, call, parse_request, raw
from shoso.server.services import Services
from shoso.server.transfers import download, received, upload, written_headers
from shoso.wire import objects, replies, requests
from shoso.wire.entities import encode

PAGE_LIMIT = 10_000

PAGE_SECONDS = 5.0
"""After so long a page is sent with what has come: who waits for it must hear something."""

_NUMBER = re.compile(r"[0-9]{1,9}")


def routes() -> list[Route]:
    """The calls of wire.objects."""
    return [
        *_call("GET", "/capabilities", capabilities, requests.Nothing, objects.CapabilitiesReply),
        *_call("GET", "/objects", list_objects, objects.ListObjects, objects.ObjectPage),
        *raw("GET", "/objects/{path:path}", get_object, roots=OWN),
        *raw("PUT", "/objects/{path:path}", put_object, roots=OWN, media=""),
        *_call("POST", "/delete", delete_objects, objects.DeleteObjects, replies.Empty),
        *raw(
            "POST",
            "/move",
            move_objects,
            roots=OWN,
            request=objects.MoveObjects,
            reply=objects.Moved,
            media="application/json",
        ),
        *_call("POST", "/uploads", begin_upload, objects.BeginUpload, objects.UploadEntry),
        *_call("GET", "/uploads", pending_uploads, objects.PendingUploads, objects.UploadList),
        *raw(
            "PUT",
            "/uploads/{id}/{number}",
            put_part,
            roots=OWN,
            asked=objects.OfUpload,
            reply=objects.PartEntry,
        ),
        *_call("GET", "/uploads/{id}", list_parts, objects.OfUpload, objects.PartList),
        *_call("POST", "/uploads/{id}", finish_upload, objects.FinishUpload, objects.ObjectEntry),
        *_call("DELETE", "/uploads/{id}", abort_upload, objects.OfUpload, replies.Empty),
    ]


async def capabilities(services: Services, request: requests.Nothing) -> objects.CapabilitiesReply:
    """What the store behind this server can do."""
    can = services.locations.destination.capabilities
    return objects.CapabilitiesReply(
        can.create,
        can.if_match,
        can.ranges,
        can.uploads.value,
        can.part_min,
        can.part_max,
        can.parts_max,
        can.sorted_list,
        can.bulk_delete,
        can.digests.value,
        services.direct.signer(services.locations.destination) is not None,
        can.move,
    )


async def list_objects(services: Services, request: objects.ListObjects) -> objects.ObjectPage:
    """A page of a listing, in the order of keys."""
    store = services.locations.destination
    limit = max(1, min(request.limit, PAGE_LIMIT))
    prefix = keys.parse(request.prefix)
    found, after = await page(
        store, prefix, deep=request.deep, after=request.after, limit=limit, seconds=PAGE_SECONDS
    )
    return objects.ObjectPage([object_entry(entry) for entry in found], after)


async def get_object(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Send an object, whole or by ranges."""
    return await download(exchange, _place(services, params["path"]))


async def put_object(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Keep an object."""
    meta = await upload(exchange, _place(services, params["path"]))
    return Reply(200, written_headers(meta))


async def delete_objects(services: Services, request: objects.DeleteObjects) -> replies.Empty:
    """Delete these objects; missing is fine."""
    await services.locations.destination.delete([keys.parse(key) for key in request.keys])
    return replies.Empty()


async def move_objects(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Give objects other keys, replacing what is there; one that has been moved already is fine."""
    request: objects.MoveObjects = await parse_request(exchange, objects.MoveObjects, params)
    moves = [(keys.parse(move.source), keys.parse(move.target)) for move in request.moves]
    return FlowReply(200, [JSON_TYPE], told_in_time(services.locations.destination.move(moves)))


async def told_in_time(moving: Coroutine[Any, Any, None]) -> AsyncIterator[bytes]:
    """A blank now and then while it goes on, then its end; an error before the first blank is raised.

    A storage may copy a large object for longer than a client waits for a word.
    """
    task = asyncio.ensure_future(moving)
    silent, failure = True, None
    try:
        while not (await asyncio.wait([task], timeout=PAGE_SECONDS))[0]:
            silent = False
            yield b" "
        try:
            await task
        except StoreError as error:
            if silent:
                raise
            failure = objects.FailureEntry(error.key, error.kind.value, error.message)
        yield encode(objects.Moved(failure))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def begin_upload(services: Services, request: objects.BeginUpload) -> objects.UploadEntry:
    """Begin an upload in parts."""
    uploads = services.locations.destination.uploads
    ref = await uploads.begin(
        keys.parse(request.key), request.size_hint, request.content_type, request.part_size
    )
    return objects.UploadEntry(ref.key, ref.id)


async def pending_uploads(services: Services, request: objects.PendingUploads) -> objects.UploadList:
    """The uploads under way below a prefix."""
    pending = services.locations.destination.uploads.pending(keys.parse(request.prefix))
    return objects.UploadList([objects.UploadEntry(ref.key, ref.id, ref.begun) async for ref in pending])


async def put_part(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Keep a part."""
    key = dict(exchange.query()).get("key", "")
    ref = UploadRef(keys.parse(key), params["id"])
    number = int(params["number"]) if _NUMBER.fullmatch(params["number"]) else 0
    part = await services.locations.destination.uploads.put(ref, number, await received(exchange))
    reply = json_reply(_part(part))
    reply.headers.append((b"etag", f'"{part.etag}"'.encode()))  # what MLflow's client names the part by
    return reply


async def list_parts(services: Services, request: objects.OfUpload) -> objects.PartList:
    """The parts that are really there."""
    ref = UploadRef(keys.parse(request.key), request.id)
    return objects.PartList([_part(part) for part in await services.locations.destination.uploads.parts(ref)])


async def finish_upload(services: Services, request: objects.FinishUpload) -> objects.ObjectEntry:
    """Join the named parts to the object."""
    ref = UploadRef(keys.parse(request.key), request.id)
    parts = [Part(part.number, part.size, part.etag, part.digest) for part in request.parts]
    return object_entry(await services.locations.destination.uploads.finish(ref, parts, request.digest))


async def abort_upload(services: Services, request: objects.OfUpload) -> replies.Empty:
    """Drop an upload and its parts."""
    await services.locations.destination.uploads.abort(UploadRef(keys.parse(request.key), request.id))
    return replies.Empty()


def _call(method: str, path: str, handler: Handler, request: type, reply: type) -> list[Route]:
    return call(method, path, handler, request, reply, roots=OWN, area=Area.ARTIFACTS)


def _place(services: Services, path: str) -> Place:
    return Place(services.locations.destination, keys.parse(path))


def object_entry(entry: Entry) -> objects.ObjectEntry:
    """An object, or a folder, as it travels."""
    if not isinstance(entry, ObjectMeta):
        return objects.ObjectEntry(entry.key)
    return objects.ObjectEntry(
        entry.key, entry.size, entry.modified, entry.etag, entry.digest, entry.content_type
    )


def _part(part: Part) -> objects.PartEntry:
    return objects.PartEntry(part.number, part.size, part.etag, part.digest, part.modified)
