"""mlflow: the artifacts behind a plain MLflow server, over its proxy (`/api/2.0/mlflow-artifacts/artifacts`).

What that can't do is said: no CREATE, no IfMatch, no digests, no uploads in parts, no time of an object.
Sizes come from listings, one a folder: a reply need not have one, and then a body cut short shows only so.
Whether ranges are served is known when a reply has shown it: MLflow sends ranges of what is on its own disk,
and everything else only whole, after it has fetched it itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shoso.http.options import STORE_SETTINGS, http_options, silence

if TYPE_CHECKING:
    from shoso.stores.mlflow.store import MlflowStore

SETTINGS = STORE_SETTINGS


def open_store(uri: str, environment: Mapping[str, str]) -> MlflowStore:
    """The artifacts of the server at a http(s) URI, with its static prefix. Raises ConfigError."""
    from shoso.stores.mlflow.store import MlflowOptions, MlflowStore

    http = http_options(environment)
    return MlflowStore(MlflowOptions(uri, silence=silence(environment), http=http))
