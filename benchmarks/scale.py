"""`python -m benchmarks.scale`: how a search grows with the runs there are; Shoso alone.

The search of the `search_*` rows, raw HTTP, on databases of the same recipe with ever more runs; on
PostgreSQL once more with the indexes of `shoso db index`.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import databases, environments
from benchmarks.rows import Sizes
from benchmarks.search import FILTER, ORDER, PAGE, raw_search
from benchmarks.servers import Server

CALLS = 11


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--runs", default="1000,10000,100000,200000", help="sizes, by commas")
    parser.add_argument("--database", choices=tuple(databases.KINDS), default="postgres")
    parser.add_argument("--scratch", type=Path, help="where the databases go for the time; about 8 GB")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="shoso-bench-", dir=options.scratch))
    print(f"filter {FILTER}, order {ORDER}, first page of {PAGE}; p50 of {CALLS} calls, {options.database}")
    indexed = options.database == "postgres"
    print("| runs | first call | p50 |" + " first call, indexed | p50, indexed |" * indexed)
    print("|---|---|---|" + "---|---|" * indexed)
    try:
        with ExitStack() as stack:
            place = databases.KINDS[options.database](scratch, stack)
            kind = environments.shoso_kind(place.drivers[1])
            for runs in map(int, options.runs.split(",")):
                server = Server(kind, scratch / str(runs))
                server.home.mkdir()
                print(f"filling a database with {runs:,} runs", file=sys.stderr)
                uri = place.filled(server.home, replace(Sizes(), runs=runs, points=0))
                stack.callback(server.stop)
                server.start(uri)
                line = f"| {runs:,} |{_searched(server)}"
                if indexed:
                    index = [str(kind.executable), "db", "index", uri]
                    subprocess.run(index, stdout=subprocess.DEVNULL, check=True)
                    line += _searched(server)
                print(line, flush=True)
                server.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _searched(server: Server) -> str:
    first, *times = raw_search(server.port, CALLS + 1)[0]
    return f" {first:.0f} ms | {statistics.median(times):.1f} ms |"


if __name__ == "__main__":
    main()
