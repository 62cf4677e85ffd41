"""LightGBM under `mlflow.lightgbm.autolog`: by its own API with early stopping, and by scikit-learn's."""

import lightgbm
import mlflow
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

FIXED = {"seed": 0, "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}

mlflow.set_experiment("lightgbm")
mlflow.lightgbm.autolog(registered_model_name="diabetes")
x, y = load_diabetes(return_X_y=True, as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)

with mlflow.start_run(run_name="own API", tags={"target": "progression"}):
    train = lightgbm.Dataset(x_train, y_train)
    lightgbm.train(
        {"objective": "regression", "metric": ["l2", "l1"], **FIXED},
        train, num_boost_round=40, valid_sets=[train, lightgbm.Dataset(x_test, y_test, reference=train)],
        valid_names=["train", "test"], callbacks=[lightgbm.early_stopping(5, verbose=False)],
    )  # fmt: skip

lightgbm.LGBMRegressor(n_estimators=5, **FIXED).fit(x_train, y_train)

for version in (1, 2):
    model = mlflow.pyfunc.load_model(f"models:/diabetes/{version}")
    print(version, model.predict(x_test[:5]).round(4).tolist())
