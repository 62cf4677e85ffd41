"""The model registry as MLflow spells it: its nouns, its requests and its replies.

A prompt is a registered model with the tag IS_PROMPT, so is each version of it. A version is a number
rendered as text. What a reply lacks is None or empty here: a client reads MLflow's replies with these too.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from shoso.wire.entities import Required, Tag
from shoso.wire.requests import Int64, TagInput

IS_PROMPT = "mlflow.prompt.is_prompt"
"""The tag whose value "true" makes a prompt of a registered model, and of a version."""


# -- nouns ------------------------------------------------------------------------------------------------


class ModelAlias(Struct, frozen=True):
    """A name for a version of a registered model."""

    alias: str
    version: str


class ModelVersion(Struct, frozen=True, omit_defaults=True):
    """A version of a registered model; `source` is the URI that it was made from."""

    name: str
    version: str
    creation_timestamp: int | None = None
    last_updated_timestamp: int | None = None
    user_id: str | None = None
    current_stage: str | None = None
    description: str | None = None
    source: str | None = None
    run_id: str | None = None
    status: str | None = None
    status_message: str | None = None
    tags: Sequence[Tag] = ()
    run_link: str | None = None
    aliases: Sequence[str] = ()


class RegisteredModel(Struct, frozen=True, omit_defaults=True):
    """A registered model; `latest_versions` are the last version of each stage."""

    name: str
    creation_timestamp: int | None = None
    last_updated_timestamp: int | None = None
    description: str | None = None
    latest_versions: Sequence[ModelVersion] = ()
    tags: Sequence[Tag] = ()
    aliases: Sequence[ModelAlias] = ()


# -- registered models ------------------------------------------------------------------------------------


class CreateRegisteredModel(Struct, frozen=True, omit_defaults=True):
    name: Required
    tags: list[TagInput] = []
    description: str = ""


class RegisteredModelByName(Struct, frozen=True, omit_defaults=True):
    name: Required


class UpdateRegisteredModel(Struct, frozen=True, omit_defaults=True):
    name: Required
    description: str = ""


class RenameRegisteredModel(Struct, frozen=True, omit_defaults=True):
    name: Required
    new_name: Required


class SetRegisteredModelTag(Struct, frozen=True, omit_defaults=True):
    name: Required
    key: Required
    value: str = ""


class DeleteRegisteredModelTag(Struct, frozen=True, omit_defaults=True):
    name: Required
    key: Required


class SearchRegisteredModels(Struct, frozen=True, omit_defaults=True):
    filter: str = ""
    max_results: Int64 = 100
    order_by: list[str] = []
    page_token: str = ""


class RegisteredModelPage(Struct, frozen=True, omit_defaults=True):
    registered_models: Sequence[RegisteredModel] = ()
    next_page_token: str | None = None


class RegisteredModelReply(Struct, frozen=True):
    registered_model: RegisteredModel


# -- versions ---------------------------------------------------------------------------------------------


class GetLatestVersions(Struct, frozen=True, omit_defaults=True):
    name: Required
    stages: list[str] = []


class ModelAliasByName(Struct, frozen=True):
    name: Required
    alias: Required


class SearchModelVersions(Struct, frozen=True, omit_defaults=True):
    filter: str = ""
    max_results: Int64 = 200_000
    order_by: list[str] = []
    page_token: str = ""


class VersionPage(Struct, frozen=True, omit_defaults=True):
    model_versions: Sequence[ModelVersion] = ()
    next_page_token: str | None = None


class VersionReply(Struct, frozen=True):
    model_version: ModelVersion


class VersionsReply(Struct, frozen=True, omit_defaults=True):
    model_versions: Sequence[ModelVersion] = ()


class DownloadUri(Struct, frozen=True):
    artifact_uri: str


class CreateModelVersion(Struct, frozen=True, omit_defaults=True):
    """`source` is where the artifacts are; `run_id` or `model_id` what made them."""

    name: Required
    source: Required
    run_id: str | None = None
    tags: list[TagInput] = []
    run_link: str = ""
    description: str = ""
    model_id: str | None = None


class ModelVersionByNumber(Struct, frozen=True, omit_defaults=True):
    name: Required
    version: Required


class GetVersionArtifact(Struct, frozen=True, omit_defaults=True):
    name: Required
    version: Required
    path: Required


class UpdateModelVersion(Struct, frozen=True, omit_defaults=True):
    name: Required
    version: Required
    description: str | None = None


class TransitionModelVersionStage(Struct, frozen=True, omit_defaults=True):
    """`archive_existing_versions` moves whatever else is in the stage to Archived."""

    name: Required
    version: Required
    stage: Required
    archive_existing_versions: bool = False


class SetModelVersionTag(Struct, frozen=True, omit_defaults=True):
    name: Required
    version: Required
    key: Required
    value: str = ""


class DeleteModelVersionTag(Struct, frozen=True, omit_defaults=True):
    name: Required
    version: Required
    key: Required


class SetAlias(Struct, frozen=True, omit_defaults=True):
    name: Required
    alias: Required
    version: Required
