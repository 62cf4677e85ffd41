"""A process of its own that logs: says on stdout what was acknowledged, and nothing before.

Arguments: database URI, run id, "points" or "batches", number of calls. Batch n is 200 metrics at step n,
param pn and tag tn.
"""

from __future__ import annotations

import asyncio
import sys

from shoso.metadata import metrics, runs
from shoso.metadata.connect import Database
from shoso.wire.requests import LogBatch, LogMetric, MetricInput, ParamInput, TagInput

TASKS = 4
METRICS = 200


async def main(uri: str, run_id: str, kind: str, calls: int) -> None:
    """Log, `TASKS` calls at a time."""
    database = Database.open(uri, artifact_root="mlflow-artifacts:/")
    log = {"points": log_point, "batches": log_batch}[kind]
    numbers = iter(range(calls))

    async def work() -> None:
        for number in numbers:
            await log(database, run_id, number)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()

    await asyncio.gather(*(work() for _ in range(TASKS)))
    await database.close()


async def log_point(database: Database, run_id: str, number: int) -> None:
    await database.write_each(
        metrics.log_each, LogMetric(run_id=run_id, key="loss", value=0.5, timestamp=1, step=number)
    )


async def log_batch(database: Database, run_id: str, number: int) -> None:
    points = [MetricInput(f"m{index}", 1.0, 1, number) for index in range(METRICS)]
    batch = LogBatch(run_id, points, [ParamInput(f"p{number}", "1")], [TagInput(f"t{number}", "1")])
    await database.write(runs.log_batch, batch, truncate=True)


if __name__ == "__main__":
    uri, run_id, kind, calls = sys.argv[1:]
    asyncio.run(main(uri, run_id, kind, int(calls)))
