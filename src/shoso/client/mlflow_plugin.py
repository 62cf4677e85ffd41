"""MLflow's entry point `mlflow.artifact_repository`: the artifacts of an unmodified script go Shoso's way.

MLflow loads this module with its registry of repositories, in every script that logs or reads an artifact;
what Shoso needs beyond it is imported with the first transfer. `SHOSO_MLFLOW_PLUGIN=off` leaves everything to
MLflow, and so does a process of MLflow's own server: what that does for its clients is its own affair.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import mlflow
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository

from shoso.client.settings import MLFLOW_PLUGIN
from shoso.core import keys
from shoso.core.options import from_environment
from shoso.errors import Kind, ShosoError

if TYPE_CHECKING:
    from shoso.client.link import Link
    from shoso.transfer import Progress

T = TypeVar("T")

_log = logging.getLogger("shoso.client")

_SERVER = "_MLFLOW_SERVER_FILE_STORE"
"""MLflow sets it in the processes of its server."""

_OWN = {
    "mlflow-artifacts": "mlflow_artifacts_repo:MlflowArtifactsRepository",
    "http": "http_artifact_repo:HttpArtifactRepository",
    "https": "http_artifact_repo:HttpArtifactRepository",
    "s3": "s3_artifact_repo:S3ArtifactRepository",
    "gs": "gcs_artifact_repo:GCSArtifactRepository",
    "wasbs": "azure_blob_artifact_repo:AzureBlobArtifactRepository",
    "abfss": "azure_data_lake_artifact_repo:AzureDataLakeArtifactRepository",
    "sftp": "sftp_artifact_repo:SFTPArtifactRepository",
    "ftp": "ftp_artifact_repo:FTPArtifactRepository",
    "hdfs": "hdfs_artifact_repo:HdfsArtifactRepository",
}
"""MLflow's own repository of each scheme that the entry points take."""


def repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """The repository at a URI: Shoso's, or MLflow's own where that is wanted."""
    if _is_on():
        return ShosoArtifactRepository(artifact_uri, tracking_uri, registry_uri)
    module, _, name = _OWN[urlsplit(artifact_uri).scheme].partition(":")
    own = getattr(import_module(f"mlflow.store.artifact.{module}"), name)
    found: ArtifactRepository = own(artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri)
    return found


def _is_on() -> bool:
    """Whether transfers are ours. Raises MlflowException for a switch that can't be read."""
    with _as_mlflows():
        on: bool = from_environment([MLFLOW_PLUGIN], os.environ)[MLFLOW_PLUGIN.field]
    return on and _SERVER not in os.environ


class ShosoArtifactRepository(ArtifactRepository):
    """Artifacts below a URI, by Shoso's engine: many at once, verified, and resumed by doing it again."""

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Keep a file in the folder `artifact_path`. Raises FileNotFoundError, as MLflow does."""
        if not Path(local_file).exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), local_file)
        self._upload(local_file, _joined(artifact_path, Path(local_file).name))

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Keep what is in a folder, in the folder `artifact_path`; what is there already isn't sent again.

        Where there is no folder MLflow logs nothing and says nothing; here is a warning.
        """
        if not Path(local_dir).is_dir():
            _log.warning("There is no folder '%s': nothing of it is logged.", local_dir)
            return
        self._upload(local_dir, artifact_path or "")

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """The artifacts and folders directly in a folder; none in an artifact."""
        from shoso.client import remote

        found = self._run(remote.listed(self._link, self.artifact_uri, path or ""))
        return [FileInfo(each.path, each.is_dir, each.file_size) for each in found]

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Fetch an artifact or a folder to its path below `dst_path`; where it is then."""
        from mlflow.utils.file_utils import create_tmp_dir

        folder = Path(dst_path or create_tmp_dir()).absolute()  # type: ignore[no-untyped-call]
        _require_folder(folder)
        with _as_mlflows():
            target = folder / keys.parse((artifact_path or "").strip("/"))  # never out of the folder
        self._fetch(artifact_path or "", target)
        return str(target)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        """Fetch one artifact; other repositories of MLflow's call it, under a bar of their own."""
        from shoso.client import remote

        target = Path(local_path).absolute()
        self._run(remote.downloaded(self._link, self.artifact_uri, remote_file_path, target))

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete an artifact, or a folder with everything in it; what isn't there is fine."""
        from shoso.client import remote

        self._run(remote.deleted(self._link, self.artifact_uri, artifact_path or ""))

    # -- Shoso's side -------------------------------------------------------------------------------------

    @property
    def _link(self) -> Link:
        """What this process has open to the tracking server, or to none where MLflow's is no server."""
        from shoso.client import link

        address = self.tracking_uri or mlflow.get_tracking_uri()
        return link.to(address) if address.startswith(("http:", "https:")) else link.alone()

    def _upload(self, source: str, path: str) -> None:
        from shoso.client import remote

        way, to = self._link, self.artifact_uri
        self._watched(lambda told: remote.uploaded(way, source, to, path, told))

    def _fetch(self, path: str, target: Path) -> None:
        from shoso.client import remote

        way, at = self._link, self.artifact_uri
        self._watched(lambda told: remote.downloaded(way, at, path, target, told))

    def _watched(self, work: Callable[[Progress], Coroutine[Any, Any, T]]) -> T:
        """With Shoso's bar, on a terminal; MLflow draws its own only where it fetches file by file."""
        from shoso.client import progress

        with _as_mlflows():
            return progress.watched(self._link.settings, work)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        from shoso.client import blocking

        with _as_mlflows():
            return blocking.run(work)


def _joined(folder: str | None, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder else name


def _require_folder(folder: Path) -> None:
    """Raise what MLflow raises for a destination that is missing, or is no folder."""
    if not folder.exists():
        message = f"The destination path for downloaded artifacts does not exist! Destination path: {folder}"
        raise MlflowException(message, error_code=_code(Kind.NOT_FOUND))
    if not folder.is_dir():
        message = (
            f"The destination path for downloaded artifacts must be a directory! Destination path: {folder}"
        )
        raise MlflowException.invalid_parameter_value(message)


@contextmanager
def _as_mlflows() -> Iterator[None]:
    """Our errors as MLflow's, of the same kind."""
    try:
        yield
    except ShosoError as error:
        raise MlflowException(error.message, error_code=_code(error.kind)) from error


def _code(kind: Kind) -> int:
    from mlflow.protos import databricks_pb2

    names = databricks_pb2.ErrorCode
    name = kind.error_code
    return int(names.Value(name if name in names.keys() else "INTERNAL_ERROR"))  # noqa: SIM118  (no mapping)
