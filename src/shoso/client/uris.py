"""`runs:/` and `models:/`, as MLflow writes them: parsed here, and nowhere else.

runs:/<run id>/<path>
models:/<model id>/<path>
models:/<name>/<version, stage or "latest">/<path>
models:/<name>@<alias>/<path>

The text is taken as it stands, percent signs and all. Sources: MLflow 3.17's runs_artifact_repo.py and
store/artifact/utils/models.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import Kind, TrackingError

_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class RunUri:
    """A path among the artifacts of a run."""

    run_id: str
    path: Key


@dataclass(frozen=True, slots=True)
class ModelUri:
    """A path among the artifacts of a logged model."""

    model_id: str
    path: Key


@dataclass(frozen=True, slots=True)
class VersionUri:
    """A path among those of a registered model: of one version, of an alias, or of the last in a stage.

    Where all three are "" it is the last version of all.
    """

    name: str
    path: Key
    version: str = ""
    alias: str = ""
    stage: str = ""


def parse_run(uri: str) -> RunUri:
    """The parts of a `runs:/` URI. Raises TrackingError(INVALID), StoreError(INVALID_KEY)."""
    run_id, path = _split(uri, "runs:/<run id>/path")
    return RunUri(run_id, keys.parse(path))


def parse_model(uri: str) -> ModelUri | VersionUri:
    """The parts of a `models:/` URI. Raises TrackingError(INVALID), StoreError(INVALID_KEY)."""
    form = "models:/<name>/<version>, models:/<name>@<alias> or models:/<model id>"
    first, rest = _split(uri, form)
    name, at, alias = first.rpartition("@")
    if at:
        if not name or not alias:
            raise _malformed(uri, form)
        return VersionUri(name, keys.parse(rest), alias=alias)
    if not rest or _MODEL_ID.fullmatch(first):
        return ModelUri(first, keys.parse(rest))
    which, _, path = rest.partition("/")
    if which.isdecimal():
        return VersionUri(first, keys.parse(path), version=which)
    return VersionUri(first, keys.parse(path), stage="" if which.lower() == "latest" else which)


def _split(uri: str, form: str) -> tuple[str, str]:
    """The first segment, and what is behind it."""
    _, _, rest = uri.partition(":")
    first, _, path = rest[1:].partition("/")
    if not rest.startswith("/") or not first.strip():
        raise _malformed(uri, form)
    return first, path.rstrip("/")


def _malformed(uri: str, form: str) -> TrackingError:
    return TrackingError(Kind.INVALID, f"'{uri}' names nothing; write {form}.")
