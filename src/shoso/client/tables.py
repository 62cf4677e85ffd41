"""Tables: of runs that were found, and the artifacts that MLflow calls tables.

Those are JSON in pandas' "split" shape, or Parquet; images of theirs are files beside them.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoso.client.documents import ending
from shoso.client.entities import Run
from shoso.errors import ConfigError, Kind, TrackingError

if TYPE_CHECKING:
    from pandas import DataFrame

_log = logging.getLogger("shoso")

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
    check_characters(artifact_file)
    if ending(artifact_file) not in {".json", ".parquet"}:
        raise ValueError(f"The name of a table ends in .json or .parquet, not as '{artifact_file}' does.")


def check_characters(artifact_file: str) -> None:
    """Refuse a name that the tag can't have in it. Raises ValueError."""
    if found := _FORBIDDEN.intersection(artifact_file):
        raise ValueError(f"The name of a table may not have {' '.join(sorted(found))} in it.")


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
    longer: DataFrame = pandas().concat([decoded(there, name), table], ignore_index=True)
    return longer


def decoded(data: bytes, name: str) -> DataFrame:
    """The rows in a file."""
    library, file = pandas(), io.BytesIO(data)
    read: DataFrame = (
        library.read_json(file, orient="split") if ending(name) == ".json" else library.read_parquet(file)
    )
    return read


def listed(tag: str | None, artifact_file: str) -> str | None:
    """The tag with the table in it; None where it's in it already."""
    entry = {"path": artifact_file, "type": "table"}
    return None if has(tag, artifact_file) else json.dumps([*json.loads(tag or "[]"), entry])


def has(tag: str | None, artifact_file: str) -> bool:
    """Whether the tag lists the table."""
    return {"path": artifact_file, "type": "table"} in json.loads(tag or "[]")


def filter_of(artifact_file: str, run_ids: Sequence[str] | None) -> str:
    """What finds the runs whose tag may list the table, as MLflow asks for them."""
    listed_so = f'"path"%:%"{artifact_file}",%"type"%:%"table"'
    ids = ",".join(map(repr, run_ids or ()))
    return f"tags.{LOGGED} LIKE '%{listed_so}%'" + (f" and attributes.run_id IN ({ids})" if ids else "")


def joined(loaded: Sequence[DataFrame], runs: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The tables as one, each with what its line of `runs` says in these columns. Raises TrackingError."""
    if unknown := [column for column in columns if column not in runs]:
        message = f"There is no column {', '.join(unknown)} to add; there are {', '.join(runs.columns)}."
        raise TrackingError(Kind.INVALID, message)
    for table, (_, run) in zip(loaded, runs.iterrows(), strict=True):
        for column in columns:
            table[_free(column, table)] = run[column]
    whole: DataFrame = pandas().concat(loaded, ignore_index=True)
    return whole


def _free(column: str, table: DataFrame) -> str:
    """The name, with an underscore behind it where the table has such a column itself."""
    if column not in table:
        return column
    _log.warning("The table has a column '%s' of its own; the run's is '%s_'.", column, column)
    return f"{column}_"


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
