"""MLflow 2.22's client, in an interpreter of its own, against the same server: the files test_client_*.py.

The interpreter is built once, in .cache/mlflow-2.22 at the root of the repository.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
HOME = ROOT / ".cache" / "mlflow-2.22"
PYTHON = HOME / "bin" / "python"
REQUIREMENTS = ["mlflow==2.22.*", "pytest>=8.3", "pytest-timeout>=2.3"]
FILES = sorted(path.name for path in HERE.glob("test_client_*.py"))

pytestmark = pytest.mark.timeout(1200)  # the first run downloads 200 MB


@pytest.fixture(scope="module")
def interpreter() -> Path:
    """Python with MLflow 2.22; workers that need it at the same time wait for the one that builds it."""
    HOME.parent.mkdir(exist_ok=True)
    with _lock(HOME.with_name(f"{HOME.name}.lock")):
        built = HOME / "requirements"
        wanted = "\n".join([sys.version, *REQUIREMENTS])
        if not built.is_file() or built.read_text() != wanted:
            _build()
            built.write_text(wanted)
    return PYTHON


@contextlib.contextmanager
def _lock(path: Path):
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build() -> None:
    """By uv where there is one, for whom a module is compiled once it is imported; else by pip: minutes."""
    shutil.rmtree(HOME, ignore_errors=True)
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(HOME)])
        _run([uv, "pip", "install", "--quiet", "--python", str(PYTHON), *REQUIREMENTS])
    else:
        _run([sys.executable, "-m", "venv", str(HOME)])
        _run([str(PYTHON), "-m", "pip", "install", "--quiet", *REQUIREMENTS])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.fixture(scope="module")
def report(interpreter, server, tmp_path_factory) -> dict[str, list[tuple[str, str]]]:
    """File → the outcome of each of its tests, as (name, failure or nothing)."""
    server.ensure()
    xml = tmp_path_factory.mktemp("old") / "report.xml"
    command = [str(interpreter), "-m", "pytest", "-c", str(HERE / "old_client.ini"), f"--rootdir={ROOT}"]
    command += [
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
        f"--junitxml={xml}",
        *[str(HERE / name) for name in FILES],
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST_"))}
    env["SHOSO_E2E_URI"] = server.uri
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    if not xml.is_file():
        pytest.fail(f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}", pytrace=False)
    return _outcomes(xml)


def _outcomes(xml: Path) -> dict[str, list[tuple[str, str]]]:
    outcomes: dict[str, list[tuple[str, str]]] = {}
    for case in ET.parse(xml).getroot().iter("testcase"):
        trouble = [node.text or node.get("message", "") for node in case if node.tag in {"failure", "error"}]
        outcomes.setdefault(f"{case.get('classname').split('.')[-1]}.py", []).append(
            (case.get("name"), "\n".join(trouble))
        )
    return outcomes


@pytest.mark.parametrize("file", FILES)
def test_mlflow_2_22_passes(report, file):
    tests = report.get(file, [])
    assert tests, f"no test of {file} was run: {sorted(report)}"
    failed = [f"{name}\n{trouble}" for name, trouble in tests if trouble]
    if failed:
        pytest.fail(f"{len(failed)} of {len(tests)} failed\n\n" + "\n\n".join(failed), pytrace=False)
