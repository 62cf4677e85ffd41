"""Registered models: a name, a description and tags; their versions are in `versions`.

A model is deleted for good, with its versions and aliases.
"""

from __future__ import annotations

from sqlalchemy import Connection, update
from sqlalchemy import delete as delete_from
from sqlalchemy import insert as insert_into

from shoso.core.clock import now_ms
from shoso.errors import Kind, TrackingError
from shoso.metadata import registry_rules, rules
from shoso.metadata.dialects.texts import same
from shoso.metadata.entries import exists, is_prompt, model_row, of_model, put, shown_models
from shoso.metadata.schema import (
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)
from shoso.wire.registry import (
    CreateRegisteredModel,
    DeleteRegisteredModelTag,
    RegisteredModel,
    RenameRegisteredModel,
    SetRegisteredModelTag,
    UpdateRegisteredModel,
)
from shoso.wire.requests import TagInput


def create(conn: Connection, request: CreateRegisteredModel) -> RegisteredModel:
    """A new model without versions. Raises TrackingError: DUPLICATE for a name that is taken, INVALID."""
    registry_rules.model_name(request.name)
    tags = registry_rules.tags(request.tags)
    if exists(conn, request.name):
        raise _taken(request.name, is_prompt(conn, request.name), registry_rules.says_prompt(tags))
    now = now_ms()
    row = {"creation_time": now, "last_updated_time": now, "description": request.description}
    conn.execute(insert_into(registered_models), {"name": request.name, **row})
    if rows := [{"name": request.name, "key": key, "value": value} for key, value in tags.items()]:
        conn.execute(insert_into(registered_model_tags), rows)
    return get(conn, request.name)


def get(conn: Connection, name: str) -> RegisteredModel:
    """The model of that name. Raises TrackingError (NOT_FOUND, INVALID)."""
    return shown_models(conn, [model_row(conn, name)])[0]


def describe(conn: Connection, request: UpdateRegisteredModel) -> RegisteredModel:
    """Give the model another description, or none. Raises TrackingError (NOT_FOUND, INVALID)."""
    model_row(conn, request.name, lock=True)
    _change(conn, request.name, description=request.description, last_updated_time=now_ms())
    return get(conn, request.name)


def rename(conn: Connection, request: RenameRegisteredModel) -> RegisteredModel:
    """Give the model another name; versions, tags and aliases go with it, by the database's own cascade.

    Raises TrackingError (NOT_FOUND, DUPLICATE, INVALID).
    """
    name = request.new_name
    registry_rules.model_name(name, "new_name")
    model_row(conn, request.name, lock=True)
    if name != request.name and exists(conn, name):
        raise TrackingError(Kind.DUPLICATE, f"Registered Model (name={name}) already exists.")
    now = now_ms()
    _change(conn, request.name, name=name, last_updated_time=now)
    conn.execute(update(model_versions).where(of_model(model_versions, name)).values(last_updated_time=now))
    return get(conn, name)


def delete(conn: Connection, name: str) -> None:
    """Delete the model with all that belongs to it. Raises TrackingError (NOT_FOUND, INVALID)."""
    model_row(conn, name, lock=True)
    for table in _OWNED_FIRST:
        conn.execute(delete_from(table).where(of_model(table, name)))


def set_tag(conn: Connection, request: SetRegisteredModelTag) -> None:
    """Set a tag of the model. Raises TrackingError (NOT_FOUND, INVALID)."""
    registry_rules.tag(TagInput(request.key, request.value))
    model_row(conn, request.name, lock=True)
    put(conn, registered_model_tags, {"name": request.name, "key": request.key}, value=request.value)


def delete_tag(conn: Connection, request: DeleteRegisteredModelTag) -> None:
    """Delete a tag of the model; fine if there's none. Raises TrackingError (NOT_FOUND, INVALID)."""
    rules.check_key(request.key, "key")
    model_row(conn, request.name, lock=True)
    table = registered_model_tags
    conn.execute(delete_from(table).where(of_model(table, request.name), same(table.c.key, request.key)))


_OWNED_FIRST = (
    model_version_tags,
    registered_model_aliases,
    model_versions,
    registered_model_tags,
    registered_models,
)


def _change(conn: Connection, model: str, /, **values: object) -> None:
    conn.execute(update(registered_models).where(of_model(registered_models, model)).values(**values))


def _taken(name: str, as_prompt: bool, for_prompt: bool) -> TrackingError:
    old, new = (("prompt" if prompt else "registered model") for prompt in (as_prompt, for_prompt))
    if old == new:
        return TrackingError(Kind.DUPLICATE, f"{new.title()} (name={name}) already exists.")
    return TrackingError(
        Kind.DUPLICATE,
        f"Tried to create a {new} with name {name!r}, but the name is already taken by a {old}. A model and a"
        " prompt can't have the same name.",
    )
