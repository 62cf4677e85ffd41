"""The model registry on one database: what Shoso wrote MLflow shows, and the other way round."""

from __future__ import annotations

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from sqlalchemy import select
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata import aliases, registry, versions
from shoso.metadata.schema import model_version_tags, model_versions, registered_model_aliases
from shoso.wire.registry import (
    CreateModelVersion,
    CreateRegisteredModel,
    ModelVersionByNumber,
    RenameRegisteredModel,
    SetAlias,
    SetModelVersionTag,
    SetRegisteredModelTag,
    TransitionModelVersionStage,
    UpdateModelVersion,
)
from shoso.wire.requests import TagInput

KINDS = places.PLACES
SOURCE = "s3://bucket/model"


@pytest.fixture
def theirs(mlflow_place):
    """The real MLflow's registry on a database."""
    with mlflow_place.registry() as store:
        yield store


@pytest.fixture
def conn(mlflow_place):
    """Our connection to the same database."""
    with mlflow_place.connect() as connection:
        yield connection


def facts_of_theirs(version) -> tuple:
    return (
        version.name,
        str(version.version),
        version.current_stage,
        version.description,
        version.source,
        version.run_id,
        version.run_link,
        version.status,
        version.tags,
        sorted(version.aliases),
        version.creation_timestamp,
        version.last_updated_timestamp,
    )


def facts(version) -> tuple:
    return (
        version.name,
        version.version,
        version.current_stage,
        version.description,
        version.source,
        version.run_id,
        version.run_link,
        version.status,
        {tag.key: tag.value for tag in version.tags},
        sorted(version.aliases),
        version.creation_timestamp,
        version.last_updated_timestamp,
    )


def require_the_same(conn, theirs, name: str, numbers: str) -> None:
    """Both show the same model with the same versions."""
    model, other = registry.get(conn, name), theirs.get_registered_model(name)
    assert {tag.key: tag.value for tag in model.tags} == other.tags
    assert {alias.alias: int(alias.version) for alias in model.aliases} == other.aliases
    assert (model.description or None) == (other.description or None)
    assert model.creation_timestamp == other.creation_timestamp
    assert model.last_updated_timestamp == other.last_updated_timestamp
    assert {v.version for v in model.latest_versions} == {str(v.version) for v in other.latest_versions}
    for number in numbers:
        mine = versions.get(conn, name, number)
        assert facts(mine) == facts_of_theirs(theirs.get_model_version(name, number))
        uri = versions.download_uri(conn, ModelVersionByNumber(name, number))
        assert uri == theirs.get_model_version_download_uri(name, number)


def write_ours(conn, name: str) -> None:
    """Of everything a little: versions 1 to 4, of which 3 is deleted."""
    registry.create(conn, CreateRegisteredModel("first", [TagInput("k", "v")], "d"))
    for number in "1234":
        versions.create(
            conn, CreateModelVersion("first", SOURCE, "r" * 32, [TagInput("n", number)], "link", "d")
        )
    aliases.assign(conn, SetAlias("first", "champion", "2"))
    aliases.assign(conn, SetAlias("first", "gone", "3"))
    versions.transition(conn, TransitionModelVersionStage("first", "1", "production"))
    versions.transition(
        conn, TransitionModelVersionStage("first", "2", "Production", archive_existing_versions=True)
    )
    versions.describe(conn, UpdateModelVersion("first", "4"))
    versions.set_tag(conn, SetModelVersionTag("first", "4", "k", "w"))
    registry.set_tag(conn, SetRegisteredModelTag("first", "k", "w"))
    versions.delete(conn, ModelVersionByNumber("first", "3"))
    registry.rename(conn, RenameRegisteredModel("first", name))


def write_theirs(store, name: str) -> None:
    """The same by MLflow."""
    store.create_registered_model("first", [RegisteredModelTag("k", "v")], "d")
    for number in "1234":
        tags = [ModelVersionTag("n", number)]
        store.create_model_version("first", SOURCE, "r" * 32, tags, "link", "d")
    store.set_registered_model_alias("first", "champion", "2")
    store.set_registered_model_alias("first", "gone", "3")
    store.transition_model_version_stage("first", "1", "production", False)
    if store.db_type == "postgresql":  # where MLflow can't archive: it compares a text with a number
        store.transition_model_version_stage("first", "1", "Archived", False)
    store.transition_model_version_stage("first", "2", "Production", store.db_type != "postgresql")
    store.update_model_version("first", "4", None)
    store.set_model_version_tag("first", "4", ModelVersionTag("k", "w"))
    store.set_registered_model_tag("first", RegisteredModelTag("k", "w"))
    store.delete_model_version("first", "3")
    store.rename_registered_model("first", name)


@pytest.mark.parametrize("name", ["second", "a b%'\"\\"])
def test_what_shoso_wrote_mlflow_shows_and_goes_on_with(conn, theirs, name):
    write_ours(conn, name)
    require_the_same(conn, theirs, name, "124")
    assert theirs.create_model_version(name, SOURCE).version == 5
    theirs.delete_registered_model(name)
    assert conn.execute(select(model_versions)).all() == []


def test_what_mlflow_wrote_shoso_shows_and_goes_on_with(conn, theirs):
    write_theirs(theirs, "second")
    require_the_same(conn, theirs, "second", "124")
    assert versions.create(conn, CreateModelVersion("second", SOURCE)).version == "5"
    registry.delete(conn, "second")
    assert theirs.search_registered_models() == []
    for table in (model_versions, model_version_tags, registered_model_aliases):
        assert conn.execute(select(table)).all() == []


def test_both_leave_the_same_rows(conn, theirs):
    query = select(*(c for c in model_versions.c if not c.name.endswith("_time"))).order_by("version")
    write_ours(conn, "second")
    ours = conn.execute(query).all()
    registry.delete(conn, "second")
    write_theirs(theirs, "second")
    assert conn.execute(query).all() == ours


async def test_a_version_that_is_refused_leaves_the_model_as_it_was(database):
    await database.write(registry.create, CreateRegisteredModel("m"))
    before = await database.read(registry.get, "m")
    with pytest.raises(TrackingError):
        await database.write(versions.create, CreateModelVersion("m", "/etc/passwd"))
    assert await database.read(registry.get, "m") == before


def test_no_alias_outlives_its_version(conn):
    registry.create(conn, CreateRegisteredModel("m"))
    versions.create(conn, CreateModelVersion("m", SOURCE))
    aliases.assign(conn, SetAlias("m", "it", "1"))
    versions.delete(conn, ModelVersionByNumber("m", "1"))
    assert conn.execute(select(registered_model_aliases)).all() == []
    with pytest.raises(TrackingError) as failure:
        aliases.assign(conn, SetAlias("m", "it", "1"))
    assert failure.value.kind is Kind.NOT_FOUND
