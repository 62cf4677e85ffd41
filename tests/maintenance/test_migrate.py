"""`shoso migrate`, by real processes: between a server's folder and a bucket, while a real client writes."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from tests.maintenance.moves import SHOSO, Filled

from shoso.maintenance.migrate.moving import Shard


def test_a_move_and_its_way_back_keep_every_artifact_and_every_row(world):
    filled = Filled(world)
    stray = world.server.artifacts / filled.experiment / "traces" / "tr-1" / "artifacts" / "traces.json"
    stray.parent.mkdir(parents=True)
    stray.write_text("{}")
    before = world.places()
    foreseen = world.move("--experiment", "filled", "--dry-run")
    assert foreseen.code == 0
    [only] = foreseen.out["experiments"]
    assert (only["runs"], only["models"], only["versions"], only["copied"]) == (3, 1, 1, 13)
    assert (world.places(), world.objects()) == (before, [])

    moved = world.move()
    assert moved.code == 0, moved
    assert {one["state"] for one in moved.out["experiments"]} == {"moved"}
    assert len(world.objects()) == 13
    assert all(place.startswith(world.there) for place in world.places()["runs"].values())
    filled.check()
    assert [one["state"] for one in world.migrate("status").out] == ["moved", "moved"]
    assert sum(one["copied"] for one in world.move().out["experiments"]) == 0

    run = filled.runs[1]
    filled.expected[run, "late.txt"] = "written to the new place"
    _artifact_repos_cache.clear()
    world.client.log_text(run, filled.expected[run, "late.txt"], "late.txt")
    back = world.migrate("rollback", "--running")
    assert back.code == 0, back
    assert world.places() == before
    assert world.migrate("status").out == []
    filled.check()
    assert len(world.objects()) == 14

    assert world.move().code == 0
    refused = world.migrate("finish")
    assert refused.code == 1
    assert [one["running"] for one in refused.out["experiments"]] == [[], [filled.runs[0]]]
    world.client.set_terminated(filled.runs[0])
    done = world.migrate("finish")
    assert (done.code, done.out["experiments"][0]["state"]) == (0, "finished")
    assert world.files() == [str(stray.relative_to(world.server.artifacts))]
    filled.check()
    assert world.migrate("status").out == []
    assert "nothing that" in world.move().err


def test_a_rollback_by_the_command_deletes_the_copies_and_keeps_what_was_written_since(world):
    filled = Filled(world)
    before, files = world.places(), world.files()
    assert world.move().code == 0
    _artifact_repos_cache.clear()
    for run, path in ((filled.runs[1], "late.txt"), (filled.runs[1], "a/1.txt")):
        filled.expected[run, path] = f"written to the new place: {path}"
        world.client.log_text(run, filled.expected[run, path], path)
    command, env = world.command("rollback", "--delete-copies", "--running", "--yes")
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = [(one["state"], one["deleted"]) for one in json.loads(done.stdout)["experiments"]]
    assert states == [("rolled back", 0), ("rolled back", 14)]
    assert world.objects() == []
    assert world.places() == before
    late = f"{filled.experiment}/{filled.runs[1]}/artifacts/late.txt"
    assert world.files() == sorted([*files, late])
    assert world.migrate("status").out == []
    filled.check()


class Busy:
    """A client that goes on logging to runs, old ones and new, and one that reads what was acknowledged."""

    def __init__(self, filled: Filled) -> None:
        self.filled, self.failures = filled, list[str]()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._until_ended, args=[each]) for each in (self._log, self._read)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _until_ended(self, work: Callable[[int], None]) -> None:
        for number in itertools.count():
            if self._ended.wait(0.02):
                return
            try:
                work(number)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test says it
                self.failures.append(repr(error))

    def _log(self, number: int) -> None:
        client = self.filled.world.client
        if number % 10 == 0:
            self.filled.runs.append(client.create_run(self.filled.experiment).info.run_id)
        run, path = self.filled.runs[-1 - number % 3], f"b/{number}.txt"
        client.log_text(run, f"busy {number}", path)
        self.filled.expected[run, path] = f"busy {number}"

    def _read(self, number: int) -> None:
        (run, path), text = [*self.filled.expected.items()][-1 - number % 7]
        if self.filled.world.get(run, path) != text:
            self.failures.append(f"{run} {path}")


def test_runs_go_on_writing_and_reading_while_their_artifacts_move_there_and_back(world):
    filled = Filled(world)
    with Busy(filled) as busy:
        time.sleep(0.5)
        assert world.move().code == 0
        time.sleep(0.5)
        back = world.migrate("rollback")
        assert (back.code, back.out["experiments"][1]["state"]) == (1, "returned")
        assert back.out["experiments"][1]["running"]
        time.sleep(0.3)
    assert busy.failures == []
    filled.check()
    assert world.migrate("rollback", "--running").code == 0
    assert all(place.startswith("mlflow-artifacts:/") for place in world.places()["runs"].values())
    filled.check()

    run = filled.runs[-1]
    world.client.log_text(run, "early", "early.txt")
    filled.expected[run, "early.txt"] = "early"
    assert world.move().code == 0
    world.client.log_text(run, "late", "late/by who remembers.txt")  # to the old place
    assert f"{run}/artifacts/late/by who remembers.txt" in "".join(world.files())
    _artifact_repos_cache.clear()
    world.client.log_text(run, "new", "late/new.txt")
    assert world.get(run, "late/by who remembers.txt") == "late"
    time.sleep(1.1)
    assert world.listed(run, "late") == ["late/by who remembers.txt", "late/new.txt"]
    filled.expected |= {(run, "late/by who remembers.txt"): "late", (run, "late/new.txt"): "new"}
    done = world.migrate("finish", "--running")
    assert (done.code, sum(one["copied"] for one in done.out["experiments"])) == (0, 1)
    assert world.files() == []
    filled.check()


def test_four_workers_of_dask_move_an_experiment_together(world):
    """The script of docs/guides/migrating.md, as it stands there."""
    filled = Filled(world, runs=8, files=1)
    page = (Path(__file__).parents[2] / "docs" / "guides" / "migrating.md").read_text()
    [script] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    path = world.folder / "move.py"
    path.write_text(script.replace("s3://bucket/mlflow", world.there))
    _, env = world.command()
    env |= {"PATH": f"{Path(SHOSO).parent}:{env['PATH']}", "MLFLOW_BACKEND_STORE_URI": world.server.database}
    done = subprocess.run(
        [sys.executable, str(path)], env=env, cwd=world.folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ids = [*filled.runs, filled.model]
    assert [int(line.split()[1]) for line in done.stdout.splitlines()] == [
        sum(id_ in Shard(number, 4) for id_ in ids) for number in range(1, 5)
    ]
    assert {one["state"] for one in world.migrate("status").out} == {"moved"}
    filled.check()
    assert world.migrate("finish", "--running").code == 0
    assert world.files() == []


def test_shards_are_all_ids_once_in_even_parts():
    ids = [f"{number:032x}" for number in range(0, 1 << 128, 1 << 118)] + ["m-" + "f" * 32, "odd id", "", "é"]
    for count in (1, 2, 3, 7):
        parts = [[id_ for id_ in ids if id_ in Shard(number, count)] for number in range(1, count + 1)]
        assert sorted(itertools.chain(*parts)) == sorted(ids)
        assert all(abs(len(part) - len(ids) / count) < 6 for part in parts)


def test_a_move_that_is_killed_again_and_again_loses_nothing(world):
    filled, dice = Filled(world, runs=4, files=20), random.Random(6)
    for verb in (["--from", "mlflow-artifacts:/", "--to", world.there], ["finish", "--running"]):
        for _ in range(4):
            command, env = world.command(*verb)
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.5 + dice.random())
            process.kill()
            process.wait()
            filled.check()
        done = world.migrate(*verb)
        assert done.code == 0 or "no such" in done.err, done
    filled.check()
    assert world.files() == []


def test_what_can_not_be_moved_is_refused_before_anything_is_copied(world):
    filled = Filled(world, runs=1, files=1)
    before = world.places()
    kept = world.server.artifacts
    for source, target, words in (
        ("mlflow-artifacts:/", str(kept), "--to:.*one place"),
        ("mlflow-artifacts:/", str(kept / "below"), "one lies in"),
        (f"mlflow-artifacts:/{filled.experiment}", "mlflow-artifacts:/", "one lies in"),
        ("s3://nobody/there", world.there, "--from:.*names nothing"),
        ("mlflow-artifacts:/", "dbfs:/x", "no storage that Shoso opens"),
        ("mlflow-artifacts:/", "s3://bucket/../x", "--to: Invalid path"),
    ):
        done = world.migrate("--from", source, "--to", target)
        assert done.code == 1
        assert re.search(words, done.err), done.err
    done = world.migrate("--from", "mlflow-artifacts:/", "--to", f"{world.there}/{'x' * 150}")
    assert "shorter --to" in done.err
    assert done.code == 1
    assert (world.places(), world.objects()) == (before, [])
    world.storage["MLFLOW_S3_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = world.move()
    assert done.code == 1
    assert "127.0.0.1:9" in done.err
    assert world.places() == before
