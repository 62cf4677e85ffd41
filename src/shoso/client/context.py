"""Who logs a run, and from what: the tags that MLflow's client sets, so that every UI shows the same.

The JSON object in MLFLOW_RUN_CONTEXT, if any, wins over what is found here.
"""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from shoso.errors import ConfigError

USER = "mlflow.user"
RUN_NAME = "mlflow.runName"
PARENT_RUN_ID = "mlflow.parentRunId"
NOTE = "mlflow.note.content"

_RUN_CONTEXT = "MLFLOW_RUN_CONTEXT"
_GIT_SECONDS = 10


def tags(user: str = "", environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The tags of a run that starts now in this process; `user` is who we are to the server, if anybody.

    Raises ConfigError.
    """
    program = sys.argv[0] if sys.argv and sys.argv[0] else ""
    found = {
        USER: user or _user(),
        "mlflow.source.name": program or "<console>",
        "mlflow.source.type": "LOCAL",
    }
    return {**found, **_git(program), **_notebook(environment), **_given(environment)}


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # no name for this uid, as in many containers
        return "unknown"


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    given = environment.get(_RUN_CONTEXT)
    if not given:
        return {}
    try:
        return {str(key): str(value) for key, value in json.loads(given).items()}
    except (ValueError, AttributeError):
        raise ConfigError(_RUN_CONTEXT, "must be a JSON object of tags; mend or unset it.") from None


# -- notebooks --------------------------------------------------------------------------------------------


def _notebook(environment: Mapping[str, str]) -> dict[str, str]:
    """A notebook's kernel: its type, and the name of its file where somebody has told it."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return {}
    path = (
        shell.user_ns.get("__vsc_ipynb_file__")
        or environment.get("IPYNB_FILE")
        or environment.get("JPY_SESSION_NAME")
    )
    name = {"mlflow.source.name": Path(path).name} if path else {}
    return {"mlflow.source.type": "NOTEBOOK", **name}


# -- git --------------------------------------------------------------------------------------------------


@cache
def _git(program: str) -> dict[str, str]:
    """Commit, branch and origin of the program's repository, if it is in one and not ignored there."""
    path = Path(program).absolute()
    folder = str(path.parent if path.is_file() else path)
    if not program or not Path(folder).is_dir():
        return {}
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit or _ask_git(folder, "check-ignore", str(path)):
        return {}
    remote = _ask_git(folder, "remote").partition("\n")[0]
    found = {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": _ask_git(folder, "symbolic-ref", "--short", "-q", "HEAD"),
        "mlflow.source.git.repoURL": _without_secret(
            _ask_git(folder, "remote", "get-url", remote) if remote else ""
        ),
    }
    return {key: value for key, value in found.items() if value}


def _ask_git(folder: str, *question: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  the question is ours
            ["git", "-C", folder, *question],  # noqa: S607  as found on PATH
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _without_secret(url: str) -> str:
    """The URL without the user and the token that a clone over HTTPS may hold."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
