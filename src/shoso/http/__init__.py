"""Calls to a server over HTTP, with the credentials, certificates and patience of MLflow's clients.

`stores.remote`, `stores.mlflow` and `client` stand on it; what a reply means is theirs.
"""
