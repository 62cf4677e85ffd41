"""What every scenario gets to work with, and what the contest asks of a scenario."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.clients import Clients
from benchmarks.load import Generator
from benchmarks.rows import Reading, Sizes
from benchmarks.servers import Kind, Server

Stage = Literal["alone", "fresh", "seeded"]


@dataclass(slots=True)
class Contender:
    """One side of the contest; `failure` says why it takes no part in what follows."""

    kind: Kind
    server: Server | None = None
    failure: str | None = None

    @property
    def running(self) -> Server:
        """Its server, which the stage has started."""
        if self.server is None:
            raise RuntimeError(f"{self.kind.name} has no server on this stage")
        return self.server


@dataclass(frozen=True, slots=True)
class Bench:
    """The sizes, the tools and a directory of this run; the directory is removed at the end."""

    sizes: Sizes
    clients: Clients
    generator: Generator
    scratch: Path


class Scenario:
    """A piece of work that gives a reading to each of its rows, once per round and contender.

    `stage` says which server it needs: none (it starts its own), one on a new or on the seeded database.
    """

    rows: ClassVar[tuple[str, ...]] = ()
    stage: Stage = "fresh"

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @property
    def rounds(self) -> int:
        """How many pairs of samples are wanted."""
        return self.bench.sizes.rounds

    def prepare(self, contender: Contender) -> None:
        """Once per contender, outside all timing."""

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """One sample of each row; raises when the server's work was wrong or failed."""
        raise NotImplementedError

    def references(self) -> dict[str, tuple[float, str]]:
        """What the machine itself can do in this round, without either server: name → figure and unit."""
        return {}
