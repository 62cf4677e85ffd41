"""The models that a run logged before logged models had rows of their own: a JSON list in a tag of the run.

MLflow 2.x records every `log_model` here, and reads it when a model is registered from a run.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

from shoso.errors import Kind, TrackingError
from shoso.metadata import lifecycle, rules, runs
from shoso.metadata.schema import tags
from shoso.wire.requests import LogModel, TagInput

TAG = "mlflow.log-model.history"

_MANDATORY = {"artifact_path", "flavors", "utc_time_created", "run_id"}
_KEPT = ("run_id", "artifact_path", "utc_time_created", "model_uuid")
_UNKNOWN = {"model_uuid": None}
"""What MLflow writes of a model that doesn't say it."""


def record(conn: Connection, request: LogModel) -> None:
    """Append the model to the history of an active run. Raises TrackingError (NOT_FOUND, INVALID).

    A history that has outgrown a tag loses its oldest models: cut anywhere else it would be no JSON.
    """
    model = _model(request.model_json)
    lifecycle.active_run(conn, request.run_id)  # nobody else adds a model meanwhile
    models = [*_history(conn, request.run_id), model]
    while len(text := json.dumps(models)) > rules.TAG_VALUE_MAX and len(models) > 1:
        del models[0]
    runs.set_tags(conn, request.run_id, [TagInput(TAG, text)], truncate=False)


def _history(conn: Connection, run_id: str) -> list[Any]:
    text = conn.scalar(select(tags.c.value).where(tags.c.run_uuid == run_id, tags.c.key == TAG))
    try:
        known = json.loads(text or "[]")
    except ValueError:
        known = []
    return known if isinstance(known, list) else []


def _model(text: str) -> dict[str, Any]:
    """What the history keeps of a model: where it is, when it was made, its flavors without their config."""
    try:
        model = json.loads(text)
    except (ValueError, RecursionError):
        raise TrackingError(Kind.INVALID, "Malformed model info: 'model_json' is not valid JSON.") from None
    if not isinstance(model, dict) or not isinstance(model.get("flavors", {}), dict):
        raise TrackingError(Kind.INVALID, "Malformed model info: 'model_json' is not a model.")
    if absent := _MANDATORY - model.keys():
        raise TrackingError(Kind.INVALID, f"Model json is missing mandatory fields: {sorted(absent)}")
    flavors = {name: _without_config(flavor) for name, flavor in model["flavors"].items()}
    known = _UNKNOWN | model
    return {key: known[key] for key in _KEPT} | {"flavors": flavors}


def _without_config(flavor: Any) -> Any:
    return (
        {key: value for key, value in flavor.items() if key != "config"}
        if isinstance(flavor, dict)
        else flavor
    )
