"""Libraries that log to MLflow: what each logs to Shoso is what it logs to `mlflow server`.

Every file in `scripts/` is a small training as a user would write it. It is run by an interpreter with the
libraries of requirements.txt, once with MLFLOW_TRACKING_URI set to either server, in a folder of the same
name; then everything that the servers tell is compared. `make test-integrations` builds the interpreter. It
has Shoso too: MLflow's client moves artifacts Shoso's way unless SHOSO_MLFLOW_PLUGIN forbids it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from integrations.record import Facts, Record
from tests.e2e.servers import Server
from tests.servers import mlflowd

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".cache" / "integrations" / "bin" / "python"
SCRIPTS = sorted(HERE.glob("scripts/*.py"))

VARYING = {
    "sklearn_autolog": r"(fit|score)_time|cv_results\.csv|estimator\.html|<model 1> / artifact model\.pkl",
    "transformers_callback": r"_runtime|_per_second|trainer_state\.json|model_size_bytes: \d+",
}
"""Script → what differs each time it is run, see Record."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONHASHSEED": "0",  # some log sets
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # in the order of threads
}
"""No script asks a host that isn't this one, nor prints anything by chance."""

_COMPLAINT = re.compile(r"^\S+ \S+ (WARNING|ERROR) .*|^\w*(Error|Exception)\b.*", re.MULTILINE)

pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]  # MLflow's own


class Place:
    """A server, what is known of it, and whether MLflow's client uses Shoso's plugin there."""

    def __init__(self, server: Server, plugin: str = "off") -> None:
        self.server, self.plugin = server, plugin
        self.known = {"experiment Default"}

    def facts(self, script: Path, folder: Path) -> Facts:
        """What the script logged there, printed, and was warned of."""
        env = {name: v for name, v in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        done = subprocess.run(
            [str(PYTHON), str(script)], cwd=folder, check=False, capture_output=True, text=True, timeout=600,
            env={**env, **QUIET, "MLFLOW_TRACKING_URI": self.server.uri, "SHOSO_MLFLOW_PLUGIN": self.plugin},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        record = Record(self.server.uri, folder, self.known, VARYING.get(script.stem, "$^"))
        self.known |= record.known()
        complaints = sorted(match[0] for match in _COMPLAINT.finditer(record.neutral(done.stderr)))
        return {**record.facts(), "printed": record.neutral(done.stdout), "complaints": complaints}


@pytest.fixture(scope="module")
def mlflow():
    assert PYTHON.is_file(), "`make test-integrations` installs the libraries"
    return Place(mlflowd.shared())


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Servers of Shoso's: one for MLflow's client as it is, one for that with the plugin."""
    servers = {plugin: Server(tmp_path_factory.mktemp("server")) for plugin in ("off", "on")}
    yield [Place(server.start(), plugin) for plugin, server in servers.items()]
    for server in servers.values():
        server.stop()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_is_logged_is_what_mlflow_server_has(script, mlflow, places, tmp_path):
    reference = mlflow.facts(script, tmp_path / "work")
    assert sum(where.startswith("<run ") for where in reference) > 20
    for place in places:
        differences = _differences(reference, place.facts(script, tmp_path / "work"))
        if differences:
            report = [f"plugin {place.plugin}: {len(differences)} of {len(reference)} differ", *differences]
            pytest.fail("\n".join(report), pytrace=False)


def _differences(reference: Facts, facts: Facts) -> list[str]:
    """Path, MLflow's fact, Shoso's."""
    absent = "<absent>"
    return [
        f"{where}\n  mlflow: {reference.get(where, absent)!r}\n  shoso:  {facts.get(where, absent)!r}"
        for where in sorted(reference | facts)
        if reference.get(where, absent) != facts.get(where, absent)
    ]
