"""`python -m benchmarks.proxied`: both servers with an S3 destination, MLflow's own client before them.

The storage is Ceph's radosgw on BlueStore, a bucket of their own for each server. MLflow's server hands its
client signed URLs, so that large files go around it; Shoso streams everything through, by default.
"""

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from tests.servers import radosgw
from tests.servers.processes import Launcher

from benchmarks import environments, machine, report
from benchmarks.artifacts import FOLDER, BigFile, SmallFiles
from benchmarks.bench import Bench, Contender, Scenario
from benchmarks.clients import Clients
from benchmarks.contest import Contest
from benchmarks.load import Generator, new_run
from benchmarks.processes import written_bytes
from benchmarks.rows import Must, Reading, Row, Sizes
from benchmarks.servers import Kind
from benchmarks.wire import Connection, request

ROWS = (
    Row("upload_1gib", "{big} upload, S3, MLflow client", "s", Must("≤ 1/1.5", 1 / 1.5, "at most")),
    Row("upload_1gib_cpu", "server CPU for it", "CPU s"),
    Row("upload_memory", "server memory during it, above idle", "MiB"),
    Row("download_1gib", "{big} download, S3, MLflow client", "s", Must("≤ 1/1.5", 1 / 1.5, "at most")),
    Row("download_1gib_cpu", "server CPU for it", "CPU s"),
    Row("first_byte", "first byte of a {big} GET", "ms", Must("≤ 1/20", 1 / 20, "at most")),
    Row(
        "disk_written",
        "written to the server's disk by that GET",
        "MiB",
        Must("0, but for the log", 0.1, "at most", "figure"),
    ),
    Row("small_up", "{files} files of 4 KiB up, S3, MLflow client", "s"),
    Row("small_down", "{files} files of 4 KiB down, S3, MLflow client", "s"),
)


class FirstByte(Scenario):
    """A GET by plain HTTP of the big file, read to its end."""

    rows: ClassVar[tuple[str, ...]] = ("first_byte", "disk_written")

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._paths: dict[str, str] = {}

    def prepare(self, contender: Contender) -> None:
        """Send the file once."""
        source, run = BigFile(self.bench).source(), new_run(contender.running)
        self.bench.clients.one().ask(
            "upload", uri=contender.running.uri, run=run, path=str(source), folder=FOLDER
        )
        self._paths[contender.kind.name] = f"0/{run}/artifacts/{FOLDER}/{source.name}"

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Milliseconds, and MiB that the server's processes wrote meanwhile."""
        path = quote(self._paths[contender.kind.name])
        before = written_bytes(contender.running.family.members())
        with Connection(contender.running.port, timeout=120) as connection:
            target = f"/api/2.0/mlflow-artifacts/artifacts/{path}"
            seconds = connection.first_byte(request("GET", target, headers="Connection: close\r\n"))
        written = written_bytes(contender.running.family.members()) - before
        return [Reading("first_byte", 1000 * seconds), Reading("disk_written", written / (1 << 20))]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxied", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024, help="size of the big file")
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args()
    sizes = replace(Sizes(), rounds=options.rounds, big=options.mib << 20, files=options.files)
    scratch = Path(tempfile.mkdtemp(prefix="shoso-bench-"))
    (scratch / "storage").mkdir()
    launcher = Launcher("radosgw", scratch / "storage")
    try:
        port = radosgw.started(launcher, "bluestore").port
        print(report.table(_run(sizes, scratch, port)))
    finally:
        launcher.stop()
        shutil.rmtree(scratch, ignore_errors=True)


def _run(sizes: Sizes, scratch: Path, port: int) -> report.Json:
    baseline = _on_s3(environments.mlflow_kind("boto3"), port)
    subject = _on_s3(environments.shoso_kind("s3"), port)
    python = baseline.executable.parent / "python"
    with Clients(python, scratch) as clients:
        bench = Bench(sizes, clients, Generator("python", python, None), scratch)
        contest = Contest(
            contenders=[Contender(baseline), Contender(subject)],
            scenarios=[BigFile(bench), FirstByte(bench), SmallFiles(bench)],
            scratch=scratch,
            seeded=lambda: scratch,
            deadline=time.monotonic() + 60 * sizes.minutes,
            settle=sizes.settle,
        )
        contest.run()
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "quick": False,
        "load_generator": "python",
        "machine": machine.facts(scratch),
        "checkout": machine.checkout(),
        "versions": {kind.name: environments.versions(kind) for kind in (baseline, subject)},
    }
    return report.report(
        list(ROWS), contest.record, baseline="mlflow", subject="shoso", sizes=sizes, about=about
    )


def _on_s3(kind: Kind, port: int) -> Kind:
    """With a bucket of its own."""
    radosgw.client(port).create_bucket(Bucket=kind.name)
    return replace(kind, destination=f"s3://{kind.name}/artifacts", environment=radosgw.environment(port))


if __name__ == "__main__":
    main()
