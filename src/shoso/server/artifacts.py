"""Artifacts as MLflow's clients move them: the proxy under mlflow-artifacts, and by run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shoso.core import keys
from shoso.core.store import delete_tree, is_folder
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, NotFound, TrackingError
from shoso.metadata import runs
from shoso.server.exchange import AnyReply, Exchange, Header, Reply, json_reply
from shoso.server.locations import Place
from shoso.server.routes import Area, Route, call, parse_request, raw, subject_of
from shoso.server.services import Services
from shoso.server.transfers import download, upload, written_headers
from shoso.wire import replies, requests
from shoso.wire.decode import decode_query, missing
from shoso.wire.entities import FileInfo

UPLOAD_LIMIT = 10 * 1024 * 1024
"""Bytes of an upload through ajax-api: the limit of MLflow's web page."""

PROXY = "/mlflow-artifacts/artifacts"

_OF_RUN = re.compile(r"runs:/+(?P<run>[^/]+)/*(?P<path>.*)")


def routes() -> list[Route]:
    """The artifact calls."""
    return [
        *raw("GET", PROXY + "/{path:path}", get_artifact),
        *raw("PUT", PROXY + "/{path:path}", put_artifact, media=""),
        *raw("DELETE", PROXY + "/{path:path}", delete_artifact, reply=replies.Empty),
        *call(
            "GET",
            PROXY,
            list_proxied,
            requests.ListProxiedArtifacts,
            replies.ArtifactList,
            area=Area.ARTIFACTS,
        ),
        *call("GET", "/mlflow/artifacts/list", list_of_run, requests.ListArtifacts, replies.ArtifactList),
        *raw(
            "GET",
            "/get-artifact",
            get_of_run,
            roots=("",),
            area=Area.TRACKING,
            asked=requests.GetRunArtifact,
        ),
        *raw(
            "POST",
            "/mlflow/upload-artifact",
            upload_to_run,
            roots=("/ajax-api/2.0",),
            area=Area.TRACKING,
            asked=requests.UploadRunArtifact,
            reply=replies.Empty,
        ),
    ]


async def get_artifact(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Send an artifact, whole or by ranges."""
    return await send_file(exchange, _proxied(services, exchange, params["path"]))


async def put_artifact(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Keep an artifact: when this answers 200 it is on disk, whole."""
    meta = await upload(exchange, _proxied(services, exchange, params["path"]))
    return Reply(200, written_headers(meta))


async def delete_artifact(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Delete an artifact, or a folder with all that is in it.

    One slash at the end is taken: `mlflow gc` names a run's folder so.
    """
    place = _proxied(services, exchange, params["path"].removesuffix("/"))
    if not place.key:
        raise TrackingError(Kind.INVALID, "The path is empty: name what to delete.")
    await delete_tree(place.store, place.key)
    return json_reply(replies.Empty())


async def list_proxied(services: Services, request: requests.ListProxiedArtifacts) -> replies.ArtifactList:
    """List a folder of the destination by base names; a missing folder is empty."""
    place = Place(services.locations.destination, keys.parse(request.path.removesuffix("/")))
    return replies.ArtifactList(files=await list_folder(place))


async def list_of_run(services: Services, request: requests.ListArtifacts) -> replies.ArtifactList:
    """List the artifacts of a run below `path`."""
    uri = await _artifact_uri(services, request)
    place = services.locations.locate(uri, request.path)
    return replies.ArtifactList(root_uri=uri, files=await list_folder(place, request.path))


async def get_of_run(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Send an artifact of a run."""
    request: requests.GetRunArtifact = await parse_request(exchange, requests.GetRunArtifact, params)
    exchange.subject = subject_of(request)
    uri = await _artifact_uri(services, request)
    place = services.locations.locate(uri, request.path)
    return await send_file(exchange, place, [(b"cache-control", b"no-cache")])


async def upload_to_run(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Keep a small artifact of a run, as MLflow's web page sends it."""
    request = decode_query(exchange.query(), requests.UploadRunArtifact)
    exchange.subject = subject_of(request)
    place = services.locations.locate(await _artifact_uri(services, request), request.path)
    body = await exchange.body(UPLOAD_LIMIT)
    if not body:
        raise TrackingError(Kind.INVALID, "Request must specify data.")
    await place.store.write(place.key, BytesSource(body))
    return json_reply(replies.Empty())


async def send_file(exchange: Exchange, place: Place, extra: Sequence[Header] = ()) -> AnyReply:
    """Send an artifact; a folder is INVALID with what to do instead, as MLflow has it."""
    try:
        return await download(exchange, place, extra)
    except NotFound:
        if await is_folder(place.store, place.key):
            message = f"'{place.key}' is a folder; list it, or name a file in it."
            raise TrackingError(Kind.INVALID, message) from None
        raise


async def locate_recorded(services: Services, uri: str, path: str) -> Place:
    """Where `path` below a version's source is; a `runs:/` source is below its run's artifacts.

    Raises FORBIDDEN, NOT_FOUND.
    """
    if not (found := _OF_RUN.fullmatch(uri)):
        return services.locations.locate(uri, path)
    root = await services.database.read(runs.artifact_uri, found["run"])
    return services.locations.locate(root, f"{found['path']}/{path}" if found["path"] else path)


async def list_folder(place: Place, below: str = "") -> Sequence[FileInfo]:
    """The files and folders directly in `place`, named as seen from its run: `below`/name."""
    prefix = below.strip("/") + "/" if below.strip("/") else ""
    files = []
    async for entry in place.store.list(place.key):
        size = entry.size if isinstance(entry, ObjectMeta) else None
        files.append(FileInfo(prefix + keys.name(entry.key), size is None, size))
    return sorted(files, key=lambda file: file.path) or ()


def _proxied(services: Services, exchange: Exchange, path: str) -> Place:
    """The place behind a proxied path; the log names its experiment, and its run or model."""
    key = keys.parse(path)
    segments = key.split("/")
    exchange.subject = {"experiment_id": segments[0]}
    if len(segments) > 2:
        exchange.subject["run_id"] = segments[2] if segments[1] == "models" else segments[1]
    return Place(services.locations.destination, key)


async def _artifact_uri(services: Services, request: requests.OfRun) -> str:
    if not (run_id := request.run_id or request.run_uuid):
        raise missing("run_id")
    return await services.database.read(runs.artifact_uri, run_id)
