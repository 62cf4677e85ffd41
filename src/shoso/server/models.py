"""Logged models: parse → repository function → reply."""

from __future__ import annotations

from shoso.metadata import models, search_models
from shoso.server.artifacts import list_folder, send_file
from shoso.server.exchange import AnyReply, Exchange
from shoso.server.routes import OWN, Area, Route, call, parse_request, raw, subject_of
from shoso.server.services import Services
from shoso.wire import replies, requests
from shoso.wire.replies import Empty, LoggedModelReply


def routes() -> list[Route]:
    """The logged-model calls."""
    at, one, page = "/mlflow/logged-models", LoggedModelReply, replies.LoggedModelPage
    one_by_id, searched = requests.LoggedModelById, requests.SearchLoggedModels
    return [
        *call("POST", "/logged-models/restore", restore, one_by_id, replies.LoggedModelRestored, roots=OWN),
        *call("POST", "/logged-models/search-deleted", search_deleted, searched, page, roots=OWN),
        *call("POST", at, create, requests.CreateLoggedModel, one),
        *call("POST", at + "/search", search, searched, page),
        *call("GET", at + "/{model_id}", get, requests.GetLoggedModel, one),
        *call("PATCH", at + "/{model_id}", finalize, requests.FinalizeLoggedModel, one),
        *call("DELETE", at + "/{model_id}", delete, one_by_id, Empty),
        *call("PATCH", at + "/{model_id}/tags", set_tags, requests.SetLoggedModelTags, one),
        *call("DELETE", at + "/{model_id}/tags/{tag_key}", delete_tag, requests.DeleteLoggedModelTag, Empty),
        *call("POST", at + "/{model_id}/params", log_params, requests.LogLoggedModelParams, Empty),
        *call(
            "GET",
            at + "/{model_id}/artifacts/directories",
            list_artifacts,
            requests.ListLoggedModelArtifacts,
            replies.ArtifactList,
        ),
        *raw(
            "GET",
            at + "/{model_id}/artifacts/files",
            get_file,
            roots=("/ajax-api/2.0",),
            area=Area.TRACKING,
            asked=requests.GetLoggedModelArtifact,
        ),
    ]


async def create(services: Services, request: requests.CreateLoggedModel) -> LoggedModelReply:
    """Create a logged model, pending."""
    return LoggedModelReply(await services.database.create(models.create, request, models.new_id()))


async def search(services: Services, request: requests.SearchLoggedModels) -> replies.LoggedModelPage:
    """Search the logged models of experiments."""
    return await services.database.search(search_models.search_logged_models, request)


async def get(services: Services, request: requests.GetLoggedModel) -> LoggedModelReply:
    """Get a logged model."""
    return LoggedModelReply(await services.database.read(models.get, request))


async def finalize(services: Services, request: requests.FinalizeLoggedModel) -> LoggedModelReply:
    """Say how the upload of a logged model ended."""
    return LoggedModelReply(await services.database.write(models.finalize, request))


async def delete(services: Services, request: requests.LoggedModelById) -> Empty:
    """Mark a logged model deleted; its artifacts stay."""
    await services.database.write(models.remove, request)
    return Empty()


async def restore(services: Services, request: requests.LoggedModelById) -> replies.LoggedModelRestored:
    """Bring back a deleted logged model; what `gc` has begun to delete stays deleted."""
    return await services.database.write(models.restore, request)


async def search_deleted(services: Services, request: requests.SearchLoggedModels) -> replies.LoggedModelPage:
    """Search the deleted logged models of experiments."""
    return await services.database.search(search_models.search_logged_models, request, deleted=True)


async def set_tags(services: Services, request: requests.SetLoggedModelTags) -> LoggedModelReply:
    """Set tags of a logged model."""
    await services.database.write(models.set_tags, request)
    return await get(services, requests.GetLoggedModel(request.model_id, allow_deleted=True))


async def delete_tag(services: Services, request: requests.DeleteLoggedModelTag) -> Empty:
    """Delete a tag of a logged model."""
    await services.database.write(models.delete_tag, request)
    return Empty()


async def log_params(services: Services, request: requests.LogLoggedModelParams) -> Empty:
    """Add params to a logged model."""
    await services.database.write(models.log_params, request)
    return Empty()


async def list_artifacts(
    services: Services, request: requests.ListLoggedModelArtifacts
) -> replies.ArtifactList:
    """List the artifacts of a logged model."""
    uri = await _artifact_uri(services, request.model_id)
    place = services.locations.locate(uri, request.artifact_directory_path)
    return replies.ArtifactList(root_uri=uri, files=await list_folder(place, request.artifact_directory_path))


async def get_file(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Send an artifact of a logged model."""
    request = await parse_request(exchange, requests.GetLoggedModelArtifact, params)
    exchange.subject = subject_of(request)
    uri = await _artifact_uri(services, request.model_id)
    return await send_file(exchange, services.locations.locate(uri, request.artifact_file_path))


async def _artifact_uri(services: Services, model_id: str) -> str:
    asked = requests.GetLoggedModel(model_id)
    return (await services.database.read(models.get, asked)).info.artifact_uri
