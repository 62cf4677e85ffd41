"""The artifacts of a server's runs and logged models, explicitly by id: logged, listed and fetched."""

from __future__ import annotations

import io
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoso.client import artifacts, documents, images, tables
from shoso.client.entities import FileInfo, Run
from shoso.client.logs import Logs
from shoso.core import keys
from shoso.core.clock import now_ms
from shoso.errors import Kind, NotFound, TrackingError, store_error

if TYPE_CHECKING:
    from pandas import DataFrame

_log = logging.getLogger("shoso")

LOGGED_IMAGES = "mlflow.loggedImages"
"""The tag that tells the UI that a run has images."""


class Files(Logs):
    """The calls of `Client` that are about artifacts."""

    def log_artifact(self, run_id: str, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Keep a file, or a folder under its name, below `artifact_path`."""
        self._upload(_of_run(run_id), local_path, artifact_path, named=True)

    def log_artifacts(self, run_id: str, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Keep everything in a folder below `artifact_path`."""
        self._upload(_of_run(run_id), local_dir, artifact_path)

    def log_model_artifact(
        self, model_id: str, local_path: str | Path, artifact_path: str | None = None
    ) -> None:
        """Keep a file of a logged model."""
        self._upload(_of_model(model_id), local_path, artifact_path, named=True)

    def log_model_artifacts(
        self, model_id: str, local_dir: str | Path, artifact_path: str | None = None
    ) -> None:
        """Keep the files of a logged model that are in a folder."""
        self._upload(_of_model(model_id), local_dir, artifact_path)

    def _upload(self, to: str, local: str | Path, artifact_path: str | None, *, named: bool = False) -> None:
        source = Path(local).absolute()
        if local == "" or not source.exists():
            raise store_error(Kind.NOT_FOUND, f"There is no file or folder '{local}' to log.", op="copy")
        if not named and not source.is_dir():
            raise TrackingError(Kind.INVALID, f"'{local}' is no folder; log it with log_artifact.")
        folder = documents.place(artifact_path) if artifact_path else keys.ROOT
        name = Path(local).resolve().name if source.name in {"", ".."} else source.name
        self._sink.upload(to, keys.join(folder, name) if named else folder, str(source))

    # -- documents ----------------------------------------------------------------------------------------

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Keep a text, as UTF-8."""
        self._write(run_id, artifact_file, documents.text(text))

    def log_dict(self, run_id: str, dictionary: Any, artifact_file: str) -> None:
        """Keep a dict or list as JSON, or as YAML where the name ends in .yml or .yaml."""
        self._write(run_id, artifact_file, documents.dictionary(dictionary, artifact_file))

    def log_stream(self, run_id: str, stream: io.BufferedIOBase | io.RawIOBase, artifact_file: str) -> None:
        """Keep what a binary file-like object has to read, to its end."""
        key = documents.place(artifact_file)
        with tempfile.TemporaryDirectory() as folder:  # it can be read once, and an upload may begin again
            path = Path(folder) / keys.name(key)
            with path.open("wb") as file:
                shutil.copyfileobj(stream, file)
            self._sink.upload(_of_run(run_id), key, str(path))

    def log_figure(
        self,
        run_id: str,
        figure: Any,
        artifact_file: str,
        *,
        save_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep a figure of matplotlib's or plotly's, in the format that the name ends in."""
        self._write(run_id, artifact_file, documents.figure(figure, artifact_file, save_kwargs or {}))

    def log_image(
        self,
        run_id: str,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = None,
    ) -> None:
        """Keep an image of PIL's or an array of numpy's: as a file, or as the image `key` at a step."""
        if (artifact_file is None) == (key is None):
            raise TypeError("An image has either an artifact_file or a key.")
        if artifact_file is not None and (step is not None or timestamp is not None):
            raise TypeError("An image with an artifact_file has no step and no timestamp.")
        shown = images.pillow(image)
        if artifact_file is not None:
            self._write(run_id, artifact_file, images.encoded(shown, artifact_file))
        elif key is not None:
            self._picture(run_id, shown, images.of_step(key, step or 0, timestamp or now_ms()), "+compressed")
            self.set_tag(run_id, LOGGED_IMAGES, True)

    def _picture(self, run_id: str, image: Any, name: str, small: str = "") -> dict[str, str]:
        """Keep an image and its thumbnail; what a table says of them."""
        names = {"filepath": f"{name}.png", "compressed_filepath": f"{name}{small}.webp"}
        for kept, path in zip((image, images.thumbnail(image)), names.values(), strict=True):
            self._write(run_id, path, images.encoded(kept, path))
        return names

    def log_table(self, run_id: str, data: dict[str, Any] | DataFrame, artifact_file: str) -> None:
        """Keep a table, or add its rows to the one of that name. Needs pandas."""
        tables.check_name(artifact_file)
        name = images.of_table
        table = tables.with_images(
            tables.frame(data), lambda cell: self._picture(run_id, images.pillow(cell), name(artifact_file))
        )
        there = self._there(run_id, artifact_file)
        if there is not None:
            table = tables.appended(there, table, artifact_file)
        self._write(run_id, artifact_file, tables.encoded(table, artifact_file))
        tags = self.get_run(run_id).data.tags
        if tag := tables.listed(tags.get(tables.LOGGED), artifact_file):
            self.set_tag(run_id, tables.LOGGED, tag)

    def load_table(
        self,
        experiment_id: str,
        artifact_file: str,
        run_ids: list[str] | None = None,
        extra_columns: list[str] | None = None,
    ) -> DataFrame:
        """The rows of a table of the experiment's runs, or of those that are named, in one. Needs pandas.

        `extra_columns` are columns of `shoso.search_runs`, e.g. run_id or params.lr. Raises
        TrackingError(NOT_FOUND) where no run has the table.
        """
        tables.check_characters(artifact_file)
        runs = [*self._with_table(experiment_id, artifact_file, run_ids)]
        if run_ids and len(runs) < len(run_ids):
            _log.warning("Some of the runs lack the table '%s', and are left out.", artifact_file)
        if not runs:
            named = "None of the runs that were named" if run_ids else "No run"
            message = f"{named} in experiment {experiment_id} has the table '{artifact_file}'."
            raise TrackingError(Kind.NOT_FOUND, message)
        loaded = [self._table(run, artifact_file) for run in runs]
        return tables.joined(loaded, tables.of_runs(runs), extra_columns or ())

    def _with_table(self, experiment_id: str, artifact_file: str, run_ids: list[str] | None) -> Iterator[Run]:
        """The runs that have the table; in a filter, some characters of its name would stand for others."""
        wanted, token = tables.filter_of(artifact_file, run_ids), None
        while True:
            page = self.search_runs([experiment_id], wanted, page_token=token)
            yield from (run for run in page if tables.has(run.data.tags.get(tables.LOGGED), artifact_file))
            if not (token := page.token):
                return

    def _table(self, run: Run, artifact_file: str) -> DataFrame:
        data = artifacts.read(f"{_of_run(run.info.run_id)}/{documents.place(artifact_file)}", self._uri)
        return tables.decoded(data, artifact_file)

    def _there(self, run_id: str, artifact_file: str) -> bytes | None:
        try:
            return artifacts.read(f"{_of_run(run_id)}/{documents.place(artifact_file)}", self._uri)
        except NotFound:
            return None

    def _write(self, run_id: str, artifact_file: str, data: bytes) -> None:
        self._sink.write(_of_run(run_id), documents.place(artifact_file), data)

    # -- what is there ------------------------------------------------------------------------------------

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """The artifacts and folders at the run's root, or in the folder `path`."""
        return artifacts.list_artifacts(run_id=run_id, artifact_path=path, tracking_uri=self._uri)

    def list_logged_model_artifacts(self, model_id: str, path: str | None = None) -> list[FileInfo]:
        """The artifacts and folders at the model's root, or in the folder `path`."""
        return artifacts.list_artifacts(_below(_of_model(model_id), path), tracking_uri=self._uri)

    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = None) -> str:
        """Fetch an artifact, or a folder of them; the local path of what was fetched."""
        return artifacts.download_artifacts(
            run_id=run_id, artifact_path=path, dst_path=dst_path, tracking_uri=self._uri
        )

    def delete_artifacts(self, run_id: str, path: str) -> int:
        """Delete for good an artifact, or a folder of them; how many artifacts are gone."""
        return artifacts.delete_artifacts(run_id=run_id, artifact_path=path, tracking_uri=self._uri)

    def delete_logged_model_artifacts(self, model_id: str, path: str) -> int:
        """The same with what a logged model has."""
        return artifacts.delete_artifacts(_below(_of_model(model_id), path), tracking_uri=self._uri)


def _of_run(run_id: str) -> str:
    return f"runs:/{run_id}"


def _of_model(model_id: str) -> str:
    return f"models:/{model_id}"


def _below(uri: str, path: str | None) -> str:
    return f"{uri}/{path}" if path else uri
