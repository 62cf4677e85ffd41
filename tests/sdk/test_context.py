"""The tags that say who runs what, from where."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shoso.client import context
from shoso.errors import ConfigError


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder under git, with a program that is the one that runs."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.setattr(sys, "argv", [str(folder / "train.py")])
    (folder / "train.py").touch()
    git(folder, "init", "-q", "-b", "trunk")
    context._git.cache_clear()
    yield folder
    context._git.cache_clear()


def git(folder, *command: str) -> str:
    env = os.environ | {
        f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    return subprocess.run(
        ["git", "-C", str(folder), *command], env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder) -> str:
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def of_git() -> dict[str, str]:
    found = context.tags()
    return {key.rpartition(".")[2]: value for key, value in found.items() if ".git." in key}


def test_the_user_of_the_server_comes_first():
    assert context.tags("ada")["mlflow.user"] == "ada"
    assert context.tags()["mlflow.user"]


def test_a_user_without_a_name_is_unknown(monkeypatch):
    def nobody():
        raise OSError("no such uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert context.tags()["mlflow.user"] == "unknown"


def test_the_source_is_the_program(repository):
    found = context.tags()
    assert found["mlflow.source.name"] == str(repository / "train.py")
    assert found["mlflow.source.type"] == "LOCAL"


def test_without_a_program_the_source_is_the_console(monkeypatch):
    monkeypatch.setattr(sys, "argv", [""])
    assert context.tags()["mlflow.source.name"] == "<console>"
    assert of_git() == {}


def test_a_repository_shows_commit_and_branch(repository):
    assert of_git() == {}
    assert (commit(repository)) == git(repository, "rev-parse", "HEAD")
    context._git.cache_clear()
    assert of_git() == {"commit": git(repository, "rev-parse", "HEAD"), "branch": "trunk"}


def test_no_branch_is_shown_where_there_is_none(repository):
    made = commit(repository)
    git(repository, "checkout", "-q", "--detach")
    assert of_git() == {"commit": made}


def test_a_program_that_git_ignores_is_of_no_commit(repository):
    commit(repository)
    (repository / ".gitignore").write_text("train.py\n")
    assert of_git() == {}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:token@example.com/a.git", "https://example.com/a.git"),
        ("https://token@example.com:8443/a.git", "https://example.com:8443/a.git"),
        ("git@example.com:team/a.git", "git@example.com:team/a.git"),
    ],
)
def test_the_address_of_a_repository_shows_no_secret(repository, url, shown):
    commit(repository)
    git(repository, "remote", "add", "origin", url)
    assert of_git()["repoURL"] == shown


def test_without_git_nothing_is_said_of_it(repository, monkeypatch):
    commit(repository)
    monkeypatch.setenv("PATH", str(repository))
    assert of_git() == {}


def test_a_context_in_the_environment_wins():
    found = context.tags(environment={"MLFLOW_RUN_CONTEXT": '{"mlflow.source.name": "job 7", "n": 1}'})
    assert found["mlflow.source.name"] == "job 7"
    assert found["n"] == "1"


@pytest.mark.parametrize("given", ["no JSON", "[1]"])
def test_a_context_that_is_no_object_is_refused(given):
    with pytest.raises(ConfigError, match="MLFLOW_RUN_CONTEXT: must be a JSON object of tags"):
        context.tags(environment={"MLFLOW_RUN_CONTEXT": given})


class Notebook:
    """What IPython hands out in a notebook."""

    kernel = object()
    user_ns: dict = {}  # noqa: RUF012

    @classmethod
    def get_ipython(cls):
        return cls


def test_a_notebook_is_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", Notebook)
    found = context.tags(environment={"JPY_SESSION_NAME": "/home/ada/work/digits.ipynb"})
    assert (found["mlflow.source.type"], found["mlflow.source.name"]) == ("NOTEBOOK", "digits.ipynb")
