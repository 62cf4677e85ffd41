"""The model registry: parse → repository function → reply."""

from __future__ import annotations

import re

from shoso.core.clock import now_ms
from shoso.errors import Kind, TrackingError
from shoso.metadata import aliases, registry, search_registry, versions
from shoso.server.artifacts import locate_recorded, send_file
from shoso.server.exchange import AnyReply, Exchange
from shoso.server.routes import Area, Route, call, parse_request, raw
from shoso.server.services import Services
from shoso.server.tracking import check_place
from shoso.wire import registry as wire
from shoso.wire.registry import RegisteredModelReply, VersionReply
from shoso.wire.replies import Empty


def routes() -> list[Route]:
    """The calls of the model registry."""
    return [*_model_routes(), *_version_routes(), *_alias_routes()]


def _model_routes() -> list[Route]:
    at, one = "/mlflow/registered-models", RegisteredModelReply
    return [
        *call("POST", at + "/create", create_model, wire.CreateRegisteredModel, one),
        *call("GET", at + "/get", get_model, wire.RegisteredModelByName, one),
        *call("PATCH", at + "/update", update_model, wire.UpdateRegisteredModel, one),
        *call("POST", at + "/rename", rename_model, wire.RenameRegisteredModel, one),
        *call("DELETE", at + "/delete", delete_model, wire.RegisteredModelByName, Empty),
        *call("GET", at + "/search", search_models, wire.SearchRegisteredModels, wire.RegisteredModelPage),
        *call("POST", at + "/set-tag", set_model_tag, wire.SetRegisteredModelTag, Empty),
        *call("DELETE", at + "/delete-tag", delete_model_tag, wire.DeleteRegisteredModelTag, Empty),
    ]


def _version_routes() -> list[Route]:
    at, one = "/mlflow/model-versions", VersionReply
    latest, many = "/mlflow/registered-models/get-latest-versions", wire.VersionsReply
    return [
        *call("POST", at + "/create", create_version, wire.CreateModelVersion, one),
        *call("GET", at + "/get", get_version, wire.ModelVersionByNumber, one),
        *call("PATCH", at + "/update", update_version, wire.UpdateModelVersion, one),
        *call("POST", at + "/transition-stage", transition, wire.TransitionModelVersionStage, one),
        *call("DELETE", at + "/delete", delete_version, wire.ModelVersionByNumber, Empty),
        *call("GET", at + "/get-download-uri", download_uri, wire.ModelVersionByNumber, wire.DownloadUri),
        *call("GET", at + "/search", search_versions, wire.SearchModelVersions, wire.VersionPage),
        *call("POST", at + "/set-tag", set_version_tag, wire.SetModelVersionTag, Empty),
        *call("DELETE", at + "/delete-tag", delete_version_tag, wire.DeleteModelVersionTag, Empty),
        *raw(
            "GET",
            "/model-versions/get-artifact",
            get_file,
            roots=("",),
            area=Area.TRACKING,
            asked=wire.GetVersionArtifact,
        ),
        *call("GET", latest, latest_versions, wire.GetLatestVersions, many),
        *call("POST", latest, latest_versions, wire.GetLatestVersions, many),
    ]


def _alias_routes() -> list[Route]:
    at = "/mlflow/registered-models/alias"
    return [
        *call("POST", at, set_alias, wire.SetAlias, Empty),
        *call("DELETE", at, delete_alias, wire.ModelAliasByName, Empty),
        *call("GET", at, get_by_alias, wire.ModelAliasByName, VersionReply),
    ]


# -- registered models ------------------------------------------------------------------------------------


async def create_model(services: Services, request: wire.CreateRegisteredModel) -> RegisteredModelReply:
    """Create a registered model; its name must be free."""
    return RegisteredModelReply(await services.database.write(registry.create, request))


async def get_model(services: Services, request: wire.RegisteredModelByName) -> RegisteredModelReply:
    """Get a registered model with the last version of each stage."""
    return RegisteredModelReply(await services.database.read(registry.get, request.name))


async def update_model(services: Services, request: wire.UpdateRegisteredModel) -> RegisteredModelReply:
    """Give a registered model another description."""
    return RegisteredModelReply(await services.database.write(registry.describe, request))


async def rename_model(services: Services, request: wire.RenameRegisteredModel) -> RegisteredModelReply:
    """Rename a registered model; its versions, tags and aliases go with it."""
    return RegisteredModelReply(await services.database.write(registry.rename, request))


