"""What a model version is made from: which sources are taken, and where their artifacts are.

A source on the server's own disk or behind its proxy must lie among the artifacts of the run or the logged
model that the request names, so that nobody registers other people's files. Nothing is read here: the server
opens no location outside its own roots. Source: MLflow 3.17's server/handlers.py and SQL store.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

from sqlalchemy import Connection

from shoso.core import locations
from shoso.errors import Kind, ShosoError, TrackingError
from shoso.metadata import aliases, entries, models, registry_rules, runs
from shoso.wire.registry import CreateModelVersion

PLACEHOLDERS = frozenset({"dummy-source", "prompt-template"})
"""What MLflow's clients give as the source of a prompt, which has none."""

_PROXY = ("api", "2.0", "mlflow-artifacts", "artifacts")


@dataclass(frozen=True, slots=True)
class Origin:
    """A source as it is kept, the location of its artifacts, the run and the logged model that made it."""

    source: str
    location: str
    run_id: str
    model_id: str = ""


def origin(conn: Connection, request: CreateModelVersion) -> Origin:
    """What the version of that request is made from. Raises TrackingError (INVALID, NOT_FOUND)."""
    source, run_id = request.source, request.run_id or ""
    if registry_rules.says_prompt({tag.key: tag.value for tag in request.tags}):
        if source not in PLACEHOLDERS:
            raise _refused(source, "A prompt has no artifacts; its source is 'dummy-source'.")
        return Origin(source, source, run_id)
    if not locations.is_local(source):
        _check_path(source)
    if _parts(source).scheme == "models":
        return _of_models(conn, request)
    _check_owner(conn, request)
    return _made_by(conn, request, source)


# -- models:/ ---------------------------------------------------------------------------------------------


def _of_models(conn: Connection, request: CreateModelVersion) -> Origin:
    """A version of a registered model, to be copied, or a logged model; the text is taken as it stands."""
    rest = request.source.partition(":")[2]
    name, _, which = rest[1:].partition("/")
    if not rest.startswith("/") or not name or "/" in which:
        raise _refused(request.source, "It must be models:/<name>/<version> or models:/<model id>.")
    if which or "@" in name:
        return _of_version(conn, request, name, which)
    if request.model_id != name:
        raise _refused(request.source, _UNNAMED.format("model_id"))
    return _made_by(conn, request, models.kept(conn, name).artifact_location)


def _of_version(conn: Connection, request: CreateModelVersion, name: str, which: str) -> Origin:
    name, number = _resolved(conn, name, which)
    if entries.is_prompt(conn, name):
        raise _refused(request.source, "A version of a prompt can't be the source of another version.")
    row = entries.version_row(conn, name, number)
    run_id = row.run_id or ""
    if request.model_id or request.run_id not in {None, run_id}:
        raise _refused(request.source, "The run_id and model_id must match those of the version it names.")
    return Origin(f"models:/{name}/{row.version}", row.storage_location or row.source, run_id)


def _resolved(conn: Connection, name: str, which: str) -> tuple[str, str]:
    """Name and number of the version that a number, an alias, a stage or "latest" means."""
    if which.isdecimal():
        return name, which
    if which:
        stage = "" if which.lower() == registry_rules.LATEST else which
        return name, str(aliases.last(conn, name, stage).version)
    name, _, alias = name.rpartition("@")
    return name, str(aliases.meant(conn, name, alias).version)


# -- everything else --------------------------------------------------------------------------------------

_UNNAMED = "The {} request parameter must identify the resource that contains the source."


def _made_by(conn: Connection, request: CreateModelVersion, location: str) -> Origin:
    """Run and model as they are named, or the model's own run. Raises TrackingError(NOT_FOUND)."""
    run_id = request.run_id or ""
    if not request.model_id:
        return Origin(request.source, location, run_id)
    model = models.kept(conn, request.model_id)
    return Origin(request.source, location, run_id or model.source_run_id or "", request.model_id)


def _check_owner(conn: Connection, request: CreateModelVersion) -> None:
    """Refuse what lies in a place of the server's, and not among the artifacts of what is named."""
    source, parts = request.source, _parts(request.source)
    named = "model_id" if request.model_id else "run_id"
    if parts.scheme == "runs":
        run_id = parts.path[1:].partition("/")[0]
        if request.model_id or parts.netloc or run_id != request.run_id:
            raise _refused(source, _UNNAMED.format(named))
    elif _is_proxied(source):
        if not _is_within(source, _owner(conn, request)):
            raise _refused(source, _UNNAMED.format(named))
    elif locations.is_local(source) and not _is_below(source, _owner(conn, request)):
        raise _refused(
            source,
            f"To use a local path as a model version source, the {named} request parameter has to be"
            " specified, and the path has to lie within the artifact directory of what it names.",
        )


def _owner(conn: Connection, request: CreateModelVersion) -> str:
    """The artifact location of the model or run that is named; "" where there is none."""
    try:
        if request.model_id:
            return str(models.kept(conn, request.model_id).artifact_location)
        return runs.artifact_uri(conn, request.run_id) if request.run_id else ""
    except TrackingError:
        return ""


def _is_below(source: str, root: str) -> bool:
    """Whether a path lies below another, by names alone: links are nobody's to follow."""
    try:
        return bool(root) and locations.is_local(root) and locations.parse(source) in locations.parse(root)
    except (ShosoError, ValueError):
        return False


def _is_proxied(source: str) -> bool:
    scheme, _, path = _decoded(source)
    starts = range(len(path) - len(_PROXY) + 1)
    return scheme == "mlflow-artifacts" or (
        scheme in {"http", "https"} and any(path[at : at + len(_PROXY)] == _PROXY for at in starts)
    )


def _is_within(source: str, root: str) -> bool:
    scheme, host, path = _decoded(source)
    *place, folder = _decoded(root)
    return place == [scheme, host] and bool(folder) and path[: len(folder)] == folder


def _decoded(uri: str) -> tuple[str, str, tuple[str, ...]]:
    """Scheme, host and the segments of the path, decoded until nothing is left to decode."""
    parts = _parts(uri)
    path = tuple(_settled(unquote, segment) for segment in parts.path.split("/") if segment)
    return parts.scheme, parts.netloc.lower(), path


def _check_path(source: str) -> None:
    """Refuse a path that is relative, or climbs, also when it is decoded."""
    whole = _settled(unquote_plus, source)
    path = re.sub("/+", "/", _parts(whole).path.rstrip("/"))
    climbs = "\0" in whole or ".." in whole.split("/")
    if climbs or not path.startswith("/") or posixpath.normpath(path) != path:
        raise _refused(source, "Please provide an absolute path without '..' in it.")


def _settled(decode: Callable[[str], str], text: str) -> str:
    while (decoded := decode(text)) != text:
        text = decoded
    return text


def _parts(source: str) -> SplitResult:
    try:
        return urlsplit(source)
    except ValueError:
        raise _refused(source, "It is neither a path nor a URI.") from None


def _refused(source: str, why: str) -> TrackingError:
    return TrackingError(Kind.INVALID, f"Invalid model version source: '{locations.shown(source)}'. {why}")
