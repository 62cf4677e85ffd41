"""MLflow's calls that hand out URLs: uploads in parts, and files fetched and put without the proxy."""

from __future__ import annotations

import asyncio
import ntpath
import posixpath
import re
from contextlib import suppress
from mimetypes import guess_type

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import Signer, Store
from shoso.core.types import Part, SignedRequest, UploadRef
from shoso.errors import Kind, NotFound, ShosoError, TrackingError
from shoso.metadata import models, runs
from shoso.server.locations import PROXIED, Place
from shoso.server.routes import Area, Route, call
from shoso.server.services import Services
from shoso.wire import replies, requests

EXPIRATION_MAX = 604_800
"""Seconds; what S3 and Google Cloud Storage allow at most."""

SIGNED_AT_ONCE = 50

_WINDOWS_PATH = re.compile(r"[A-Za-z]:\\|\\\\")
_SWITCH = "start the server with --direct-transfers"


def routes() -> list[Route]:
    """The calls that hand out URLs."""
    at, area = "/mlflow-artifacts", Area.ARTIFACTS
    create, complete, abort = (f"{at}/mpu/{verb}/{{folder:path}}" for verb in ("create", "complete", "abort"))
    empty, begun = replies.Empty, replies.MultipartUpload
    return [
        *call("POST", create, create_upload, requests.CreateMultipartUpload, begun, area=area),
        *call("POST", complete, complete_upload, requests.CompleteMultipartUpload, empty, area=area),
        *call("POST", abort, abort_upload, requests.AbortMultipartUpload, empty, area=area),
        *call(
            "GET",
            at + "/presigned/{path:path}",
            presign_proxied,
            requests.PresignedDownload,
            replies.PresignedObject,
            area=area,
        ),
        *call(
            "POST",
            "/mlflow/artifacts/presigned-upload-url",
            presign_upload,
            requests.PresignUpload,
            replies.PresignedUrl,
        ),
        *call(
            "POST",
            "/mlflow/artifacts/presigned-download-url",
            presign_download,
            requests.PresignDownload,
            replies.PresignedUrl,
        ),
    ]


# -- files in parts, through mlflow-artifacts ------------------------------------------------------------


async def create_upload(
    services: Services, request: requests.CreateMultipartUpload
) -> replies.MultipartUpload:
    """Begin an upload in parts and say where each is put."""
    store, key = _destination(services), _key(request.folder, request.path)
    most = store.capabilities.parts_max
    if not 1 <= request.num_parts <= most:
        message = f"'num_parts' must be between 1 and {most}; raise MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE."
        raise TrackingError(Kind.INVALID, message)
    ref = await store.uploads.begin(key, content_type=_type(key))
    try:
        signed = await _signed(services, store, ref, request.num_parts)
    except BaseException:
        with suppress(ShosoError):
            await store.uploads.abort(ref)
        raise
    credentials = [
        replies.PartCredential(part.url, number, dict(part.headers)) for number, part in enumerate(signed, 1)
    ]
    return replies.MultipartUpload(ref.id, credentials)


async def _signed(services: Services, store: Store, ref: UploadRef, count: int) -> list[SignedRequest]:
    """Where each part is put; some at once, for a signature may take a call to the storage's own signer."""
    signed: list[SignedRequest] = []
    for first in range(1, count + 1, SIGNED_AT_ONCE):
        numbers = range(first, min(first + SIGNED_AT_ONCE, count + 1))
        signed += await asyncio.gather(*(services.direct.part(store, ref, number) for number in numbers))
        await asyncio.sleep(0)  # others are served meanwhile
    return signed


async def complete_upload(services: Services, request: requests.CompleteMultipartUpload) -> replies.Empty:
    """Join the parts to the artifact; clients ask again when the reply was lost, and get it again."""
    store = _destination(services)
    ref = UploadRef(_key(request.folder, request.path), request.upload_id or "")
    named = sorted(request.parts, key=lambda part: part.part_number)
    try:
        there = {part.number: part for part in await store.uploads.parts(ref)}
    except NotFound:  # finished perhaps: then the store knows its parts, by their tags at most
        least = store.capabilities.part_min
        parts = [Part(part.part_number, least, _tag(part)) for part in named]
    else:
        parts = [_named(part, there) for part in named]
    await store.uploads.finish(ref, parts)
    return replies.Empty()