async def delete_model(services: Services, request: wire.RegisteredModelByName) -> Empty:
    """Delete a registered model with its versions, for good."""
    await services.database.write(registry.delete, request.name)
    return Empty()


async def search_models(services: Services, request: wire.SearchRegisteredModels) -> wire.RegisteredModelPage:
    """Search the registered models by name and tags."""
    return await services.database.search(search_registry.search_models, request)


async def set_model_tag(services: Services, request: wire.SetRegisteredModelTag) -> Empty:
    """Set a tag of a registered model."""
    await services.database.write(registry.set_tag, request)
    return Empty()


async def delete_model_tag(services: Services, request: wire.DeleteRegisteredModelTag) -> Empty:
    """Delete a tag of a registered model."""
    await services.database.write(registry.delete_tag, request)
    return Empty()


# -- versions ---------------------------------------------------------------------------------------------


async def create_version(services: Services, request: wire.CreateModelVersion) -> VersionReply:
    """Create the next version of a registered model, ready at once."""
    check_source(services, request.source)
    return VersionReply(await services.database.create(versions.create, request, now_ms()))


def check_source(services: Services, source: str) -> None:
    """Refuse a source that this server's settings don't allow. Raises TrackingError(INVALID)."""
    check_place(services, "source", source)
    pattern = services.settings.model_version_source
    if re.search(pattern, source) is None:
        message = f"'source' doesn't match '{pattern}', which is this server's --model-version-source."
        raise TrackingError(Kind.INVALID, message)


async def get_version(services: Services, request: wire.ModelVersionByNumber) -> VersionReply:
    """Get a version with its tags and aliases."""
    return VersionReply(await services.database.read(versions.get, request.name, request.version))


async def update_version(services: Services, request: wire.UpdateModelVersion) -> VersionReply:
    """Give a version another description."""
    return VersionReply(await services.database.write(versions.describe, request))


async def transition(services: Services, request: wire.TransitionModelVersionStage) -> VersionReply:
    """Move a version to a stage."""
    return VersionReply(await services.database.write(versions.transition, request))


async def delete_version(services: Services, request: wire.ModelVersionByNumber) -> Empty:
    """Delete a version and its aliases; its number isn't given out again."""
    await services.database.write(versions.delete, request)
    return Empty()


async def download_uri(services: Services, request: wire.ModelVersionByNumber) -> wire.DownloadUri:
    """Get the location of a version's artifacts."""
    return wire.DownloadUri(await services.database.read(versions.download_uri, request))


async def get_file(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
    """Send an artifact of a version."""
    request: wire.GetVersionArtifact = await parse_request(exchange, wire.GetVersionArtifact, params)
    of = wire.ModelVersionByNumber(request.name, request.version)
    uri = await services.database.read(versions.download_uri, of)
    place = await locate_recorded(services, uri, request.path)
    return await send_file(exchange, place, [(b"cache-control", b"no-cache")])


async def search_versions(services: Services, request: wire.SearchModelVersions) -> wire.VersionPage:
    """Search the versions of all registered models by name, number, run, source and tags."""
    return await services.database.search(search_registry.search_versions, request)


async def set_version_tag(services: Services, request: wire.SetModelVersionTag) -> Empty:
    """Set a tag of a version."""
    await services.database.write(versions.set_tag, request)
    return Empty()


async def delete_version_tag(services: Services, request: wire.DeleteModelVersionTag) -> Empty:
    """Delete a tag of a version."""
    await services.database.write(versions.delete_tag, request)
    return Empty()


async def latest_versions(services: Services, request: wire.GetLatestVersions) -> wire.VersionsReply:
    """Get the last version in each stage of a registered model."""
    return wire.VersionsReply(await services.database.read(versions.latest, request) or ())


# -- aliases ----------------------------------------------------------------------------------------------


async def set_alias(services: Services, request: wire.SetAlias) -> Empty:
    """Let an alias mean a version."""
    await services.database.write(aliases.assign, request)
    return Empty()


async def delete_alias(services: Services, request: wire.ModelAliasByName) -> Empty:
    """Forget an alias."""
    await services.database.write(aliases.remove, request)
    return Empty()


async def get_by_alias(services: Services, request: wire.ModelAliasByName) -> VersionReply:
    """Get the version that an alias means."""
    return VersionReply(await services.database.read(aliases.get, request))
