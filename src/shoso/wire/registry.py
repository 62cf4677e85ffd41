"""What a client asks of MLflow's model registry, to find the artifacts of a version."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class GetDownloadUri(Struct, frozen=True):
    name: str
    version: str


class DownloadUri(Struct, frozen=True):
    artifact_uri: str


class GetByAlias(Struct, frozen=True):
    name: str
    alias: str


class GetLatestVersions(Struct, frozen=True):
    name: str
    stages: list[str]


class ModelVersion(Struct, frozen=True):
    name: str
    version: str


class VersionReply(Struct, frozen=True):
    model_version: ModelVersion


class VersionsReply(Struct, frozen=True):
    model_versions: Sequence[ModelVersion] = ()
