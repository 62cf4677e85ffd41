"""`import shoso`: light, complete, and MLflow's names and arguments."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import shoso

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow

SECONDS = 0.15
HEAVY = {
    "numpy",
    "pandas",
    "aiohttp",
    "sqlalchemy",
    "asyncio",
    "msgspec",
    "PIL",
    "matplotlib",
    "mlflow",
    "fsspec",
}

LEFT_OUT = {
    "trace_location",  # Databricks' Unity Catalog
    "registry_uri",  # there is no model registry beside the server
}
"""Arguments of MLflow's that ask for what Shoso has not."""

NOT_MLFLOWS = {"Client", "ShosoError", "MLFLOW_VERSION", "artifacts", "entities"}


def fresh(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout


def test_importing_takes_almost_nothing():
    """CPU time, which other programs don't lengthen."""
    program = "import time; start = time.process_time(); import shoso; print(time.process_time() - start)"
    assert float(fresh(program)) <= SECONDS


def test_importing_loads_nothing_heavy():
    loaded = json.loads(fresh("import shoso, sys, json; print(json.dumps([*sys.modules]))"))
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()


@pytest.mark.parametrize("name", ["start_run", "log_metric", "search_runs", "artifacts", "Client"])
def test_using_it_loads_no_library_of_data(name):
    loaded = json.loads(fresh(f"import shoso, sys, json; shoso.{name}; print(json.dumps([*sys.modules]))"))
    assert {name.partition(".")[0] for name in loaded} & (HEAVY - {"aiohttp", "asyncio", "msgspec"}) == set()


def test_every_name_is_there_and_listed():
    assert [name for name in shoso.__all__ if not hasattr(shoso, name)] == []
    assert {name for name in dir(shoso) if not name.startswith("__")} == {*shoso.__all__} - {"__version__"}


def test_a_name_that_isnt_there_is_an_error():
    with pytest.raises(AttributeError, match=r"module 'shoso' has no attribute 'autolog'; .* import"):
        shoso.autolog()
    assert not hasattr(shoso, "log_everything")


def test_tools_see_the_same_names():
    stub = ast.parse(Path(shoso.__file__).with_suffix(".pyi").read_text())
    imported = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    declared = {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}
    aliases = {node.targets[0].id: node.value.id for node in stub.body if isinstance(node, ast.Assign)}
    assert {*imported, *declared, *aliases} == set(shoso.__all__)
    assert aliases == shoso._ALIASES
    homes = {
        name: f"{getattr(shoso, name).__module__}.{getattr(shoso, name).__name__}" for name in shoso._HOME
    }
    assert {name: imported[name] for name in homes} == homes


@pytest.mark.parametrize("name", sorted(set(shoso.__all__) - NOT_MLFLOWS - {"__version__"}))
def test_the_name_is_mlflows(name):
    if name == "RunOperations":
        assert mlflow.utils.async_logging.run_operations.RunOperations
    else:
        assert hasattr(mlflow, name)


def arguments(function) -> list[tuple[str, object]]:
    return [
        (name, parameter.default if parameter.default is not inspect.Parameter.empty else ...)
        for name, parameter in inspect.signature(function).parameters.items()
    ]


def mlflows(function) -> list[tuple[str, object]]:
    return [(name, default) for name, default in arguments(function) if name not in LEFT_OUT]


FUNCTIONS = [name for name in shoso._HOME if inspect.isfunction(getattr(shoso, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_mlflows_arguments(name):
    assert arguments(getattr(shoso, name)) == mlflows(getattr(mlflow, name))


@pytest.mark.parametrize(
    "name", ["download_artifacts", "list_artifacts", "load_dict", "load_image", "load_text"]
)
def test_an_artifact_function_takes_mlflows_arguments(name):
    assert arguments(getattr(shoso.artifacts, name)) == mlflows(getattr(mlflow.artifacts, name))


METHODS = [
    name
    for name in dir(shoso.Client)
    if not name.startswith("_")
    and hasattr(mlflow.MlflowClient, name)
    and callable(getattr(shoso.Client, name))
]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_the_client_takes_mlflows_arguments(name):
    ours, theirs = arguments(getattr(shoso.Client, name)), mlflows(getattr(mlflow.MlflowClient, name))
    assert [argument for argument, _ in ours] == [argument for argument, _ in theirs]


def test_the_client_has_what_it_is_named_for():
    assert len(METHODS) > 40
