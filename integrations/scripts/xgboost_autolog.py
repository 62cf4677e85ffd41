"""XGBoost under `mlflow.xgboost.autolog`: by its own API with early stopping, and by scikit-learn's."""

import mlflow
import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

mlflow.set_experiment("xgboost")
mlflow.xgboost.autolog(registered_model_name="tumours", model_format="json")
x, y = load_breast_cancer(return_X_y=True, as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)

with mlflow.start_run(run_name="own API"):
    train, test = xgboost.DMatrix(x_train, y_train), xgboost.DMatrix(x_test, y_test)
    xgboost.train(
        {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "seed": 0, "nthread": 1},
        train, num_boost_round=30, early_stopping_rounds=3, evals=[(train, "train"), (test, "test")],
        verbose_eval=False,
    )  # fmt: skip

xgboost.XGBClassifier(n_estimators=5, max_depth=2, random_state=0, n_jobs=1).fit(x_train, y_train)

model = mlflow.xgboost.load_model("models:/tumours/1")
print(model.predict(xgboost.DMatrix(x_test[:5])).round(4).tolist())
print(mlflow.pyfunc.load_model("models:/tumours/2").predict(x_test[:5]).tolist())
