"""An import under way: what it talks to, what is told on the way, and what it came to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shoso.cli.groups import Interrupted
from shoso.cli.progress import Lines
from shoso.cli.session import interruptible
from shoso.cli.shapes import ImportCounts, ImportDone, ImportMoved, ImportProblem
from shoso.client import blocking
from shoso.client.places import Places
from shoso.client.settings import ClientSettings, client_settings
from shoso.core.amounts import count, duration, size
from shoso.core.locations import shown
from shoso.errors import ConfigError
from shoso.maintenance.artifacts import Artifacts
from shoso.maintenance.importing import bring
from shoso.maintenance.report import Outcome
from shoso.maintenance.targets import Seen, Target, look_at, open_target
from shoso.metadata.dialects.options import read_options

GO_ON = "Interrupted. Run the same command again: it goes on with what is missing."

_BY_DATABASE = "mlflow-artifacts:"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of the command say."""

    source: Path
    to: str
    copies: bool
    artifact_root: str
    allowed: Sequence[Path]
    dry_run: bool


def brought(asked: Asked) -> ImportDone:
    """What the import came to. Raises ConfigError, TrackingError, StoreError."""
    _require_sense(asked)
    with interruptible():
        try:
            outcome = blocking.run(_brought(asked))
        except KeyboardInterrupt:
            raise Interrupted(GO_ON) from None
    return ImportDone(
        source=str(asked.source),
        to=shown(asked.to),
        dry_run=asked.dry_run,
        counts=ImportCounts(**asdict(outcome.counts)),
        moved=[ImportMoved(**asdict(one)) for one in outcome.moved],
        problems=[ImportProblem(one.path, one.message) for one in outcome.problems],
        failed=outcome.failed,
        seconds=round(outcome.seconds, 3),
    )


def in_words(done: ImportDone) -> str:
    """Imported 3 experiments, 12 runs (…) in 0.2 s; then what was left out, and each problem."""
    lines = [f"{one.path}: {one.message}" for one in done.problems]
    if done.failed > len(done.problems):
        lines.append(f"And {done.failed - len(done.problems):,} more problems.")
    lines += [
        f"The experiment '{one.name}' has the id {one.new_id} there: {one.experiment_id} is somebody else's."
        for one in done.moved
    ]
    return "\n".join([*lines, *_sums(done)])


def _sums(done: ImportDone) -> Iterator[str]:
    found = done.counts
    verb, when = ("Would import", "") if done.dry_run else ("Imported", f" in {duration(done.seconds)}")
    values = [(found.params, "param"), (found.tags, "tag"), (found.points, "metric point")]
    of_runs = ", ".join(count(number, what) for number, what in values)
    yield (
        f"{verb} {count(found.experiments, 'experiment')}, {count(found.runs, 'run')} ({of_runs}),"
        f" {count(found.models, 'logged model')} and {count(found.versions, 'version')} of registered models"
        f"{when}."
    )
    if found.files:
        yield f"{count(found.files, 'artifact')} copied ({size(found.bytes)})."
    if found.there:
        yield f"{found.there:,} of its runs and logged models are there already."
    if found.traces:
        yield f"{count(found.traces, 'trace')} left out: Shoso keeps none."
    if done.failed:
        yield f"{count(done.failed, 'problem')}, named above."


def _require_sense(asked: Asked) -> None:
    if asked.artifact_root and not asked.copies:
        raise ConfigError("--artifact-root", "is where artifacts are copied to; say --artifacts copy, too.")
    if asked.copies and not _is_server(asked.to) and not asked.artifact_root:
        message = "is needed to copy artifacts without a server: name the folder or storage that holds them."
        raise ConfigError("--artifact-root", message)
    if asked.artifact_root.startswith(_BY_DATABASE):
        message = "must be the folder or storage itself: mlflow-artifacts: is a server's name for it."
        raise ConfigError("--artifact-root", message)


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


async def _brought(asked: Asked) -> Outcome:
    settings = client_settings(os.environ)
    there, target = await _opened(asked, settings)
    root, artifacts = Path(os.path.realpath(asked.source)), None  # noqa: ASYNC240 - once, before anything waits
    try:
        if asked.copies:
            places = Places(there.server, settings)
            artifacts = Artifacts.of(places, settings, root, asked.allowed)
        return await bring(root, there, target, artifacts, Lines("run"))
    finally:
        if artifacts is not None:
            await artifacts.close()
        await there.close()


async def _opened(asked: Asked, settings: ClientSettings) -> tuple[Seen, Target | None]:
    """What is asked what it has, and what is given what it has not: for a dry run none."""
    options = read_options(os.environ)
    if asked.dry_run:
        return await look_at(asked.to, settings, options), None
    target = await open_target(asked.to, settings, asked.artifact_root, options)
    return target, target
