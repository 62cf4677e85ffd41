"""scikit-learn under `mlflow.sklearn.autolog`: a grid search with its child runs, a registered pipeline."""

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

mlflow.set_experiment("sklearn")
mlflow.sklearn.autolog(registered_model_name="iris", max_tuning_runs=3, extra_tags={"team": "herbarium"})
x, y = load_iris(return_X_y=True, as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)

with mlflow.start_run(run_name="grid", description="Which C?"):
    search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=3)
    search.fit(x_train, y_train)
    accuracy_score(y_test, search.predict(x_test))  # logged by autolog, as a metric of the run

with mlflow.start_run(run_name="pipeline") as run:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1.0)).fit(x_train, y_train)
    mlflow.models.evaluate(
        pipeline.predict, pd.concat([x_test, y_test], axis=1), targets="target", model_type="classifier",
        evaluator_config={"log_explainer": False},
    )  # fmt: skip

mlflow.sklearn.autolog(disable=True)
with mlflow.start_run(run_name="by hand"):
    mlflow.sklearn.log_model(
        pipeline, name="model", registered_model_name="iris", input_example=x_train[:3],
        signature=infer_signature(x_train, y_train), params={"C": 1.0}, tags={"by": "hand"},
    )  # fmt: skip
client = mlflow.MlflowClient()
client.set_registered_model_alias("iris", "champion", 2)
client.set_model_version_tag("iris", "2", "checked", "yes")
client.update_registered_model("iris", description="Three kinds of iris")

for uri in ("models:/iris/1", "models:/iris/latest", "models:/iris@champion"):
    print(uri, mlflow.pyfunc.load_model(uri).predict(x_test[:10]).tolist())
best = mlflow.search_runs(
    order_by=["metrics.mean_test_score DESC", "params.C"], filter_string="params.C != 'none'"
)
print(best[["params.C", "metrics.mean_test_score"]].to_string())
found = mlflow.search_logged_models(filter_string="name = 'model'", output_format="list")
print([(model.name, model.params, model.tags.get("by")) for model in found])
