"""One database of many runs, made once by MLflow's own schema and plain SQL: by HTTP it takes minutes."""

import hashlib
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.environments import CACHE, MLFLOW, mlflow_python
from benchmarks.servers import child_environment

PARAMS, METRICS, TAGS = 20, 20, 5
CHOICES = 10  # values of each param
START = 1_700_000_000_000
EMPTY = (
    "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as S; S(*sys.argv[1:])"
)
STATEMENTS = {
    "runs": (
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,"
        " start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
        " VALUES (?, ?, 'UNKNOWN', '', '', 'bench', 'FINISHED', ?, ?, '', 'active', ?, 0)"
    ),
    "params": "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)",
    "tags": "INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)",
    "metrics": (
        "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)"
    ),
    "latest_metrics": (
        "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)"
    ),
}
Tables = dict[str, list[tuple[object, ...]]]


def seeded(runs: int) -> Path:
    """The database of `runs` runs in experiment 0; made when the cache has none of this recipe."""
    recipe = hashlib.sha256(Path(__file__).read_bytes() + MLFLOW[0].encode()).hexdigest()[:12]
    path = CACHE / f"search-{runs}-{recipe}.db"
    if not path.exists():
        for old in CACHE.glob(f"search-{runs}-*.db*"):
            old.unlink()
        part = path.with_suffix(".part")
        _make_empty(part)
        _fill(part, runs)
        part.rename(path)
    return path


def _make_empty(path: Path) -> None:
    arguments = [f"sqlite:///{path}", "mlflow-artifacts:/"]
    command = [str(mlflow_python()), "-c", EMPTY, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=child_environment(), check=False, cwd=CACHE
    )
    if done.returncode:
        raise RuntimeError(f"MLflow made no database: {done.stderr.strip()[-400:]}")


def _fill(path: Path, runs: int) -> None:
    database = sqlite3.connect(path)
    try:
        database.execute("PRAGMA synchronous=OFF")
        dice = random.Random(17)
        for first in range(0, runs, 1000):
            for table, rows in _rows(range(first, min(runs, first + 1000)), dice).items():
                database.executemany(STATEMENTS[table], rows)
        database.commit()
    finally:
        database.close()


def _rows(numbers: range, dice: random.Random) -> Tables:
    tables: Tables = {table: [] for table in STATEMENTS}
    for number in numbers:
        run, start = f"{dice.getrandbits(128):032x}", START + 1000 * number
        tables["runs"].append(
            (run, f"run-{number}", start, start + 500, f"mlflow-artifacts:/0/{run}/artifacts")
        )
        tables["params"] += [(run, f"param-{p}", f"value-{dice.randrange(CHOICES)}") for p in range(PARAMS)]
        tables["tags"] += [(run, *tag) for tag in _tags(number, dice)]
        points = [(run, f"metric-{m}", dice.random(), start, 0) for m in range(METRICS)]
        tables["metrics"] += points
        tables["latest_metrics"] += points
    return tables


def _tags(number: int, dice: random.Random) -> Iterator[tuple[str, str]]:
    yield "mlflow.runName", f"run-{number}"
    yield "mlflow.user", "bench"
    for extra in range(TAGS - 2):
        yield f"tag-{extra}", f"value-{dice.randrange(CHOICES)}"
