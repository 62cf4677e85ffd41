"""Which runs of an experiment stay, and why.

A run stays that hasn't ended, that is young enough, that is among the best or the last, that a registered
version is made from, or that has a tag. With it stay the runs that it is nested in, so that it is found where
it was, and those that are nested in it, which are parts of it; but not the others beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from shoso.core.amounts import count
from shoso.maintenance.retention.policies import Best, Policy
from shoso.metadata import retention
from shoso.metadata.retention import Candidate

RUNNING, FAMILY = "running", "family"
"""Why a run stays, where that's no key of the policy."""

DAY = 86_400_000
"""Milliseconds."""

_SEPARATORS = re.compile(r"[/:@?#]+")


class Reason(NamedTuple):
    """The rule that keeps a run, a key of the policy or one of the above; and in words."""

    rule: str
    text: str


class Registered:
    """The runs that versions of registered models are made from, also through a logged model; each with one.

    Whoever needs a run's or a model's artifacts has its id in the place that is recorded.
    """

    def __init__(self) -> None:
        self._sources: list[tuple[str, str, str]] = []
        self._found: dict[str, str] = {}

    def now(self, conn: Connection) -> Mapping[str, str]:
        """By the run's or the model's id; what has been found is found again where no version has come."""
        if (sources := [*retention.sources(conn)]) != self._sources:
            self._found, self._sources = _made_from(conn, sources), sources
        return self._found


def _made_from(conn: Connection, sources: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    found = {
        name: version for version, run_id, place in sources for name in (run_id, *_SEPARATORS.split(place))
    }
    models = retention.makers(conn, [*found])
    return found | {run_id: found[model] for model, run_id in models.items()}


class Standing:
    """What stays of one experiment by one policy, as the database was when it was made."""

    def __init__(
        self, conn: Connection, experiment_id: int, policy: Policy, now: int, versions: Mapping[str, str]
    ) -> None:
        self.policy, self.experiment_id = policy, experiment_id
        self._since, self._versions = policy.since(now), versions if policy.registered else {}
        self._best = {*_best(conn, experiment_id, policy.keep_best)}
        self._last = {*retention.last(conn, experiment_id, policy.keep_last)} if policy.keep_last else set()
        self._family = self._spread(conn, retention.parents(conn, experiment_id))

    @property
    def unmeasured(self) -> bool:
        """Whether no run has the metric of keep_best: then nobody can tell which runs are the best."""
        return self.policy.keep_best is not None and not self._best

    def version(self, model_id: str) -> str:
        """The version of a registered model that keeps a logged model; "" where none does."""
        return self._versions.get(model_id, "")

    def judged(self, conn: Connection, runs: Sequence[Candidate]) -> dict[str, Reason]:
        """Why each of the runs stays; those that go aren't in it."""
        found = self._own(conn, runs)
        return {
            run.id: reason
            for run in runs
            if (reason := found.get(run.id) or self._family.get(run.id)) is not None
        }

    def _own(self, conn: Connection, runs: Sequence[Candidate]) -> dict[str, Reason]:
        """The reasons that lie in the runs themselves."""
        found = {run.id: reason for run in runs if (reason := self._plain(run)) is not None}
        left = [run.id for run in runs if run.id not in found]
        tagged = retention.tagged(conn, left, self.policy.tags())
        return found | {id_: Reason("keep_tags", f"it has the tag '{key}'") for id_, key in tagged.items()}

    def _plain(self, run: Candidate) -> Reason | None:
        """Why it stays, as far as that's known without its tags."""
        policy = self.policy
        if not run.ended:
            return Reason(RUNNING, "it hasn't ended")
        if policy.keep_for is not None and (not run.time or run.time > self._since):
            return Reason("keep_for", f"it ended less than {policy.keep_for} ago, or nobody knows when")
        if policy.keep_best is not None and run.id in self._best:
            return Reason("keep_best", f"it is among the best {_of(policy.keep_best)}")
        if run.id in self._last:
            return Reason("keep_last", f"it is among the last {policy.keep_last}")
        if version := self._versions.get(run.id):
            return Reason("keep_registered", f"version {version} of a registered model is made from it")
        return None

    def _spread(self, conn: Connection, parents: Mapping[str, str]) -> dict[str, Reason]:
        """Why runs stay for others that are kept: for what they are nested in, or what is nested in them."""
        members = retention.those(conn, self.experiment_id, [*{*parents, *parents.values()}])
        kept = [*self._own(conn, members)]
        children: dict[str, list[str]] = {}
        for child, parent in parents.items():
            children.setdefault(parent, []).append(child)
        found: dict[str, Reason] = {}
        for run_id in _reached(kept, lambda at: children.get(at, ())):
            found[run_id] = Reason(FAMILY, "a run that it is nested in stays")
        for run_id in _reached(kept, lambda at: [parents[at]] if at in parents else ()):
            found[run_id] = Reason(FAMILY, "a run that is nested in it stays")
        return found


def leaving(policy: Policy, run: Candidate, now: int) -> str:
    """Why a run goes."""
    age = f"ended {count((now - run.time) // DAY, 'day')} ago" if run.time else "ended nobody knows when"
    best = [f"not among the best {_of(policy.keep_best)}"] if policy.keep_best else []
    last = [f"not among the last {policy.keep_last}"] if policy.keep_last else []
    tags = ["without a tag that keeps it"] if policy.keep_tags else []
    return ", ".join([age, *best, *last, *tags])


def _best(conn: Connection, experiment_id: int, best: Best | None) -> Iterable[str]:
    if best is None:
        return ()
    return retention.best(conn, experiment_id, best.metric, best.n, least=best.order == "min")


def _of(best: Best) -> str:
    return f"{best.n} by {best.metric}"


def _reached(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """What is reached from there, the start left out, each once, also where it goes in circles."""
    seen = {*start}
    waiting = [*seen]
    while waiting:
        for one in following(waiting.pop()):
            if one not in seen:
                seen.add(one)
                waiting.append(one)
                yield one
