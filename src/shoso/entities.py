"""What the SDK hands out and takes; see `shoso.client.entities`."""

from shoso.client.entities import (
    Experiment,
    FileInfo,
    LoggedModel,
    LoggedModelStatus,
    Metric,
    PagedList,
    Param,
    Run,
    RunData,
    RunInfo,
    RunTag,
    ViewType,
)

__all__ = [
    "Experiment",
    "FileInfo",
    "LoggedModel",
    "LoggedModelStatus",
    "Metric",
    "PagedList",
    "Param",
    "Run",
    "RunData",
    "RunInfo",
    "RunTag",
    "ViewType",
]
