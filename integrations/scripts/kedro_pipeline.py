"""kedro-mlflow: a project's `kedro run`, its parameters, datasets, metrics and its pipeline as a model."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ["KEDRO_LOGGING_CONFIG"] = str(Path(__file__).with_name("kedro") / "conf" / "logging.yml")

import mlflow
import pandas as pd
from sklearn.datasets import load_iris

project = Path.cwd() / "flowers"
shutil.copytree(Path(__file__).with_name("kedro"), project)
table: pd.DataFrame = load_iris(as_frame=True).frame
(project / "data").mkdir()
table.to_csv(project / "data" / "table.csv", index=False)

for _ in range(2):  # the second run finds the experiment there, and makes version 2
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run"], cwd=project, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)

runs = mlflow.search_runs(experiment_names=["kedro"], output_format="list")
print([(run.info.run_name, run.info.status, run.data.metrics) for run in runs])
model = mlflow.pyfunc.load_model(f"runs:/{runs[0].info.run_id}/pipeline")
print(model.predict(table[::30])["kind"].tolist())
print(mlflow.sklearn.load_model("models:/flowers/2").n_features_in_)
