"""`python -m benchmarks.migrate`: `shoso migrate` beside `shoso artifacts cp`, from a folder to a storage.

Each round moves an experiment (1 GiB in one run, 2,000 small files in twenty), made anew, out of a server's
folder to another folder, or (`--s3`) to a bucket of Ceph's radosgw with bluestore, and copies the same folder
with `cp`, in turn; what is timed is the whole command. Files were put there by Shoso, with digests.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.servers import radosgw
from tests.servers.processes import Launcher

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta, SmallObject
from shoso.maintenance.estate import Estate
from shoso.metadata import experiments, runs
from shoso.metadata.connect import Database
from shoso.wire.requests import CreateExperiment, CreateRun

MIB = 1 << 20
SHOSO = str(Path(sys.executable).with_name("shoso"))
RUNS = 20
SHARE = 0.8
"""Of the speed of a copy, that a move must reach."""


class Made:
    """An experiment with artifacts in a server's folder, and a database that says so."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.kept = folder, folder / "kept"
        self.kept.mkdir(parents=True)
        uri = f"sqlite:///{folder}/mlflow.db"
        own = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_ARTIFACTS_DESTINATION": str(self.kept)}
        self.environment = {**environment, **own, "SHOSO_STATE": str(folder / "state")}

    async def fill(self, mib: int, files: int) -> None:
        """One large file, and so many of 4 KiB."""
        uri = self.environment["MLFLOW_BACKEND_STORE_URI"]
        await Database.open(uri, artifact_root="mlflow-artifacts:/").close()
        estate = Estate.open({}, self.environment)
        number = await estate.database.write(experiments.create, CreateExperiment("e"), "mlflow-artifacts:/")
        data = random.Random(6).randbytes(MIB) * mib
        for at in range(RUNS + 1):
            info = (await estate.database.write(runs.create, CreateRun(number))).info
            place = await estate.place(info.artifact_uri)
            if at == RUNS:
                await place.store.write(keys.join(place.key, "model.bin"), BytesSource(data))
                continue
            names = [keys.join(place.key, f"{n}.txt") for n in range(files // RUNS)]
            small = [data[n * 4096 : (n + 1) * 4096] for n in range(len(names))]
            found = [
                SmallObject(ObjectMeta(Key(key), len(one), 0.0), one)
                for key, one in zip(names, small, strict=True)
            ]
            assert place.store.batches is not None
            await place.store.batches.write(found)
        await estate.close()

    def time(self, *arguments: str) -> float:
        """Seconds of a command, which must succeed; what was written before is on the disk by then."""
        os.sync()
        env = {**os.environ, **self.environment}
        started = time.perf_counter()
        done = subprocess.run([SHOSO, *arguments], env=env, check=False, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"{' '.join(arguments)}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
        return seconds


def sample(work: Path, target: str, environment: Mapping[str, str], mib: int, files: int) -> dict[str, float]:
    """Seconds of a copy and of a move of the same; which comes first is left to chance."""
    made = Made(work, environment)
    asyncio.run(made.fill(mib, files))
    commands = {
        "cp": ("artifacts", "cp", "-r", str(made.kept / "1"), f"{target}/copied"),
        "migrate": ("migrate", "--from", "mlflow-artifacts:/", "--to", f"{target}/moved"),
    }
    found = {}
    for name in random.sample([*commands], 2):
        found[name] = made.time(*commands[name])
    shutil.rmtree(work)
    shutil.rmtree(target, ignore_errors=True)
    return found


def told(rounds: list[dict[str, float]], mib: int) -> bool:
    """Print the figures; whether a move is fast enough."""
    copied = statistics.median(one["cp"] for one in rounds)
    moved = statistics.median(one["migrate"] for one in rounds)
    share = statistics.median(one["cp"] / one["migrate"] for one in rounds)
    print(f"cp {copied:.2f} s ({mib / copied:.0f} MiB/s), migrate {moved:.2f} s ({mib / moved:.0f} MiB/s)")
    print(f"migrate has {share:.2f} of the speed of cp; it must have {SHARE}")
    return share >= SHARE


def run() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrate", description=__doc__)
    parser.add_argument("--s3", action="store_true", help="to a bucket")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large file")
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() as gateway:
        launcher, environment = Launcher("radosgw", Path(gateway)), dict[str, str]()
        try:
            if options.s3:
                environment = radosgw.environment(radosgw.started(launcher, "bluestore").port)
            rounds = []
            for number in range(options.rounds):
                target = f"{work}/to{number}"
                if options.s3:
                    at = int(environment["MLFLOW_S3_ENDPOINT_URL"].rpartition(":")[2])
                    radosgw.client(at).create_bucket(Bucket=f"b{number}x")
                    target = f"s3://b{number}x"
                rounds.append(
                    sample(Path(work) / f"{number}", target, environment, options.mib, options.files)
                )
                print(rounds[-1], flush=True)
            return 0 if told(rounds, options.mib) else 1
        finally:
            launcher.stop()


if __name__ == "__main__":
    raise SystemExit(run())
