"""What every test has: MLflow's client as it is without Shoso, unless a test says otherwise."""

import os

os.environ["SHOSO_MLFLOW_PLUGIN"] = "off"


def pytest_configure(config):
    config.addinivalue_line("markers", "large: minutes, or gigabytes on disk; leave out with -m 'not large'")
