"""Rows of a server that does nothing: how soon it answers, how much memory it keeps."""

import uuid
from typing import ClassVar

from benchmarks.bench import Contender, Scenario, Stage
from benchmarks.rows import Reading
from benchmarks.servers import Server

MIB = 1 << 20


class Footprint(Scenario):
    """Start on a new database, settle, weigh, stop."""

    rows: ClassVar[tuple[str, ...]] = ("startup", "idle_rss", "idle_pss")
    stage: Stage = "alone"

    @property
    def rounds(self) -> int:
        """Starts are dear: their number is a size of its own."""
        return self.bench.sizes.starts

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """One life of a server."""
        server = Server(contender.kind, self.bench.scratch / f"start-{number}-{uuid.uuid4().hex[:8]}")
        try:
            seconds = server.start()
            settled = server.settle(limit=self.bench.sizes.settle)
            server.check_alive()
            memory = server.memory()
        finally:
            server.stop()
        count = {"processes": float(memory.processes)}
        remark = "" if settled else "still at work when it was weighed"
        return [
            Reading("startup", seconds),
            Reading("idle_rss", memory.rss / MIB, count, remark),
            Reading("idle_pss", memory.pss / MIB, count, remark),
        ]
