"""Artifacts by URI, or by run and path: listed, fetched, loaded, and opened like local files.

A URI is `runs:/<run_id>/<path>`, `models:/<model_id>/<path>`, `mlflow-artifacts:/<path>`, or the place in a
storage itself, e.g. `s3://bucket/path`, which is reached with the caller's own credentials.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoso.client import blocking, finding, link, progress
from shoso.client.entities import FileInfo
from shoso.client.places import is_root
from shoso.client.policy import policy
from shoso.client.transfers import download
from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.errors import Kind, NotFound, TrackingError, store_error
from shoso.transfer import Progress, Selection, remove

if TYPE_CHECKING:
    from PIL.Image import Image

    from shoso.client.reader import ArtifactFile


def list_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    tracking_uri: str | None = None,
) -> list[FileInfo]:
    """The artifacts and folders in the folder at a URI, or in the run's folder `artifact_path`.

    Paths are as seen from the run or the model, or from the folder above the URI. Where nothing is, or an
    artifact rather than a folder, the list is empty.
    """
    uri = _uri(artifact_uri, run_id, artifact_path)
    return sorted(blocking.run(_listed(uri, tracking_uri)), key=lambda info: info.path)


async def _listed(uri: str, tracking_uri: str | None) -> list[FileInfo]:
    root, entries = await finding.entries(link.reach(tracking_uri).places, uri)
    folder = _split(uri)[1]
    return [finding.info(entry, root, folder) for entry in entries]


def download_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    dst_path: str | Path | None = None,
    tracking_uri: str | None = None,
) -> str:
    """Fetch an artifact or a folder of them into the folder `dst_path`; the local path of what was fetched.

    A folder keeps its name there, unless a slash ends it: then what is in it goes into `dst_path` itself.
    Without `dst_path` it goes to a new temporary folder, and what is on this machine stays where it is. Done
    again after a failure, it goes on where it stopped. Raises StoreError(NOT_FOUND), CopyError.
    """
    uri = _uri(artifact_uri, run_id, artifact_path)
    if dst_path is None and locations.is_local(uri) and (there := locations.local_path(uri)).exists():
        return str(there)
    folder = Path(dst_path or tempfile.mkdtemp()).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    named = str(artifact_path or artifact_uri or "")
    target = folder if named.endswith("/") else folder / keys.name(_split(uri)[1])
    way = link.reach(tracking_uri)
    with _explained(uri):
        progress.watched(way.settings, lambda told: _fetch(way, uri, target, told))
    return str(target)


async def _fetch(way: link.Link, uri: str, target: Path, told: Progress) -> None:
    await download(way.settings, await way.places.find(uri), target, told)


def delete_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    tracking_uri: str | None = None,
) -> int:
    """Delete for good an artifact, or a folder with all that is in it; the number of artifacts that are gone.

    All that a run, a model or a storage has isn't deleted at once: that is INVALID. Raises
    StoreError(NOT_FOUND) where nothing is.
    """
    uri = _uri(artifact_uri, run_id, artifact_path)
    with _explained(uri):
        return blocking.run(_deleted(link.reach(tracking_uri), uri))


async def _deleted(way: link.Link, uri: str) -> int:
    place = await way.places.open(uri)
    if is_root(uri, place):
        message = f"'{locations.shown(uri)}' is a root, which isn't deleted as a whole; name what is in it."
        raise TrackingError(Kind.INVALID, message)
    return (await remove(place.store, Selection(place.key), policy(way.settings, place.store))).removed


def read(artifact_uri: str, tracking_uri: str | None = None) -> bytes:
    """The bytes of an artifact, verified. Raises StoreError(NOT_FOUND)."""
    with _explained(artifact_uri):
        return blocking.run(finding.read(link.reach(tracking_uri).places, artifact_uri))


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Say what there isn't in the caller's words too: the store's may be of a bucket that is missing."""
    try:
        yield
    except NotFound as error:
        message = f"There is no artifact at '{locations.shown(uri)}': {error.message}"
        raise store_error(Kind.NOT_FOUND, message, op="read", key=error.key) from error


def load_text(artifact_uri: str) -> str:
    """The text in an artifact. Raises TrackingError(INVALID) for one that isn't UTF-8."""
    try:
        return read(artifact_uri).decode()
    except UnicodeDecodeError:
        message = f"'{artifact_uri}' is not UTF-8; read it with shoso.artifacts.open, and decode it yourself."
        raise TrackingError(Kind.INVALID, message) from None


def load_dict(artifact_uri: str) -> Any:
    """The value in a JSON artifact. Raises TrackingError(INVALID)."""
    try:
        return json.loads(load_text(artifact_uri))
    except ValueError as error:
        raise TrackingError(Kind.INVALID, f"'{artifact_uri}' is not JSON: {error}.") from None


def load_image(artifact_uri: str) -> Image:
    """The image in an artifact, as PIL has it. Raises TrackingError(INVALID)."""
    from shoso.client.images import decoded

    data = read(artifact_uri)
    try:
        return decoded(data)
    except (OSError, ValueError) as error:
        raise TrackingError(Kind.INVALID, f"'{artifact_uri}' is no image: {error}.") from None


def open(artifact_uri: str, mode: str = "rb", tracking_uri: str | None = None) -> ArtifactFile:  # noqa: A001
    """The artifact as a binary file to read: seekable, a context manager, of one version to the end.

    Raises StoreError(NOT_FOUND) here, and CHANGED from a read once the artifact has been replaced.
    """
    from shoso.client.reader import open_artifact

    if mode not in {"r", "rb"}:
        raise ValueError(f"An artifact is opened with mode 'rb', not {mode!r}; log_artifact writes one.")
    with _explained(artifact_uri):
        return open_artifact(lambda: finding.find(link.reach(tracking_uri).places, artifact_uri))


def _uri(artifact_uri: str | None, run_id: str | None, artifact_path: str | None) -> str:
    """The one URI that the arguments name. Raises TrackingError(INVALID)."""
    if (artifact_uri is None) == (run_id is None):
        raise TrackingError(Kind.INVALID, "Give either artifact_uri or run_id.")
    if artifact_uri is not None and artifact_path is not None:
        raise TrackingError(Kind.INVALID, "artifact_path goes with run_id; write it into artifact_uri.")
    if artifact_uri is not None:
        return str(artifact_uri)
    path = artifact_path and keys.parse(str(artifact_path).rstrip("/"))
    return f"runs:/{run_id}/{path}" if path else f"runs:/{run_id}"


def _split(uri: str) -> tuple[str, Key]:
    """The run or model, or the folder above, that an artifact is seen from, and its path from there."""
    scheme, _, rest = uri.partition(":")
    if scheme in {"runs", "models"}:
        owner, _, path = rest.lstrip("/").partition("/")
        return f"{scheme}:/{owner}", keys.parse(path.strip("/"))
    above, _, name = uri.rstrip("/").rpartition("/")
    return above, keys.parse(name)