async def abort_upload(services: Services, request: requests.AbortMultipartUpload) -> replies.Empty:
    """Drop an upload and its parts; one that is gone is fine, for a client aborts whatever failed."""
    ref = UploadRef(_key(request.folder, request.path), request.upload_id or "")
    with suppress(NotFound):
        await _destination(services).uploads.abort(ref)
    return replies.Empty()


def _destination(services: Services) -> Store:
    """The destination, if it's taken in parts; the words are what MLflow's client looks for."""
    store = services.locations.destination
    if not services.direct.parts(store):
        message = f"Multipart upload is not supported for the current artifact repository; {_SWITCH}."
        raise TrackingError(Kind.UNSUPPORTED, message)
    return store


def _key(folder: str, path: str) -> Key:
    """The artifact's key: the last name of the client's own path, in the folder."""
    name = ntpath.basename(path) if _WINDOWS_PATH.match(path) else posixpath.basename(path)
    if not name:
        raise TrackingError(Kind.INVALID, "'path' must name the file that is sent.")
    return keys.join(keys.parse(folder), name)


def _named(named: requests.MultipartUploadPart, there: dict[int, Part]) -> Part:
    """The part that the client means; it must be the one that is there."""
    part, etag = there.get(named.part_number), _tag(named)
    if part is None or (etag and etag != part.etag.strip('"')):
        raise TrackingError(Kind.INVALID, f"Part {named.part_number} isn't there as named; send it again.")
    return part


def _tag(named: requests.MultipartUploadPart) -> str:
    return (named.etag or "").strip('"')


def _type(key: Key) -> str:
    return guess_type(keys.name(key))[0] or "application/octet-stream"


# -- whole files -------------------------------------------------------------------------------------------


async def presign_proxied(services: Services, request: requests.PresignedDownload) -> replies.PresignedObject:
    """Say where an artifact of the destination is fetched."""
    place = Place(services.locations.destination, keys.parse(request.path))
    seconds = services.settings.presigned_download_seconds
    signed = await _signer(services, place, "Multipart download").read(place.key, seconds)
    size = (await place.store.stat(place.key)).size
    return replies.PresignedObject(signed.url, dict(signed.headers), size)


async def presign_upload(services: Services, request: requests.PresignUpload) -> replies.PresignedUrl:
    """Say where an artifact of a run or a logged model is put."""
    place = await _place(services, request.run_id, request.model_id, request.path)
    signer = _signer(services, place, "Presigned upload")
    signed = await signer.write(place.key, _expiration(request.expiration), _type(place.key))
    return replies.PresignedUrl(signed.url, dict(signed.headers))


async def presign_download(services: Services, request: requests.PresignDownload) -> replies.PresignedUrl:
    """Say where an artifact of a run is fetched."""
    place = await _place(services, request.run_id, "", request.path)
    default = services.settings.presigned_download_seconds
    seconds = _expiration(default if request.expiration is None else request.expiration)
    signed = await _signer(services, place, "Presigned download").read(place.key, seconds)
    size = (await place.store.stat(place.key)).size
    return replies.PresignedUrl(signed.url, dict(signed.headers), size)


async def _place(services: Services, run_id: str, model_id: str, path: str) -> Place:
    if bool(run_id) == bool(model_id):
        raise TrackingError(Kind.INVALID, "Exactly one of run_id and model_id must be provided.")
    if run_id:
        uri = await services.database.read(runs.artifact_uri, run_id)
    else:
        found = await services.database.read(models.get, requests.GetLoggedModel(model_id))
        uri = found.info.artifact_uri
    scheme = uri.partition(":")[0]
    if scheme in PROXIED:
        message = (
            f"Signed URLs are for artifacts in a storage of their own, and this location is '{scheme}:'; use"
            " the server's own calls for it, or another --default-artifact-root."
        )
        raise TrackingError(Kind.INVALID, message)
    return services.locations.locate(uri, path)


def _signer(services: Services, place: Place, what: str) -> Signer:
    signer = services.direct.signer(place.store)
    if signer is None:
        message = (
            f"{what} is not supported for the current artifact repository; {_SWITCH} and a storage that"
            " signs URLs."
        )
        raise TrackingError(Kind.UNSUPPORTED, message)
    return signer


def _expiration(seconds: int) -> int:
    if not 1 <= seconds <= EXPIRATION_MAX:
        raise TrackingError(Kind.INVALID, f"'expiration' must be between 1 and {EXPIRATION_MAX} seconds.")
    return seconds
