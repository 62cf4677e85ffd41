"""One database of many runs, made once by MLflow's own schema and plain SQL: by HTTP it takes minutes."""

import hashlib
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.environments import CACHE, MLFLOW, mlflow_kind
from benchmarks.servers import child_environment

PARAMS, METRICS, TAGS = 20, 20, 5
CHOICES = 10  # values of each param
START = 1_700_000_000_000
EMPTY = (
    "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as S; S(*sys.argv[1:])"
)
COLUMNS = {
    "runs": (
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status"),
        *("start_time", "end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id"),
    ),
    "params": ("run_uuid", "key", "value"),
    "tags": ("run_uuid", "key", "value"),
    "metrics": ("run_uuid", "key", "value", "timestamp", "step", "is_nan"),
    "latest_metrics": ("run_uuid", "key", "value", "timestamp", "step", "is_nan"),
}
HISTORY = "f" * 32
"""The run whose metric `loss` has a long history."""

Tables = dict[str, list[tuple[object, ...]]]


def seeded(runs: int, points: int) -> Path:
    """The file of `runs` runs in experiment 0, and one with `points`; made when the cache has none."""
    recipe = hashlib.sha256(Path(__file__).read_bytes() + MLFLOW[0].encode()).hexdigest()[:12]
    path = CACHE / f"search-{runs}-{points}-{recipe}.db"
    if not path.exists():
        for old in CACHE.glob(f"search-{runs}-*.db*"):
            old.unlink()
        part = path.with_suffix(".part")
        make_empty(f"sqlite:///{part}")
        fill(part, runs, points)
        part.rename(path)
    return path


def make_empty(uri: str) -> None:
    """Let MLflow make its tables there."""
    python = mlflow_kind(*(("psycopg2-binary",) if uri.startswith("postgresql") else ()))
    command = [str(python.executable.parent / "python"), "-c", EMPTY, uri, "mlflow-artifacts:/"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=child_environment(), check=False, cwd=CACHE
    )
    if done.returncode:
        raise RuntimeError(f"MLflow made no database: {done.stderr.strip()[-400:]}")


def all_rows(runs: int, points: int) -> Iterator[Tables]:
    """Every row, some thousands of a table at a time; the same ones each time."""
    dice = random.Random(17)
    for first in range(0, runs, 1000):
        yield _rows(range(first, min(runs, first + 1000)), dice)
    yield {"runs": [_run(HISTORY, "history", START)]}
    for first in range(0, points, 10_000):
        steps = range(first, min(points, first + 10_000))
        yield {"metrics": [(HISTORY, "loss", 1 / (1 + s), START + s, s, False) for s in steps]}
    last = points - 1
    yield {"latest_metrics": [(HISTORY, "loss", 1 / points, START + last, last, False)] if points else []}


def fill(path: Path, runs: int, points: int) -> None:
    """Write every row into a SQLite file that has the tables."""
    database = sqlite3.connect(path)
    try:
        database.execute("PRAGMA synchronous=OFF")
        for tables in all_rows(runs, points):
            for table, rows in tables.items():
                columns = COLUMNS[table]
                marks = ", ".join("?" * len(columns))
                database.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
        database.commit()
    finally:
        database.close()


def _run(run: str, name: str, start: int) -> tuple[object, ...]:
    uri = f"mlflow-artifacts:/0/{run}/artifacts"
    return (run, name, "UNKNOWN", "", "", "bench", "FINISHED", start, start + 500, "", "active", uri, 0)


def _rows(numbers: range, dice: random.Random) -> Tables:
    tables: Tables = {table: [] for table in COLUMNS}
    for number in numbers:
        run, start = f"{dice.getrandbits(128):032x}", START + 1000 * number
        tables["runs"].append(_run(run, f"run-{number}", start))
        tables["params"] += [(run, f"param-{p}", f"value-{dice.randrange(CHOICES)}") for p in range(PARAMS)]
        tables["tags"] += [(run, *tag) for tag in _tags(number, dice)]
        points = [(run, f"metric-{m}", dice.random(), start, 0, False) for m in range(METRICS)]
        tables["metrics"] += points
        tables["latest_metrics"] += points
    return tables


def _tags(number: int, dice: random.Random) -> Iterator[tuple[str, str]]:
    yield "mlflow.runName", f"run-{number}"
    yield "mlflow.user", "bench"
    for extra in range(TAGS - 2):
        yield f"tag-{extra}", f"value-{dice.randrange(CHOICES)}"
