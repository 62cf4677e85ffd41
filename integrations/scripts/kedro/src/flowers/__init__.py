"""A Kedro project: flowers told apart."""
