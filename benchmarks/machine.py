"""The facts about this machine and this checkout that a figure is worth nothing without."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from benchmarks.environments import ROOT

GIB = 1 << 30


def facts(scratch: Path) -> dict[str, str | int | float]:
    """Cores, kernel, memory, disk and what else was going on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _line_of(Path("/proc/cpuinfo"), "model name"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "filesystem": _filesystem(scratch),
        "disk_free_gib": round(shutil.disk_usage(scratch).free / GIB, 1),
        "load_average": round(os.getloadavg()[0], 2),
    }


def checkout() -> dict[str, str | bool]:
    """Which source was measured."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {
            "commit": commit,
            "changed": bool(_git("status", "--porcelain", "--", "src", "pyproject.toml")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "changed": True}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _line_of(path: Path, name: str) -> str:
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown")


def _filesystem(path: Path) -> str:
    """The type of the file system that holds the servers' data, of the longest mount point above it."""
    found = {"/": "unknown"}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if path.is_relative_to(mount):
            found[mount] = kind
    return found[max(found, key=len)]
