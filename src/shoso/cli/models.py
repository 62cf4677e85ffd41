"""`shoso models`: logged models, in the manner of `shoso runs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from shoso.cli import named, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoso.cli.session import Session
    from shoso.cli.shapes import StagedModel
    from shoso.wire.entities import LoggedModel

FLAGS = ("-m", "--model-id")

ACTIVE, DELETED = "active", "deleted"

SEARCHES = {1: (ACTIVE,), 2: (DELETED,), 3: (ACTIVE, DELETED)}
"""The stages that are asked for, by MLflow's ViewType."""


@click.group()
def models() -> None:
    """Find, describe, delete and restore logged models."""


@models.command("list")
@options.listing("\"name = 'classifier'\"")
def list_(
    view: int,
    wanted: str,
    max_results: int | None,
    as_json: bool,
    tracking_uri: str | None,
    **which: str | None,
) -> None:
    """List the logged models of an experiment, the newest first.

    Without an experiment it is that of MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME.
    """
    from shoso.cli.runs import experiment
    from shoso.cli.session import session
    from shoso.cli.shapes import show
    from shoso.cli.words import table

    with session(tracking_uri) as opened:
        of = experiment(opened, **which)
        found = [one for stage in SEARCHES[view] for one in _found(opened, stage, of, wanted, max_results)]
    found.sort(key=lambda one: one.info.creation_timestamp_ms, reverse=True)
    found = found[:max_results]
    show(found, table(("ID", "NAME", "STAGE", "CREATED", "RUN"), [*map(_row, found)]), as_json)


@models.command()
@named.one("logged model", *FLAGS)
@options.as_json
@options.tracking_uri
def describe(model_id: str, as_json: bool, tracking_uri: str | None) -> None:
    """Show a logged model, also a deleted one: what it is, its params and tags."""
    from shoso.cli.session import session
    from shoso.cli.shapes import show

    with session(tracking_uri) as opened:
        found = _model(opened, model_id)
    show(found, _described(found), as_json)


@models.command()
@named.several("logged model", *FLAGS)
@options.as_json
@options.tracking_uri
def delete(ids: Sequence[str], as_json: bool, tracking_uri: str | None) -> None:
    """Delete logged models; `restore` brings them back, until `shoso gc` has taken them."""
    from shoso.cli.session import session
    from shoso.cli.shapes import ModelId
    from shoso.wire.replies import Empty

    with session(tracking_uri) as opened:

        def change(model_id: str) -> str:
            opened.ask("DELETE", f"logged-models/{model_id}", Empty)
            return f"Model {model_id} is deleted; `shoso models restore` brings it back."

        named.change_each(ids, change, ModelId, as_json)


@models.command()
@named.several("logged model", *FLAGS)
@options.as_json
@options.tracking_uri
def restore(ids: Sequence[str], as_json: bool, tracking_uri: str | None) -> None:
    """Bring back deleted logged models, with their artifacts; MLflow's own server has no call for that."""
    from shoso.cli.session import session
    from shoso.cli.shapes import ModelId

    with session(tracking_uri) as opened:
        named.change_each(ids, lambda model_id: _restored(opened, model_id), ModelId, as_json)


def _restored(opened: Session, model_id: str) -> str:
    """Restore a model; what to say of it. Raises TrackingError."""
    from shoso.wire.replies import LoggedModelRestored
    from shoso.wire.requests import LoggedModelById

    done = opened.ask_own("logged-models/restore", LoggedModelRestored, LoggedModelById(model_id))
    if done.experiment_stage == DELETED:
        number = done.experiment_id
        return (
            f"Model {model_id} is restored, but its experiment {number} is deleted: without"
            f" `shoso experiments restore {number}`, gc takes both."
        )
    return f"Model {model_id} is restored."


def _found(opened: Session, stage: str, of: str, wanted: str, most: int | None) -> list[StagedModel]:
    """Those of a stage: MLflow's search knows the active ones alone."""
    from shoso.wire.replies import LoggedModelPage
    from shoso.wire.requests import SearchLoggedModels

    def page(limit: int, token: str) -> tuple[list[StagedModel], str | None]:
        request = SearchLoggedModels([of], wanted, max_results=limit, page_token=token)
        if stage == ACTIVE:
            reply = opened.ask("POST", "logged-models/search", LoggedModelPage, request)
        else:
            reply = opened.ask_own("logged-models/search-deleted", LoggedModelPage, request)
        return [_staged(stage, model) for model in reply.models], reply.next_page_token

    return opened.every(page, most)


def _model(opened: Session, model_id: str) -> StagedModel:
    """The model, in any stage. Raises TrackingError."""
    from shoso.errors import Kind, TrackingError
    from shoso.wire.replies import LoggedModelReply
    from shoso.wire.requests import GetLoggedModel

    def ask(stage: str) -> StagedModel:
        request = GetLoggedModel(model_id, allow_deleted=stage == DELETED)
        path = f"logged-models/{model_id}"
        return _staged(stage, opened.ask("GET", path, LoggedModelReply, request).model)

    try:
        return ask(ACTIVE)
    except TrackingError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
    return ask(DELETED)


def _staged(stage: str, model: LoggedModel) -> StagedModel:
    from shoso.cli.shapes import StagedModel

    return StagedModel(stage, model.info, model.data)


def _row(one: StagedModel) -> tuple[str, ...]:
    from shoso.cli.words import moment

    info = one.info
    created = moment(info.creation_timestamp_ms / 1000)
    return info.model_id, info.name, one.lifecycle_stage, created, info.source_run_id or ""


def _described(one: StagedModel) -> str:
    from shoso.cli.words import facts, moment

    info = one.info
    known: dict[str, Any] = {
        "id": info.model_id,
        "name": info.name,
        "experiment": info.experiment_id,
        "run": info.source_run_id or "",
        "type": info.model_type or "",
        "status": info.status,
        "stage": one.lifecycle_stage,
        "created": moment(info.creation_timestamp_ms / 1000),
        "artifacts": info.artifact_uri,
    }
    params = {f"param {param.key}": param.value for param in one.data.params}
    tags = {f"tag {tag.key}": tag.value for tag in info.tags}
    return facts(known | params | tags)
