"""What is measured and what Shoso must reach, as data; nothing here measures."""

from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Must:
    """A bound on the ratio subject / baseline, or on the subject's own figure."""

    text: str
    value: float
    bound: Literal["at most", "at least", "below"] = "at least"
    on: Literal["ratio", "figure"] = "ratio"
    take: Literal["median", "worst"] = "median"

    def reached(self, found: list[float]) -> bool:
        """Whether the median, or the worst, of the ratios or figures keeps the bound."""
        ranked = sorted(found)
        middle = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
        if self.bound == "at least":
            return (ranked[0] if self.take == "worst" else middle) >= self.value
        figure = ranked[-1] if self.take == "worst" else middle
        return figure < self.value if self.bound == "below" else figure <= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `title` may hold {runs}, {points}, {files} and {big}, the sizes of this run."""

    name: str
    title: str
    unit: str
    must: Must | None = None
    on_postgres: Must | None = None

    def on(self, database: str) -> "Row":
        """The row with the bound that holds for this database."""
        return replace(self, must=self.on_postgres) if database == "postgres" and self.on_postgres else self


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work a sample is; the defaults are the sizes that the bounds were set for."""

    rounds: int = 5
    starts: int = 5
    seconds: float = 5.0  # of load per sample
    batches: int = 10  # of 1,000 metrics per sample
    runs: int = 10_000  # in the searched database
    points: int = 1_000_000  # in the long history there
    searches: int = 20  # per sample
    big: int = 1 << 30  # bytes
    files: int = 2_000  # of 4 KiB
    pings: int = 500  # of /health per sample
    reference_seconds: float = 1.0
    minutes: float = 45.0  # rounds that would end later are left out
    settle: float = 150.0  # seconds that a server may take to end its start-up work
    one_database: bool = False  # everything on the seeded one: saves the start of two servers

    def words(self) -> dict[str, str]:
        """The sizes as they stand in titles."""
        big = f"{self.big >> 30} GiB" if self.big >> 30 else f"{self.big >> 20} MiB"
        return {
            "runs": f"{self.runs:,}",
            "files": f"{self.files:,}",
            "points": f"{self.points:,}",
            "big": big,
        }


QUICK = Sizes(
    rounds=2,
    starts=1,
    seconds=1.0,
    batches=2,
    runs=500,
    points=60_000,
    searches=5,
    big=32 << 20,
    files=100,
    pings=100,
    reference_seconds=0.2,
    minutes=4.0,
    settle=20.0,
    one_database=True,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample of one row, with what else was seen while it was taken."""

    row: str
    value: float
    details: dict[str, float] = field(default_factory=dict)
    remark: str = ""


ROWS = (
    Row("startup", "start to first 200 on /health, new database", "s", Must("≤ 1/8", 1 / 8, "at most")),
    Row(
        "idle_rss",
        "resident memory when idle, all processes",
        "MiB",
        Must("≤ 120 MiB", 120, "at most", "figure"),
    ),
    Row("idle_pss", "the same, shared pages counted once", "MiB"),
    Row("log_metric_8_clients", "`log_metric`, 8 client processes", "/s", Must("≥ 6×", 6)),
    Row(
        "log_metric_raw_8",
        "`log-metric`, raw HTTP, 8 connections",
        "/s",
        Must("≥ 5,000 /s", 5000, on="figure"),
    ),
    Row(
        "log_metric_raw_32",
        "`log-metric`, raw HTTP, 32 connections",
        "/s",
        Must("≥ 7,000 /s", 7000, on="figure"),
    ),
    Row("log_batch_client", "`log_batch` of 1,000 metrics, MLflow client", "metrics/s", Must("≥ 4×", 4)),
    Row(
        "log_batch_raw",
        "`log-batch` of 1,000 metrics, raw HTTP",
        "metrics/s",
        Must("≥ 8×", 8),
        Must("≥ 4×", 4),
    ),
    Row(
        "search_client",
        "`search_runs` over {runs} runs, page of 100, MLflow client, p50",
        "ms",
        Must("≤ 1/7", 1 / 7, "at most"),
        Must("≤ 1/3", 1 / 3, "at most"),
    ),
    Row("search_raw", "`runs/search` over {runs} runs, page of 100, raw HTTP, p50", "ms"),
    Row("upload_1gib", "{big} upload, MLflow client", "s", Must("≤ 0.75", 0.75, "at most")),
    Row("upload_1gib_cpu", "server CPU for it", "CPU s"),
    Row(
        "upload_memory",
        "server memory during it, above idle",
        "MiB",
        Must("≤ 32 MiB", 32, "at most", "figure", "worst"),
    ),
    Row("download_1gib", "{big} download, MLflow client", "s", Must("≤ 0.65", 0.65, "at most")),
    Row("download_1gib_cpu", "server CPU for it", "CPU s"),
    Row("small_up", "{files} files of 4 KiB up, MLflow client", "s", Must("faster", 1, "below")),
    Row("small_up_cpu", "server CPU for them", "CPU s", Must("≤ 1/4", 1 / 4, "at most")),
    Row("small_down", "{files} files of 4 KiB down, MLflow client", "s", Must("faster", 1, "below")),
    Row("small_down_cpu", "server CPU for them", "CPU s", Must("≤ 1/4", 1 / 4, "at most")),
    Row("log_metric_1_client", "`log_metric`, one client", "/s", Must("≥ 4×", 4)),
    Row("create_run_1_client", "`create_run`, one client", "/s", Must("≥ 4×", 4)),
    Row("history", "history of {points} points of a metric, in pages", "points/s", Must("≥ 5×", 5)),
    Row(
        "history_memory",
        "server memory during it, above idle",
        "MiB",
        Must("≤ 32 MiB", 32, "at most", "figure", "worst"),
    ),
    Row(
        "many_runs",
        "runs with 20 params, 20 metrics, 5 tags each, raw HTTP, 8 connections",
        "/s",
        Must("≥ 6×", 6),
    ),
    Row("health", "`GET /health`, one keep-alive connection, p50", "ms"),
)
