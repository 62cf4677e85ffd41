"""Two virtual environments and a load generator, made once and kept under `.cache/bench`.

Both environments are byte-compiled, as pip leaves them; uv doesn't unless it is told.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.servers import Kind

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
MLFLOW = ("mlflow==3.17.2", "uvloop", "httptools")
REPORTED = ("mlflow", "shoso", "uvicorn", "uvloop", "httptools", "starlette", "sqlalchemy", "msgspec")


class SetupError(RuntimeError):
    """An environment couldn't be made; the text holds the installer's last lines."""


def mlflow_kind(*more: str) -> Kind:
    """The reference: MLflow with uvloop and httptools, without which it stalls 44 ms per call."""
    packages = (*MLFLOW, *more)
    name = "-".join(("mlflow", *more))
    return Kind("mlflow", _environment(name, packages, " ".join(packages)) / "mlflow")


def shoso_kind(extra: str = "") -> Kind:
    """This checkout, installed as a user would have it, again whenever its source has changed."""
    name, package = (f"shoso-{extra}", f"{ROOT}[{extra}]") if extra else ("shoso", str(ROOT))
    return Kind("shoso", _environment(name, (package,), source_digest()) / "shoso")


def plugin_python() -> Path:
    """The interpreter of MLflow's client with this checkout beside it: its transfers are Shoso's then."""
    packages = (*MLFLOW, str(ROOT))
    return _environment("mlflow-shoso", packages, " ".join(MLFLOW) + source_digest()) / "python"


def mlflow_python() -> Path:
    """The interpreter that every client runs with, whichever server it talks to."""
    return mlflow_kind().executable.parent / "python"


def source_digest() -> str:
    """One digest over what the installed package is built from."""
    digest = hashlib.sha256()
    files = [ROOT / "pyproject.toml", *sorted((ROOT / "src").rglob("*"))]
    for path in files:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def versions(kind: Kind) -> dict[str, str]:
    """What is installed beside the server: the packages that decide its speed."""
    script = (
        "import importlib.metadata as m, json, sys\n"
        "found = {d.name.lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({'python': sys.version.split()[0]}"
        " | {n: found[n] for n in sys.argv[1:] if n in found}))"
    )
    python = kind.executable.parent / "python"
    printed = subprocess.run([python, "-c", script, *REPORTED], capture_output=True, text=True, check=True)
    return dict(json.loads(printed.stdout))


def wrk() -> str | None:
    """Where wrk is, installed first where this is root on a Debian; None when it can't be had."""
    if found := shutil.which("wrk"):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "--yes", "--quiet", "wrk"]
        print("installing wrk, the HTTP load generator", file=sys.stderr)
        subprocess.run(command, capture_output=True, check=False, timeout=180, stdin=subprocess.DEVNULL)
    return shutil.which("wrk")


def _environment(name: str, packages: tuple[str, ...], fingerprint: str) -> Path:
    """The bin directory of one environment; built when its fingerprint isn't the one it was built with."""
    home, stamp = CACHE / name, CACHE / f"{name}.fingerprint"
    wanted = f"{sys.version} {fingerprint}"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {name} into {home.relative_to(ROOT)}", file=sys.stderr)
        stamp.unlink(missing_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        for command in _install(home, packages):
            _run(command)
        stamp.write_text(wanted)
    return home / "bin"


def _install(home: Path, packages: tuple[str, ...]) -> list[list[str]]:
    python = str(home / "bin" / "python")
    if uv := shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        refresh = ["--reinstall-package", "shoso", "--refresh-package", "shoso"]
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
            [*install, *refresh, *packages],
        ]
    pip = [python, "-m", "pip", "install", "--quiet", "--no-input"]
    return [[sys.executable, "-m", "venv", str(home)], [*pip, *packages]]


def _run(command: list[str]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    # the caller's own settings stay, an installer may need them; only byte code must be written
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, check=False)
    if done.returncode:
        raise SetupError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-600:]}")
