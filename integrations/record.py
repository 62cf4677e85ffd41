"""Everything a server tells of what was logged to it, a fact a line, without what differs by nature.

Ids become `<run 1>`, `<model 2>`; times, random names and folders become words. What is left of two servers
that were told the same is the same.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric, ViewType

Facts = dict[str, Any]
Lines = Iterator[tuple[str, Any]]

_BY_NATURE = (
    (re.compile(r"(mlflow-artifacts:|#/experiments)/\d+"), r"\1/<experiment>"),
    (re.compile(r"\b\d{4}[-/]\d\d[-/]\d\d[ T]\d\d[:.]\d\d[:.]\d\d(\.\d+Z?)?"), "<time>"),
    (re.compile(r"\b1[789]\d{11}\b"), "<time>"),  # ms since 1970
    (re.compile(r"\b[0-9a-f]{32}\b"), "<hex>"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\bat 0x[0-9a-f]+"), "at <address>"),
    (re.compile(r"\b(9\d{13}|1[34]\d{13})\b"), "<address>"),  # as a skops file's ids are
    (re.compile(r"/tmp/?\w{8,}\b"), "/<temporary>"),
)
_RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d{1,4}")


class Record:
    """What is on a server that isn't `known` from an earlier record, read through MLflow's client.

    `varying` matches what differs from one run of a script to the next: metrics that are times, artifacts
    with those in them, of which it's compared that they are there, and words in artifacts that are text.
    """

    def __init__(self, uri: str, folder: Path, known: set[str], varying: str) -> None:
        mlflow.set_tracking_uri(uri)  # download_artifacts takes a model from nowhere else
        self.client = MlflowClient()
        self.varying = re.compile(varying)
        everything = _all(self.client.search_experiments, view_type=ViewType.ALL)
        self.experiments = [one for one in everything if f"experiment {one.name}" not in known]
        self.registered = [
            one for one in _all(self.client.search_registered_models) if f"registered {one.name}" not in known
        ]
        ids = [one.experiment_id for one in self.experiments]
        self.runs = _all(self.client.search_runs, experiment_ids=ids, run_view_type=ViewType.ALL)
        self.runs.sort(key=_run_order)
        self.models = _all(self.client.search_logged_models, experiment_ids=ids)
        order = [run.info.run_id for run in self.runs]
        self.models.sort(key=lambda one: (order.index(one.source_run_id), one.creation_timestamp))
        names = (run.info.run_name for run in self.runs)
        self.words = {
            **{run.info.run_id: f"<run {number}>" for number, run in enumerate(self.runs, 1)},
            **{model.model_id: f"<model {number}>" for number, model in enumerate(self.models, 1)},
            **{name: "<random>" for name in names if _RANDOM_NAME.fullmatch(name)},
            uri: "<server>",
            str(folder): "<folder>",
        }
        self.names = {one.experiment_id: one.name for one in self.experiments}

    def known(self) -> set[str]:
        """What the next record leaves out."""
        experiments = {f"experiment {one.name}" for one in self.experiments}
        return experiments | {f"registered {one.name}" for one in self.registered}

    def facts(self) -> Facts:
        """Path of the fact → the fact. Raises ValueError where two became one."""
        parts = (self._experiments(), self._runs(), self._models(), self._registered())
        lines = [(self.neutral(where), fact) for part in parts for where, fact in part]
        facts = dict(lines)
        if len(facts) < len(lines):
            twice = [where for where, times in Counter(where for where, _ in lines).items() if times > 1]
            raise ValueError(f"Nothing that is compared tells these apart: {twice}")
        return facts

    def neutral(self, text: str) -> str:
        """A text without what differs by nature."""
        for word, neutral in self.words.items():
            text = text.replace(word, neutral)
        for pattern, neutral in _BY_NATURE:
            text = pattern.sub(neutral, text)
        return text

    def _experiments(self) -> Lines:
        for experiment in self.experiments:
            yield from self._flat(f"experiment {experiment.name}", dict(experiment))

    def _runs(self) -> Lines:
        for run in self.runs:
            here = run.info.run_id
            yield from self._flat(here, dict(run.info))
            yield from self._flat(here, {"params": run.data.params, "tags": run.data.tags})
            yield from self._flat(here, run.inputs.to_dictionary())
            yield from self._flat(here, run.outputs.to_dictionary() if run.outputs else {})
            for name, latest in run.data.metrics.items():
                history = [self._metric(one) for one in self.client.get_metric_history(here, name)]
                told = {"latest": self._value(name, latest), "history": history}
                yield from self._flat(f"{here} / metric {name}", told)
            listing = _listing(self.client.list_artifacts, here)
            yield from self._artifacts(here, f"runs:/{here}/", listing)

    def _models(self) -> Lines:
        for model in self.models:
            here = model.model_id
            told = self.client.get_logged_model(here).to_dictionary()
            told["metrics"] = [self._metric(one) for one in told["metrics"] or ()]
            yield from self._flat(here, told)
            listing = _listing(self.client.list_logged_model_artifacts, here)
            yield from self._artifacts(here, f"models:/{here}", listing)

    def _registered(self) -> Lines:
        for model in self.registered:
            here = f"registered {model.name}"
            told = dict(self.client.get_registered_model(model.name))
            told["latest_versions"] = [version.version for version in told["latest_versions"]]
            yield from self._flat(here, told)
            for found in _all(self.client.search_model_versions, filter_string=f"name = '{model.name}'"):
                version = self.client.get_model_version(model.name, found.version)
                yield from self._flat(f"{here} / version {found.version}", dict(version))

    def _metric(self, metric: Metric) -> dict[str, Any]:
        return {**dict(metric), "value": self._value(metric.key, metric.value)}

    def _value(self, name: str, value: float) -> float | str:
        return "<varies>" if self.varying.search(f"metric {name}") else value

    def _artifacts(self, here: str, uri: str, listing: Callable[[str], list[Any]]) -> Lines:
        """Every path, as the listing tells it; of a file the size, and the digest of what comes back."""
        entries = list(_walk(listing, ""))
        if not entries:
            return
        with TemporaryDirectory() as folder:
            root = Path(download_artifacts(uri, dst_path=folder))
            for entry in entries:
                where = f"{here} / artifact {entry.path}"
                at = root / entry.path
                yield where, "folder" if entry.is_dir else self._file(where, at, entry.file_size)

    def _file(self, where: str, path: Path, listed: int) -> str:
        content = path.read_bytes()
        if len(content) != listed:
            return f"{len(content)} bytes, listed as {listed}"
        if self.varying.search(self.neutral(where)):
            return "<varies>"
        if zipfile.is_zipfile(path):  # its members; the whole says when it was made
            with zipfile.ZipFile(path) as file:
                members = ((self.neutral(name), self._content(file.read(name))) for name in file.namelist())
                return "\n".join(f"{name} {content}" for name, content in sorted(members))
        return self._content(content)

    def _content(self, content: bytes) -> str:
        """Short texts as they are, to be read in what a failing test shows; anything else by its digest."""
        try:
            text = self.varying.sub("<varies>", self.neutral(content.decode()))
        except UnicodeDecodeError:  # no text: to the byte
            return _digest(content)
        return text if len(text) < 5000 else _digest(text.encode())

    def _flat(self, where: str, told: Any) -> Lines:
        """The leaves of what is nested."""
        if isinstance(told, Mapping):
            for name, value in told.items():
                yield from self._flat(f"{where} / {name}", value)
        elif isinstance(told, list) and told and isinstance(told[0], Mapping):
            flat = [dict(self._flat("", one)) for one in told]
            if not where.endswith("history"):  # of the others, the order is that of random ids
                flat.sort(key=lambda one: json.dumps(one, sort_keys=True))
            for number, one in enumerate(flat):
                yield from ((f"{where} / {number}{name}", value) for name, value in one.items())
        else:
            yield where, self._leaf(where, told)

    def _leaf(self, where: str, value: Any) -> Any:
        name = where.rpartition(" / ")[2]
        if name == "experiment_id":
            return self.names[value]
        if isinstance(value, str) or (isinstance(value, int) and value > 10**12):
            return self.neutral(str(value))
        return value


def _digest(content: bytes) -> str:
    return f"{len(content)} bytes, {hashlib.sha256(content).hexdigest()}"


def _listing(list_artifacts: Callable[[str, str], list[Any]], id_: str) -> Callable[[str], list[Any]]:
    return lambda path: list_artifacts(id_, path)


def _walk(listing: Callable[[str], list[Any]], path: str) -> Iterator[Any]:
    for entry in listing(path):
        yield entry
        if entry.is_dir:
            yield from _walk(listing, entry.path)


def _run_order(run: Any) -> tuple[Any, ...]:
    """By what is in them: some are begun in the same millisecond."""
    return (int(run.info.experiment_id), json.dumps(sorted(run.data.params.items())), run.info.start_time)


def _all(search: Callable[..., Any], **arguments: Any) -> list[Any]:
    """Every page of a search."""
    page = search(**arguments)
    found = list(page)
    while page.token:
        page = search(**arguments, page_token=page.token)
        found += page
    return found
