"""`python -m benchmarks.collecting`: `shoso gc` beside `mlflow gc`, on deleted runs with small artifacts.

Each round makes the same runs anew for each of both, in SQLite and a folder or a bucket of Ceph's radosgw
(in memory), where clients would have put them; what is timed is the whole command. Beside them, what nobody
can do without: as many files deleted by one call, as many objects by bare obstore, which is told their keys.
`--runs 15000 --only shoso` is the size that users report.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import obstore
from sqlalchemy import update
from tests.servers import radosgw
from tests.servers.processes import Launcher

from benchmarks import environments
from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.maintenance.estate import Estate
from shoso.metadata import experiments, runs, schema
from shoso.metadata.connect import Database
from shoso.wire.requests import CreateExperiment, CreateRun

DATA = b"x" * 1024
WRITERS = 32
BARE = "bare"

Times = Mapping[str, list[tuple[float, float]]]
"""By tool, seconds and MiB of each round."""


class Made:
    """Deleted runs with artifacts at a location, in a database of their own."""

    def __init__(self, folder: Path, location: str, environment: Mapping[str, str]) -> None:
        self.folder, self.location = folder, location
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.environment = {**environment, "MLFLOW_BACKEND_STORE_URI": self.uri}

    async def fill(self, count: int, objects: int) -> None:
        """Make so many runs with so many objects each."""
        await Database.open(self.uri, artifact_root=self.location).close()
        estate = Estate.open({}, self.environment)
        number = await estate.database.write(
            experiments.create, CreateExperiment("e", self.location), self.location
        )
        pending = iter(range(count))

        async def work() -> None:
            for _ in pending:
                await self._run(estate, number, objects)

        await asyncio.gather(*(work() for _ in range(WRITERS)))
        await estate.database.write(
            lambda conn: conn.execute(update(schema.runs).values(lifecycle_stage="deleted", deleted_time=1))
        )
        await estate.close()

    async def _run(self, estate: Estate, number: str, objects: int) -> None:
        location = (await estate.database.write(runs.create, CreateRun(number))).info.artifact_uri
        if locations.is_local(location):  # by plain files, as MLflow's own client writes them
            _write(Path(location), objects)
            return
        place = await estate.place(location)
        for at in range(objects):
            await place.store.write(keys.join(place.key, Key(f"{at}.txt")), BytesSource(DATA))

    def bare(self) -> float:
        """Seconds to delete the objects with the least that can be done, whose keys are known."""
        if locations.is_local(self.location):
            started = time.perf_counter()
            shutil.rmtree(self.location)
            return time.perf_counter() - started
        port = int(self.environment["MLFLOW_S3_ENDPOINT_URL"].rpartition(":")[2])
        bucket = radosgw.bare(self.location.split("/")[2], port)
        found = [one["path"] for page in obstore.list(bucket) for one in page]
        started = time.perf_counter()
        obstore.delete(bucket, found)
        return time.perf_counter() - started

    def time(self, command: list[str]) -> tuple[float, float]:
        """Seconds of the command, which must succeed, and its peak memory in MiB."""
        env = {**os.environ, **self.environment}
        started = time.perf_counter()
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen(command, env=env, cwd=self.folder, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if os.waitstatus_to_exitcode(status):
            sys.exit(f"{' '.join(command)}: {(self.folder / 'log').read_text()[-2000:]}")
        return seconds, used.ru_maxrss / 1024


def _write(folder: Path, objects: int) -> None:
    folder.mkdir(parents=True)
    for at in range(objects):
        (folder / f"{at}.txt").write_bytes(DATA)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collecting", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--objects", type=int, default=20, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("mlflow", "shoso"))
    parser.add_argument("--storage", choices=("local", "s3"), action="append")
    parser.add_argument("--plan", action="store_true", help="make Shoso's plan, and apply nothing")
    parser.add_argument("--scratch", type=Path, help="where the files go for the time")
    options = parser.parse_args()
    tools = {"mlflow": _mlflow, "shoso": _shoso}
    if options.only:
        tools = {options.only: tools[options.only]}
    if options.plan:
        tools = {"shoso": lambda: [*_shoso(), "plan"]}
    print(f"{options.runs:,} deleted runs with {options.objects} objects of {len(DATA)} bytes each; medians")
    print(
        "| storage | "
        + " | ".join(f"{name}, s" for name in (*tools, BARE))
        + " | all, with the peak in MiB |"
    )
    print("|---|" + "---|" * (len(tools) + 1) + "---|")
    for storage in options.storage or ("local", "s3"):
        with tempfile.TemporaryDirectory(prefix="shoso-bench-", dir=options.scratch) as scratch:
            launcher = Launcher("radosgw", Path(scratch, "ceph"))
            launcher.folder.mkdir()
            try:
                times = _rounds(options, tools, _PLACES[storage](launcher, Path(scratch)), Path(scratch))
            finally:
                launcher.stop()
        medians = " | ".join(f"{statistics.median(one for one, _ in each):.2f}" for each in times.values())
        print(f"| {storage} | {medians} | {_all(times)} |", flush=True)


def _rounds(
    options: argparse.Namespace,
    tools: Mapping[str, Callable[[], list[str]]],
    place: Callable[[str], tuple[str, Mapping[str, str]]],
    scratch: Path,
) -> Times:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in (*tools, BARE)}
    for number in range(options.rounds):
        for name, command in tools.items():
            folder = scratch / f"{name}{number}"
            folder.mkdir()
            made = Made(folder, *place(f"{name}{number}"))
            asyncio.run(made.fill(options.runs, options.objects))
            times[name].append(made.time(command()))
            shutil.rmtree(folder)
        folder = scratch / f"bare{number}"
        folder.mkdir()
        made = Made(folder, *place(f"bare{number}"))
        asyncio.run(made.fill(options.runs, options.objects))
        times[BARE].append((made.bare(), 0.0))
        shutil.rmtree(folder, ignore_errors=True)
    return times


def _all(times: Times) -> str:
    return "; ".join(
        f"{name} {' '.join(f'{seconds:.2f} ({peak:.0f})' for seconds, peak in some)}"
        for name, some in times.items()
    )


def _mlflow() -> list[str]:
    # It wants a tracking URI, which nothing is read from here.
    return [str(environments.mlflow_kind("boto3").executable), "gc", "--tracking-uri", "file:///nowhere"]


def _shoso() -> list[str]:
    return [str(environments.shoso_kind("s3").executable), "gc"]


def _local(_launcher: Launcher, scratch: Path) -> Callable[[str], tuple[str, Mapping[str, str]]]:
    return lambda name: (str(scratch / name / "artifacts"), {})


def _s3(launcher: Launcher, _scratch: Path) -> Callable[[str], tuple[str, Mapping[str, str]]]:
    gateway = radosgw.started(launcher)
    environment = radosgw.environment(gateway.port)

    def place(name: str) -> tuple[str, Mapping[str, str]]:
        bucket = f"bench-{name}"
        radosgw.client(gateway.port).create_bucket(Bucket=bucket)
        return f"s3://{bucket}/mlflow", environment

    return place


_PLACES = {"local": _local, "s3": _s3}

if __name__ == "__main__":
    main()
