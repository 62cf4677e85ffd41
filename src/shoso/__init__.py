"""Shoso: artifact store and tracking server for machine-learning runs.

The names are MLflow's, so that a script changes one import. Each is loaded when it's first used: importing
Shoso takes a few milliseconds.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

MLFLOW_VERSION = "3.17.2"
"""The MLflow release whose REST API and database schema Shoso keeps."""

_NAMES: dict[str, tuple[str, ...]] = {
    "shoso.client.active": (
        "ActiveRun",
        "active_run",
        "end_run",
        "last_active_run",
        "set_experiment",
        "start_run",
    ),
    "shoso.client.catalog": (
        "create_experiment",
        "delete_experiment",
        "delete_experiment_tag",
        "delete_run",
        "get_experiment",
        "get_experiment_by_name",
        "get_parent_run",
        "get_run",
        "restore_experiment",
        "restore_run",
        "search_experiments",
        "search_runs",
        "set_experiment_tag",
        "set_experiment_tags",
    ),
    "shoso.client.current": (
        "get_tracking_uri",
        "is_tracking_uri_set",
        "set_tracking_uri",
    ),
    "shoso.client.fluent": (
        "RunOperations",
        "delete_tag",
        "flush_artifact_async_logging",
        "flush_async_logging",
        "get_artifact_uri",
        "load_table",
        "log_artifact",
        "log_artifacts",
        "log_dict",
        "log_figure",
        "log_image",
        "log_input",
        "log_inputs",
        "log_metric",
        "log_metrics",
        "log_param",
        "log_params",
        "log_stream",
        "log_table",
        "log_text",
        "set_tag",
        "set_tags",
    ),
    "shoso.client.tracking": ("Client",),
    "shoso.errors": ("ShosoError",),
}
"""The public names, by the module that has them; `__init__.pyi` shows them to tools."""

_MODULES = ("artifacts", "entities")

_ALIASES = {"MlflowClient": "Client", "MlflowException": "ShosoError"}
"""What MLflow's scripts say for names of ours."""

_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["MLFLOW_VERSION", "__version__", *_HOME, *_MODULES, *_ALIASES]  # noqa: PLE0604  all texts


def __getattr__(name: str) -> Any:
    """A public name, from the module that has it."""
    if name in _MODULES:
        return import_module(f"shoso.{name}")
    wanted = _ALIASES.get(name, name)
    if wanted not in _HOME:
        raise AttributeError(_missing(name), name=name, obj=sys.modules[__name__])
    value = globals()[name] = getattr(import_module(_HOME[wanted]), wanted)
    return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})


def _missing(name: str) -> str:
    """What to tell whoever has changed the import of a script that needs more of MLflow."""
    hint = "" if name.startswith("_") else "; what is MLflow's alone is had by importing mlflow beside it"
    return f"module 'shoso' has no attribute '{name}'{hint}"
