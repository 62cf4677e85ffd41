"""Rows of a search over many runs."""

import json
import statistics
import time
from typing import ClassVar

from benchmarks.bench import Contender, Scenario, Stage
from benchmarks.rows import Reading
from benchmarks.wire import Connection, ReplyError, json_request

FILTER = "metrics.`metric-3` > 0.01 and params.`param-2` = 'value-3' and tags.`tag-2` = 'value-8'"
ORDER = ["metrics.`metric-5` DESC"]
PAGE = 100
WARM_UP = 3


class DifferentAnswerError(RuntimeError):
    """The servers found different runs, or the same in another order, in the same database."""


class Search(Scenario):
    """The first page of a filtered and ordered search; both servers must give the same runs in one order."""

    rows: ClassVar[tuple[str, ...]] = ("search_client", "search_raw")
    stage: Stage = "seeded"
    expected: list[str] | None = None

    def prepare(self, contender: Contender) -> None:
        """Warm up, and compare what is found."""
        found = self._by_client(contender, WARM_UP)["runs"]
        if self.expected is None:
            self.expected = found
        if found != self.expected or not found:
            raise DifferentAnswerError(
                f"found {len(found)} runs, not the same {len(self.expected)} as the other"
            )
        times, body = raw_search(contender.running.port, 1)
        raw = [run["info"]["run_id"] for run in json.loads(body)["runs"]]
        if raw != found:
            raise DifferentAnswerError(f"{len(times)} raw call gave other runs than the MLflow client")

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """The median of many calls, in milliseconds."""
        del number
        calls = self.bench.sizes.searches
        by_client = self._by_client(contender, calls)["ms"]
        by_socket, body = raw_search(contender.running.port, calls)
        size = {"reply_bytes": float(len(body))}
        return [
            Reading("search_client", statistics.median(by_client)),
            Reading("search_raw", statistics.median(by_socket), size),
        ]

    def _by_client(self, contender: Contender, calls: int) -> dict[str, list[str] | list[float]]:
        work = {"text": FILTER, "order_by": ORDER, "page": PAGE, "calls": calls}
        uri = contender.running.uri
        return self.bench.clients.one().ask("search", uri=uri, experiment="0", **work)


def raw_search(port: int, calls: int) -> tuple[list[float], bytes]:
    """Milliseconds of each call on one connection, and the last reply's body."""
    order = {"experiment_ids": ["0"], "filter": FILTER, "order_by": ORDER, "max_results": PAGE}
    message = json_request("POST", "/api/2.0/mlflow/runs/search", order)
    times, body = [], b""
    with Connection(port) as connection:
        for _ in range(calls):
            began = time.perf_counter()
            status, body = connection.exchange(message)
            times.append(1000 * (time.perf_counter() - began))
            if status != 200:
                raise ReplyError(f"runs/search: {status} {body[:300].decode(errors='replace')}")
    return times, body
