"""Shoso: artifact store and tracking server for machine-learning runs."""

__version__ = "0.1.0"
