"""MLflow's file store on disk, as it was written by MLflow 0.9 to 3.17.

    mlruns/<experiment>/meta.yaml, tags/<key>
    mlruns/<experiment>/<run>/meta.yaml, params/<key>, tags/<key>, metrics/<key>, artifacts/
    mlruns/<experiment>/<run>/inputs/<id>/meta.yaml, outputs/<id>/meta.yaml
    mlruns/<experiment>/datasets/<id>/meta.yaml
    mlruns/<experiment>/models/<model>/meta.yaml, params/<key>, tags/<key>, metrics/<key>
    mlruns/.trash/<experiment>/…                              deleted experiments
    mlruns/models/<name>/meta.yaml, tags/<key>, aliases/<alias>, version-<n>/meta.yaml, version-<n>/tags/<key>

Nothing is believed: links are not followed, files have limits, ids must be ids and values of their type. What
can't be read is a `Problem` that names the file, and everything else goes on.

files     folders and small files
meta      meta.yaml
values    params, tags and metrics: a file for each
"""

from shoso.maintenance.filestore.experiments import StoredExperiment, experiments
from shoso.maintenance.filestore.files import Problem, Problems
from shoso.maintenance.filestore.models import models
from shoso.maintenance.filestore.registry import registered_models
from shoso.maintenance.filestore.runs import runs

__all__ = [
    "Problem",
    "Problems",
    "StoredExperiment",
    "experiments",
    "models",
    "registered_models",
    "runs",
]
