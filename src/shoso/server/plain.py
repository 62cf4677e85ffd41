"""What every client asks of any server: is it there, what is it, what can it do."""

from __future__ import annotations

from shoso import MLFLOW_VERSION
from shoso.server.exchange import AnyReply, Exchange, text_reply
from shoso.server.routes import API_3, Area, Route, call, raw
from shoso.server.services import Services
from shoso.wire import replies, requests


def routes() -> list[Route]:
    """Health, version and server-info."""
    return [
        *raw("GET", "/health", health, roots=("",), area=Area.ALWAYS, media="text/plain"),
        *raw("GET", "/version", version, roots=("",), area=Area.ALWAYS, media="text/plain"),
        *raw("GET", "/", welcome, roots=("",), area=Area.ALWAYS, media="text/plain"),
        *call(
            "GET",
            "/mlflow/server-info",
            server_info,
            requests.Nothing,
            replies.ServerInfo,
            roots=API_3,
            area=Area.ALWAYS,
        ),
    ]


async def health(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Say that the server is there."""
    return text_reply("OK")


async def version(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """The MLflow release whose API this is: clients compare it with their own."""
    return text_reply(MLFLOW_VERSION)


async def welcome(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Tell a person who came with a browser what this is."""
    text = "This is a Shoso server. Point MLflow's client at it: MLFLOW_TRACKING_URI=<this address>\n"
    return text_reply(text)


async def server_info(services: Services, request: requests.Nothing) -> replies.ServerInfo:
    """What MLflow's client may use besides the proxy."""
    direct, serves = services.direct, services.settings.serve_artifacts
    destination = services.locations.destination if serves else None
    return replies.ServerInfo(
        store_type=None if services.settings.artifacts_only else "SqlStore",
        workspaces_enabled=False,
        trace_archival_enabled=False,
        multipart_uploads_enabled=destination is not None and direct.parts(destination),
        multipart_downloads_enabled=destination is not None and direct.signer(destination) is not None,
        presigned_upload_run_id_supported=direct.enabled,
        presigned_upload_model_id_supported=direct.enabled,
        features_enabled={},
    )
