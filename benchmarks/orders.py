"""One JSON line in, one JSON line out: how a client process is told what to do; for each kind of client."""

import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


def timed(work: Callable[[], object]) -> Answer:
    """Seconds and CPU seconds of `work`, the path that it returned, this process's peak in MiB so far."""
    began, used = time.perf_counter(), time.process_time()
    path = work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "client_cpu_s": cpu, "path": str(path), "peak_mib": peak}


def digest(path: str) -> Answer:
    """SHA-256 of a file, or over the names and digests of a folder's files."""
    root = Path(path)
    if root.is_file():
        return {"digest": _file_digest(root)}
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    lines = "\n".join(f"{name} {_file_digest(root / name)}" for name in names)
    return {"digest": hashlib.sha256(lines.encode()).hexdigest(), "files": len(names)}


def serve(
    version: str, commands: Mapping[str, Callable[..., Answer]], prepare: Callable[[Answer], None]
) -> None:
    """Answer until stdin closes. What a library prints goes to stderr, so that stdout holds answers only."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps({"ready": version}), file=answers)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), commands, prepare)), file=answers)


def _answer(
    order: Answer, commands: Mapping[str, Callable[..., Answer]], prepare: Callable[[Answer], None]
) -> Answer:
    command = commands[order.pop("do")]
    try:
        prepare(order)
        return command(**order)
    except Exception as error:  # noqa: BLE001  whatever went wrong belongs into the report, not into a dead agent
        return {"error": f"{type(error).__name__}: {error}"[:600]}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
