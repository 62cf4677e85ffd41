"""Optuna's MLflowCallback: a study, a run a trial, and what a decorated objective logs inside its trial."""

import mlflow
import optuna
from optuna_integration import MLflowCallback

callback = MLflowCallback(metric_name="distance", mlflow_kwargs={"nested": True}, tag_study_user_attrs=True)


@callback.track_in_mlflow()
def objective(trial: optuna.Trial) -> float:
    """A valley with its floor at (2, 3)."""
    x, y = trial.suggest_float("x", -10, 10), trial.suggest_int("y", 0, 9)
    shape = trial.suggest_categorical("shape", ["round", "square"])
    for step in range(4):
        mlflow.log_metric("nearer", abs(x - 2) / (step + 1), step=step)
    mlflow.log_text(f"{shape} {x:.3f} {y}", "notes/trial.txt")
    return (x - 2) ** 2 + (y - 3) ** 2


mlflow.set_experiment("optuna")
study = optuna.create_study(study_name="valley", sampler=optuna.samplers.TPESampler(seed=0))
study.set_user_attr("floor", "2, 3")
with mlflow.start_run(run_name="study"):
    study.optimize(objective, n_trials=12, callbacks=[callback])
    mlflow.log_params(study.best_params)

two = optuna.create_study(
    study_name="two", directions=["minimize", "maximize"], sampler=optuna.samplers.RandomSampler(seed=0)
)
both = MLflowCallback(metric_name=["down", "up"])
two.optimize(lambda trial: (trial.suggest_float("a", 0, 1), 1.0), n_trials=3, callbacks=[both])

runs = mlflow.search_runs(experiment_names=["valley"], order_by=["metrics.distance ASC"], max_results=3)
print(runs[["tags.mlflow.runName", "metrics.distance", "params.x", "params.y"]].to_string())
