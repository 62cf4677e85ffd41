"""`python -m benchmarks.transfers`: files and folders through both servers, each by its own client.

Three sides in turn, on local disks or (`--s3`) with a bucket of radosgw behind each server: MLflow's client
and server; Shoso's SDK and server; MLflow's client with Shoso installed beside it, and Shoso's server.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.servers import radosgw
from tests.servers.processes import Launcher

from benchmarks import environments, references
from benchmarks.clients import Client
from benchmarks.load import new_run
from benchmarks.s3 import Bare, timed
from benchmarks.servers import Kind, Server, child_environment

MIB = 1 << 20
SETTLE = 60.0
FOLDER = "bench"


@dataclass(slots=True)
class Side:
    """A client and the server that it talks to."""

    name: str
    server: Server
    client: Client
    peak_mib: float = 0.0

    def upload(self, run: str, path: Path) -> float:
        """Seconds for a file or a folder to be logged."""
        return self._timed("upload", run=run, path=str(path), folder=FOLDER)

    def download(self, run: str, path: str, into: Path) -> float:
        """Seconds for a file or a folder to be fetched into an empty folder.

        It stays: it takes ext4 minutes to use the inodes again of what was removed, and a search for others
        until then.
        """
        into.mkdir()
        return self._timed("download", run=run, path=path, into=str(into))

    def digest(self, path: Path) -> str:
        """What is there."""
        return str(self.client.ask("digest", path=str(path))["digest"])

    def _timed(self, do: str, **arguments: str) -> float:
        os.sync()  # nobody pays for what another one has left in the page cache
        answer = self.client.ask(do, uri=self.server.uri, **arguments)
        self.peak_mib = max(self.peak_mib, answer["peak_mib"])
        return float(answer["seconds"])


@dataclass(slots=True)
class Figures:
    """Seconds by row and side (or reference), one a round."""

    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, side: str, seconds: float) -> None:
        """One more sample."""
        self.seconds.setdefault(row, {}).setdefault(side, []).append(seconds)
        print(f"{row:24} {side:10} {seconds:8.3f} s", flush=True)

    def table(self, names: list[str]) -> str:
        """Medians, and how many times as fast as the first side each other one is."""
        lines = ["| work | " + " | ".join(names) + " | beside |", "|---|" + "---|" * (len(names) + 1)]
        for row, sides in self.seconds.items():
            cells = [_cell(sides, name, names[0]) for name in names]
            others = [f"{name} {_median(sides[name]):.3g} s" for name in sides if name not in names]
            lines.append(f"| {row} | " + " | ".join(cells) + f" | {', '.join(others)} |")
        return "\n".join(lines)


def _cell(sides: dict[str, list[float]], name: str, first: str) -> str:
    if name not in sides:
        return ""
    cell = f"{_median(sides[name]):.3g} s"
    if name != first and first in sides:
        pairs = zip(sides[first], sides[name], strict=False)
        cell += f" ({_median([theirs / ours for theirs, ours in pairs]):.3g}×)"
    return cell


def _median(values: list[float]) -> float:
    return statistics.median(values)


class Work:
    """The rows, on sources made once."""

    def __init__(
        self, scratch: Path, sides: list[Side], options: argparse.Namespace, bare: Bare | None
    ) -> None:
        self._scratch, self._sides, self._options, self._bare = scratch, sides, options, bare
        self._figures = Figures()

    def run(self) -> str:
        """The table."""
        big = _file(self._scratch / "big.bin", self._options.mib)
        small = _folder(self._scratch / "small", self._options.files)
        tree = _tree(self._scratch / "tree")
        for number in range(self._options.rounds):
            for side in self._alone():
                self._there_and_back(side, "big", big, number)
            if not self._options.s3:
                self._refer(big)
            for side in self._alone():
                self._there_and_back(side, "small", small, number)
            if self._bare is not None:
                self._refer_small(self._bare)
            for side in self._alone():
                self._tree(side, tree, number)
        if self._options.again:
            self._again(_folder(self._scratch / "again", self._options.again))
        peaks = ", ".join(f"{side.name} {side.peak_mib:.0f} MiB" for side in self._sides)
        return f"{self._figures.table([side.name for side in self._sides])}\n\nclient's peak memory: {peaks}"

    def _alone(self) -> Iterator[Side]:
        """Each side in turn, the other servers stopped."""
        for chosen in self._sides:
            for side in self._sides:
                if side is not chosen:
                    side.server.freeze()
            chosen.server.thaw()
            yield chosen

    def _there_and_back(self, side: Side, what: str, source: Path, number: int) -> None:
        run, into = new_run(side.server), self._scratch / f"{what}-{side.name}-{number}"
        self._figures.add(f"{what} up", side.name, side.upload(run, source))
        path = FOLDER if source.is_dir() else f"{FOLDER}/{source.name}"
        self._figures.add(f"{what} down", side.name, side.download(run, path, into))
        if number == 0:
            self._compare(side, run, path, source)

    def _compare(self, side: Side, run: str, path: str, source: Path) -> None:
        into = self._scratch / f"compared-{source.name}-{side.name}"
        into.mkdir()
        fetched = side.client.ask("download", uri=side.server.uri, run=run, path=path, into=str(into))["path"]
        if side.digest(Path(fetched)) != side.digest(source):
            raise RuntimeError(f"{side.name}: what was downloaded differs from what was uploaded")

    def _tree(self, side: Side, tree: Path, number: int) -> None:
        run, into = new_run(side.server), self._scratch / f"tree-{side.name}-{number}"
        side.upload(run, tree)
        self._figures.add("tree down", side.name, side.download(run, FOLDER, into))

    def _again(self, folder: Path) -> None:
        """The same folder twice; MLflow sends all of it again, so that its second time is measured once."""
        for side in self._alone():
            run = new_run(side.server)
            self._figures.add("many up", side.name, side.upload(run, folder))
            for _ in range(1 if side.name == "mlflow" else 3):
                self._figures.add("many up again", side.name, side.upload(run, folder))

    def _refer(self, big: Path) -> None:
        os.sync()
        copied = references.copy_and_sync(big, self._scratch / "copy.bin")
        self._figures.add("big up", "cp", copied)
        self._figures.add("big up", "socket", references.loopback(big.stat().st_size))

    def _refer_small(self, bare: Bare) -> None:
        """As many objects sent to the same gateway and fetched with no server between."""
        for row, step in (("small up", bare.put_small), ("small down", bare.get_small)):
            seconds, _ = asyncio.run(timed(step(self._options.files)))
            self._figures.add(row, "obstore", seconds)


def _file(path: Path, mib: int) -> Path:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    return path


def _folder(path: Path, files: int) -> Path:
    path.mkdir()
    for number in range(files):
        (path / f"file-{number:05d}.bin").write_bytes(os.urandom(4096))
    return path


def _tree(root: Path) -> Path:
    """500 folders on five levels, four files in each."""
    folders = [root]
    for folder in folders:
        folder.mkdir()
        for number in range(4):
            (folder / f"{number}.bin").write_bytes(os.urandom(1024))
        deeper = len(folder.relative_to(root).parts) < 4
        folders += [folder / f"sub-{n}" for n in range(5) if deeper and len(folders) + n < 500]
    return root


def imports(python: Path, *arguments: str) -> float:
    """Seconds of a command of that interpreter, the median of nine."""
    return statistics.median(_elapsed([str(python), *arguments]) for _ in range(9))


def _elapsed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=child_environment())
    return time.perf_counter() - began


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024, help="size of the big file")
    parser.add_argument("--files", type=int, default=2000, help="files of 4 KiB in the small folder")
    parser.add_argument("--again", type=int, default=10_000, help="files of the folder logged twice")
    parser.add_argument("--s3", action="store_true", help="radosgw behind the servers")
    parser.add_argument("--sides", default="mlflow,shoso,plugin")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="shoso-bench-"))
    try:
        with ExitStack() as stack:
            port = _gateway(scratch, stack) if options.s3 else None
            sides = _sides(scratch, options, stack, port)
            print(Work(scratch, sides, options, port and _bare(port, scratch)).run())
        _print_imports()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sides(scratch: Path, options: argparse.Namespace, stack: ExitStack, gateway: int | None) -> list[Side]:
    extras = ("boto3", "s3") if gateway else ()
    mlflow, shoso = environments.mlflow_kind(*extras[:1]), environments.shoso_kind(*extras[1:])
    clients = {
        "mlflow": (mlflow, mlflow.executable.parent / "python", "benchmarks.agent"),
        "shoso": (shoso, shoso.executable.parent / "python", "benchmarks.sdk_agent"),
        "plugin": (shoso, environments.plugin_python(), "benchmarks.agent"),
    }
    sides = []
    for name in options.sides.split(","):
        kind, python, module = clients[name]
        server = Server(_placed(kind, name, gateway) if gateway else kind, scratch / name)
        stack.callback(server.stop)
        server.start()
        server.settle(limit=SETTLE)
        client = Client(python, scratch / f"{name}.log", module)
        stack.callback(client.stop)
        client.answer()
        sides.append(Side(name, server, client))
    return sides


def _gateway(scratch: Path, stack: ExitStack) -> int:
    """The port of a radosgw that keeps objects on disk."""
    (scratch / "storage").mkdir()
    launcher = Launcher("radosgw", scratch / "storage")
    stack.callback(launcher.stop)
    return radosgw.started(launcher, "bluestore").port


def _placed(kind: Kind, name: str, gateway: int) -> Kind:
    """The server with a bucket of its own."""
    radosgw.client(gateway).create_bucket(Bucket=name)
    return replace(kind, destination=f"s3://{name}/artifacts", environment=radosgw.environment(gateway))


def _bare(gateway: int, scratch: Path) -> Bare:
    radosgw.client(gateway).create_bucket(Bucket="bare")
    return Bare(radosgw.bare("bare", gateway), scratch)


def _print_imports() -> None:
    ours, theirs = environments.shoso_kind().executable, environments.mlflow_kind().executable
    for name, executable in (("shoso", ours), ("mlflow", theirs)):
        python = executable.parent / "python"
        bare = imports(python, "-c", "pass")
        print(f"import {name}: {imports(python, '-c', f'import {name}') - bare:.3f} s")
        print(f"{name} --version: {imports(python, str(executable), '--version'):.3f} s")


if __name__ == "__main__":
    main()
