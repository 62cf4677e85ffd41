"""Artifacts by URI, or by run and path; see `shoso.client.artifacts`."""

from shoso.client.artifacts import (
    delete_artifacts,
    download_artifacts,
    list_artifacts,
    load_dict,
    load_image,
    load_text,
    open,  # noqa: A004  as in io.open
)

__all__ = [
    "delete_artifacts",
    "download_artifacts",
    "list_artifacts",
    "load_dict",
    "load_image",
    "load_text",
    "open",
]
