"""Shoso beside MLflow, driven by the same clients in one run; `python -m benchmarks --help`."""
