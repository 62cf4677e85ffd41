"""A server is a family of processes: what the family costs, and how to stop it, wake it and end it.

Members are found by a token in their environment, which children inherit even when they start a session
of their own or lose their parent. Linux only: everything is read from /proc.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TOKEN_NAME = "BENCHMARK_FAMILY"  # the name of a variable, no secret
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes over the whole family, and how many processes it has."""

    rss: int
    pss: int
    processes: int


@dataclass(frozen=True, slots=True)
class Family:
    """Every process that carries one token."""

    token: str

    @property
    def environment(self) -> dict[str, str]:
        """What the first member has to be started with."""
        return {TOKEN_NAME: self.token}

    def members(self) -> list[int]:
        """Process ids, oldest first: parents stand before their children."""
        mark = f"{TOKEN_NAME}={self.token}".encode()
        return sorted(pid for pid in _all_pids() if mark in _environment(pid))

    def memory(self) -> Memory:
        """Resident and proportional size, read from smaps_rollup: exact, too dear for sampling."""
        rollups = [_fields(pid, "smaps_rollup") for pid in self.members()]
        sizes = [fields for fields in rollups if fields]
        return Memory(sum(f["Rss"] for f in sizes), sum(f["Pss"] for f in sizes), len(sizes))

    def cpu_seconds(self) -> float:
        """User and system time so far, ended children that were waited for included."""
        return sum(_cpu_ticks(pid) for pid in self.members()) / TICKS

    def freeze(self) -> None:
        """Stop all members, parents first, so that no parent sees a child that doesn't answer."""
        for pid in self.members():
            _send(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Wake all members, children first, each with the time to answer what its parent had asked."""
        for pid in reversed(self.members()):
            _send(pid, signal.SIGCONT)
            time.sleep(0.005)

    def kill(self) -> None:
        """End whatever is left, until nothing is."""
        for _ in range(50):
            members = self.members()
            if not members:
                return
            for pid in members:
                _send(pid, signal.SIGKILL)
            time.sleep(0.05)


def private_bytes(pids: list[int]) -> int:
    """Anonymous resident memory of the processes: no page cache in it. Cheap enough to be sampled."""
    return PAGE * sum(_anonymous_pages(pid) for pid in pids)


def written_bytes(pids: list[int]) -> int:
    """What the processes have had written to a disk so far."""
    return sum(_written(pid) for pid in pids)


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _environment(pid: int) -> bytes:
    with suppress(OSError):
        return (PROC / str(pid) / "environ").read_bytes()
    return b""


def _fields(pid: int, name: str) -> dict[str, int]:
    """The `Name:  123 kB` lines of a /proc file, in bytes; empty for a process that has gone."""
    with suppress(OSError):
        lines = (PROC / str(pid) / name).read_text().splitlines()
        pairs = (line.split() for line in lines if line.endswith(" kB"))
        return {pair[0].rstrip(":"): int(pair[1]) * KIB for pair in pairs}
    return {}


def _written(pid: int) -> int:
    with suppress(OSError):
        lines = (PROC / str(pid) / "io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
    return 0


def _anonymous_pages(pid: int) -> int:
    """Resident less file-backed pages: fields 2 and 3 of statm (proc(5)), a tenth of the cost of status."""
    with suppress(OSError):
        _, resident, shared, *_ = (PROC / str(pid) / "statm").read_text().split()
        return int(resident) - int(shared)
    return 0


def _cpu_ticks(pid: int) -> int:
    """utime, stime, cutime and cstime: fields 14 to 17 of stat, behind the name (proc(5))."""
    with suppress(OSError):
        text = (PROC / str(pid) / "stat").read_text()
        return sum(int(field) for field in text.rpartition(")")[2].split()[11:15])
    return 0


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
