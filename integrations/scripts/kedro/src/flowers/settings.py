"""Kedro's settings: the defaults, kedro-mlflow's hooks among them."""
