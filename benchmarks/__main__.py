"""`python -m benchmarks`: both servers, the same clients, one table."""

import argparse
import fcntl
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import databases as places
from benchmarks import environments, machine, processes, report
from benchmarks.artifacts import BigFile, SmallFiles
from benchmarks.bench import Bench, Contender, Scenario
from benchmarks.clients import Clients
from benchmarks.contest import Contest
from benchmarks.footprint import Footprint
from benchmarks.load import Generator
from benchmarks.rows import QUICK, ROWS, Row, Sizes
from benchmarks.search import Search
from benchmarks.servers import Kind
from benchmarks.tracking import (
    EightClients,
    Health,
    History,
    LogBatch,
    ManyRuns,
    OneClient,
    RawEight,
    RawThirtyTwo,
)

# Light work first: what grows the database or the disk comes after what would feel it.
SCENARIOS = (
    *(Footprint, Health, OneClient, LogBatch, EightClients, RawEight, RawThirtyTwo),
    *(BigFile, SmallFiles, Search, History, ManyRuns),
)


def main() -> int:
    """Run what was asked for; 0 when every row has all its rounds, 1 when something couldn't be measured."""
    options = _options()
    if options.list:
        print("\n".join(f"{row.name:22} {row.title.format(**Sizes().words())}" for row in ROWS))
        return 0
    if options.show:
        result = json.loads(options.show.read_text())
    else:
        if not processes.PROC.joinpath("self").exists():
            raise SystemExit("the benchmarks read memory and CPU time from /proc: they need Linux")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with _alone():
            result = _run(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(report.table(result))
    return 0 if report.complete(result) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=_rows, default=list(ROWS), help="names or their beginnings, by commas")
    parser.add_argument("--rounds", type=int, help="pairs of samples of each row (5)")
    parser.add_argument(
        "--minutes", type=float, help="rounds that would end later are left out (45; quick 4)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that all works, measures nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every reading there")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of an earlier run's JSON")
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    parser.add_argument(
        "--load", choices=("auto", "wrk", "python"), default="auto", help="raw load generator"
    )
    parser.add_argument(
        "--database", choices=tuple(places.KINDS), default="sqlite", help="what both servers write to"
    )
    parser.add_argument(
        "--scratch", type=Path, help="where the servers' data and the big files go for the time"
    )
    parser.add_argument(
        "--subject",
        choices=("shoso", "mlflow"),
        default="shoso",
        help="mlflow: measure it against itself, which shows how far equal things differ here",
    )
    return parser.parse_args()


def _rows(text: str) -> list[Row]:
    names = tuple(filter(None, text.split(",")))
    if unknown := [name for name in names if not any(row.name.startswith(name) for row in ROWS)]:
        raise argparse.ArgumentTypeError(f"no row is called {', '.join(unknown)}; --list shows the names")
    return [row for row in ROWS if row.name.startswith(names)]


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else Sizes()
    if options.rounds:
        sizes = replace(sizes, rounds=options.rounds, starts=options.rounds)
    return replace(sizes, minutes=options.minutes) if options.minutes else sizes


def _run(options: argparse.Namespace) -> dict[str, Any]:
    sizes = _sizes(options)
    python = environments.mlflow_python()
    baseline, subject = _contenders(options.subject, places.KINDS[options.database].drivers)
    generator = _generator(options.load, python)
    scratch = Path(tempfile.mkdtemp(prefix="shoso-bench-", dir=options.scratch))
    about = _about(options, generator, scratch, [baseline, subject])
    try:
        with ExitStack() as stack, Clients(python, scratch) as clients:
            bench = Bench(sizes, clients, generator, scratch)
            contest = Contest(
                contenders=[baseline, subject],
                scenarios=_scenarios(bench, {row.name for row in options.rows}),
                scratch=scratch,
                databases=places.KINDS[options.database](scratch, stack),
                sizes=sizes,
                deadline=time.monotonic() + 60 * sizes.minutes,
            )
            _watched(contest)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    ends = {"baseline": baseline.kind.name, "subject": subject.kind.name}
    return report.report(
        [row.on(options.database) for row in options.rows], contest.record, **ends, sizes=sizes, about=about
    )


def _scenarios(bench: Bench, names: set[str]) -> list[Scenario]:
    scenarios = [kind(bench) for kind in SCENARIOS if names.intersection(kind.rows)]
    for scenario in scenarios:
        if bench.sizes.one_database and scenario.stage == "fresh":
            scenario.stage = "seeded"
    return scenarios


def _watched(contest: Contest) -> None:
    """Run it; what was measured before an interruption is still reported."""
    try:
        contest.run()
    except KeyboardInterrupt:
        for scenario in contest.scenarios:
            contest.record.note(scenario.rows, "interrupted")


def _contenders(subject: str, drivers: tuple[str, str]) -> tuple[Contender, Contender]:
    theirs, ours = drivers
    baseline = environments.mlflow_kind(*filter(None, [theirs]))
    if subject == "mlflow":
        return Contender(baseline), Contender(replace(baseline, name="mlflow again"))
    try:
        return Contender(baseline), Contender(environments.shoso_kind(ours))
    except environments.SetupError as error:
        return Contender(baseline), Contender(Kind("shoso", Path("shoso")), failure=str(error))


def _generator(wanted: str, python: Path) -> Generator:
    found = environments.wrk() if wanted != "python" else None
    if wanted == "wrk" and found is None:
        raise SystemExit("wrk isn't installed and couldn't be; --load python does without it")
    return Generator("wrk" if found else "python", python, found)


def _about(
    options: argparse.Namespace, generator: Generator, scratch: Path, contenders: list[Contender]
) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "load_generator": generator.name,
        "database": options.database,
        "machine": machine.facts(scratch),
        "checkout": machine.checkout(),
        "versions": {c.kind.name: environments.versions(c.kind) for c in contenders if c.failure is None},
    }


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs at once would measure each other."""
    environments.CACHE.mkdir(parents=True, exist_ok=True)
    with (environments.CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("another benchmark runs in this checkout; wait for it") from None
        yield


if __name__ == "__main__":
    sys.exit(main())
