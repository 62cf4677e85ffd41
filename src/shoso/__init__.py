"""Shoso: artifact store and tracking server for machine-learning runs."""

__version__ = "0.1.0"

MLFLOW_VERSION = "3.17.2"
"""The MLflow release whose REST API and database schema Shoso keeps."""
