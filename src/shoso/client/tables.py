"""Tables: of runs that were found, and the artifacts that MLflow calls tables.

Those are JSON in pandas' "split" shape, or Parquet; images of theirs are files beside them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoso.client.documents import ending
from shoso.client.entities import Run
from shoso.errors import ConfigError, Kind, TrackingError

if TYPE_CHECKING:
    from pandas import DataFrame

LOGGED = "mlflow.loggedArtifacts"
"""The tag that lists a run's tables."""

_FORBIDDEN = frozenset("\"',:[]{}")
"""What MLflow refuses in a table's name: it looks for the tag as text."""


def pandas(hint: str = "") -> Any:
    """The library. Raises ConfigError that says how to get it, or do without."""
    try:
        import pandas as pd
    except ImportError:
        raise ConfigError("pandas", f"isn't installed: {hint}pip install pandas.") from None
    return pd


def check_name(artifact_file: str) -> None:
    """Refuse a name that no table can have. Raises ValueError."""
    if found := _FORBIDDEN.intersection(artifact_file):
        raise ValueError(f"The name of a table may not have {' '.join(sorted(found))} in it.")
    if ending(artifact_file) not in {".json", ".parquet"}:
        raise ValueError(f"The name of a table ends in .json or .parquet, not as '{artifact_file}' does.")


def frame(data: Any) -> DataFrame:
    """The rows as a DataFrame; a dict of plain values is one row. Raises TrackingError(INVALID)."""
    library = pandas()
    if isinstance(data, library.DataFrame):
        made: DataFrame = data.copy(deep=False)
        return made
    if not isinstance(data, dict):
        message = f"A table is a dict or a pandas.DataFrame, not {type(data).__name__}."
        raise TrackingError(Kind.INVALID, message)
    try:
        made = library.DataFrame(data)
    except ValueError:  # all values are scalars
        made = library.DataFrame([data])
    return made


def with_images(table: DataFrame, keep: Callable[[Any], Mapping[str, str]]) -> DataFrame:
    """The table, with what `keep` says of it in place of each image. Raises ValueError for a mixed column."""
    for column in table.select_dtypes(include=["object"]).columns:
        is_image = [_is_image(cell) for cell in table[column]]
        if any(is_image) and not all(is_image):
            raise ValueError(f"Column '{column}' has images and other things in it.")
        if is_image and all(is_image):
            table[column] = [{"type": "image", **keep(cell)} for cell in table[column]]
    return table


def _is_image(cell: Any) -> bool:
    return callable(getattr(cell, "save", None)) and callable(getattr(cell, "resize", None))


def encoded(table: DataFrame, name: str) -> bytes:
    """The bytes of the file. Raises TrackingError(INVALID) for values that it can't hold."""
    try:
        if ending(name) == ".json":
            written: str = table.to_json(orient="split", index=False, date_format="iso")
            return written.encode()
        return bytes(table.to_parquet(index=False))
    except Exception as error:  # pandas and pyarrow raise what they like
        raise TrackingError(Kind.INVALID, f"The table '{name}' can't be written: {error}") from error


def appended(there: bytes, table: DataFrame, name: str) -> DataFrame:
    """The rows of the file that is there, and those of the table behind them."""
    library = pandas()
    before = (
        library.read_json(io.BytesIO(there), orient="split")
        if ending(name) == ".json"
        else (library.read_parquet(io.BytesIO(there)))
    )
    joined: DataFrame = library.concat([before, table], ignore_index=True)
    return joined


def listed(tag: str | None, artifact_file: str) -> str | None:
    """The tag with the table in it; None where it's in it already."""
    tables: list[Any] = json.loads(tag or "[]")
    entry = {"path": artifact_file, "type": "table"}
    return None if entry in tables else json.dumps([*tables, entry])


# -- runs -------------------------------------------------------------------------------------------------


def of_runs(runs: Sequence[Run]) -> DataFrame:
    """A line a run, a column for each metric, param and tag that any of them has, as MLflow shows them."""
    library = pandas()
    info = {name: [getattr(run.info, name) for run in runs] for name in _INFO}
    times = {
        name: [library.to_datetime(getattr(run.info, name), unit="ms", utc=True) for run in runs]
        for name in ("start_time", "end_time")
    }
    made: DataFrame = library.DataFrame(
        {
            **info,
            **times,
            **_columns("metrics", [run.data.metrics for run in runs], float("nan")),
            **_columns("params", [run.data.params for run in runs], None),
            **_columns("tags", [run.data.tags for run in runs], None),
        }
    )
    return made


_INFO = ("run_id", "experiment_id", "status", "artifact_uri")


def _columns(what: str, rows: Sequence[Mapping[str, Any]], missing: object) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {f"{what}.{name}": [row.get(name, missing) for row in rows] for name in names}
