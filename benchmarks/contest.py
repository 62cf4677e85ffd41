"""The contest: every scenario in turn, its rounds alternating between the two servers.

While one server is measured, the other one is stopped (SIGSTOP), so that its housekeeping takes no core;
while the references are measured, both are.
"""

import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from benchmarks.bench import Contender, Scenario, Stage
from benchmarks.databases import Databases
from benchmarks.environments import ROOT
from benchmarks.rows import Reading, Sizes
from benchmarks.servers import Server


@dataclass(slots=True)
class Record:
    """Everything seen: readings by row, contender and round; references by row; what went wrong by row."""

    readings: dict[str, dict[str, dict[int, Reading]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    references: dict[str, dict[str, tuple[str, list[float]]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    load_averages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A line for who waits, with the minutes and seconds since the start."""
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        print(f"{minutes:3}:{seconds:02} {text}", file=sys.stderr)

    def note(self, rows: tuple[str, ...], text: str) -> None:
        """Say of each row what went wrong."""
        self.say(text)
        for row in rows:
            self.problems[row].append(text)

    def refer(self, rows: tuple[str, ...], seen: dict[str, tuple[float, str]]) -> None:
        """Put one round's references beside the scenario's first row."""
        for name, (value, unit) in seen.items():
            self.references[rows[0]].setdefault(name, (unit, []))[1].append(value)


@dataclass(slots=True)
class Contest:
    """Two kinds of servers, the scenarios, and the time that all of it may take."""

    contenders: list[Contender]
    scenarios: list[Scenario]
    scratch: Path
    databases: Databases
    sizes: Sizes
    deadline: float
    record: Record = field(default_factory=Record)

    def run(self) -> None:
        """All stages, those with servers of their own first."""
        for stage in get_args(Stage):
            scenarios = [scenario for scenario in self.scenarios if scenario.stage == stage]
            if scenarios:
                self._run_stage(stage, scenarios)

    def _run_stage(self, stage: Stage, scenarios: list[Scenario]) -> None:
        contenders = [Contender(c.kind, failure=c.failure) for c in self.contenders]
        try:
            if stage != "alone":
                self._start(stage, contenders)
            for scenario in scenarios:
                self._run_scenario(scenario, contenders)
        finally:
            for contender in contenders:
                if contender.server is not None:
                    contender.server.stop()

    def _start(self, stage: Stage, contenders: list[Contender]) -> None:
        for contender in contenders:
            if contender.failure is None:
                self.record.say(f"starting {contender.kind.name} on a {stage} database")
                home = self.scratch / f"{stage}-{contender.kind.name}"
                contender.server = Server(contender.kind, home)
                try:
                    home.mkdir()
                    seeded = stage == "seeded"
                    uri = self.databases.seeded(home, self.sizes) if seeded else self.databases.fresh(home)
                    contender.server.start(uri)
                    contender.server.settle(limit=self.sizes.settle)
                    contender.server.freeze()
                except Exception as error:  # noqa: BLE001  its rows report it, the other one goes on
                    contender.failure = _reason(error)

    def _run_scenario(self, scenario: Scenario, contenders: list[Contender]) -> None:
        able = [contender for contender in contenders if self._prepared(scenario, contender, contenders)]
        took = 0.0
        for number in range(scenario.rounds):
            if time.monotonic() + took > self.deadline:
                text = f"{number} of {scenario.rounds} rounds: the time for the whole run was spent"
                self.record.note(scenario.rows, text)
                return
            began = time.monotonic()
            for contender in list(able):
                if not self._sample(scenario, contender, contenders, number):
                    able.remove(contender)
            if able:
                self._refer(scenario, contenders)
            took = time.monotonic() - began

    def _prepared(self, scenario: Scenario, contender: Contender, contenders: list[Contender]) -> bool:
        if contender.failure is None:
            try:
                self._only(contender, contenders)
                scenario.prepare(contender)
            except Exception as error:  # noqa: BLE001  a row that can't run says why
                self.record.note(scenario.rows, f"{contender.kind.name}: {_reason(error)}")
                return False
            return True
        self.record.note(scenario.rows, f"{contender.kind.name}: {contender.failure}")
        return False

    def _sample(
        self, scenario: Scenario, contender: Contender, contenders: list[Contender], number: int
    ) -> bool:
        load = os.getloadavg()[0]
        try:
            self._only(contender, contenders)
            readings = scenario.measure(contender, number)
        except Exception as error:  # noqa: BLE001  a row that can't run says why
            text = f"{contender.kind.name}, round {number + 1}: {_reason(error)}"
            self.record.note(scenario.rows, text)
            return False
        for reading in readings:
            self.record.readings[reading.row][contender.kind.name][number] = reading
            self.record.load_averages[reading.row].append(round(load, 2))
        shown = ", ".join(f"{reading.row} {reading.value:.4g}" for reading in readings)
        self.record.say(f"round {number + 1}, {contender.kind.name}: {shown}")
        return True

    def _refer(self, scenario: Scenario, contenders: list[Contender]) -> None:
        self._only(None, contenders)
        try:
            self.record.refer(scenario.rows, scenario.references())
        except Exception as error:  # noqa: BLE001  the rows stand without their references
            self.record.note(scenario.rows, f"no references: {_reason(error)}")

    @staticmethod
    def _only(chosen: Contender | None, contenders: list[Contender]) -> None:
        """Let one server run and none else."""
        for contender in contenders:
            if contender.server is not None and contender is not chosen:
                contender.server.freeze()
        if chosen is not None and chosen.server is not None:
            chosen.server.thaw()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).replace(f"{ROOT}/", "")
    return f"{type(error).__name__}: {text}"
