"""`shoso retention`: what a policy keeps stays, by a model of it; what has changed since the plan, too."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
import uuid
from dataclasses import dataclass

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import update
from tests.maintenance import world
from tests.maintenance.test_gc import Quiet
from tests.maintenance.world import ROOT, World

from shoso.cli import main
from shoso.errors import ConfigError
from shoso.maintenance import plans
from shoso.maintenance.plans import Item, Kept
from shoso.maintenance.retention import applying, policies
from shoso.maintenance.retention.applying import apply
from shoso.maintenance.retention.planning import plan
from shoso.maintenance.retention.policies import Best, Policy
from shoso.maintenance.retention.undoing import undo
from shoso.metadata import claims, datasets, experiments, models, registry, runs, versions
from shoso.metadata.claims import Claim
from shoso.metadata.holdings import Kind
from shoso.metadata.schema import model_versions
from shoso.wire.entities import ModelInput
from shoso.wire.registry import CreateModelVersion, CreateRegisteredModel
from shoso.wire.requests import (
    CreateExperiment,
    CreateLoggedModel,
    CreateRun,
    LogBatch,
    LogInputs,
    MetricInput,
    TagInput,
    UpdateRun,
)

DAY = 86_400_000


@dataclass
class Spec:
    """A run: how old it is in days, and what may keep it; `parent` is a number of another."""

    status: str = "FINISHED"
    age: int = 100
    metric: float | None = None
    tags: tuple[tuple[str, str], ...] = ()
    parent: int | None = None
    registered: str = ""  # "run", "model"
    model: bool = False


class Made:
    """The runs of an experiment of that name, by their numbers, and their models."""

    def __init__(self, conn, name, specs):
        self.name, self.now = name, time.time_ns() // 1_000_000
        self.experiment = experiments.create(conn, CreateExperiment(name), ROOT)
        self.runs, self.models = [], {}
        for number, spec in enumerate(specs):
            self._run(conn, spec, self.now - spec.age * DAY, number)

    def _run(self, conn, spec, ended, number):
        run = runs.create(conn, CreateRun(self.experiment, start_time=ended - 60_000)).info
        self.runs.append(run.run_id)
        tags = [TagInput(*tag) for tag in spec.tags]
        if spec.parent is not None and spec.parent < number:
            tags.append(TagInput("mlflow.parentRunId", self.runs[spec.parent]))
        points = [] if spec.metric is None else [MetricInput("loss", spec.metric, 1, 0)]
        runs.log_batch(conn, LogBatch(run.run_id, points, tags=tags), True)
        if spec.status != "RUNNING":
            runs.update(conn, run.run_id, UpdateRun(run_id=run.run_id, status=spec.status, end_time=ended))
        source, of = f"{run.artifact_uri}/model", {"run_id": run.run_id}
        if spec.model or spec.registered == "model":
            model = models.create(conn, CreateLoggedModel(self.experiment, source_run_id=run.run_id)).info
            self.models[number] = model.model_id
            if spec.registered == "model":
                source, of = model.artifact_uri, {"model_id": model.model_id}
        if spec.registered:
            register(conn, source, **of)


def register(conn, source, **of):
    name = uuid.uuid4().hex
    registry.create(conn, CreateRegisteredModel(name))
    versions.create(conn, CreateModelVersion(name, source, **of))


def expected(specs, policy):
    """The numbers of the runs that stay: the model of what retention promises."""
    ended = [at for at, spec in enumerate(specs) if spec.status != "RUNNING"]
    parents = {
        at: spec.parent for at, spec in enumerate(specs) if spec.parent is not None and spec.parent < at
    }
    newest = sorted(ended, key=lambda at: specs[at].age)  # ages differ
    kept = {at for at in range(len(specs)) if at not in ended}
    if policy.keep_best:
        sign = 1 if policy.keep_best.order == "min" else -1
        measured = [at for at in newest if specs[at].metric is not None and not math.isnan(specs[at].metric)]
        if not measured:
            return {*range(len(specs))}
        kept |= {*sorted(measured, key=lambda at: sign * specs[at].metric)[: policy.keep_best.n]}
    if policy.keep_last:
        kept |= {*[at for at in newest if at not in parents][: policy.keep_last]}
    if policy.keep_for:
        kept |= {at for at in ended if specs[at].age < int(policy.keep_for[:-1])}
    if policy.registered:
        kept |= {at for at in ended if specs[at].registered}
    for tag in policy.keep_tags:
        key, found, value = tag.partition("=")
        kept |= {at for at in ended if any(key == k and (not found or value == v) for k, v in specs[at].tags)}

    def above(at):
        while at in parents:
            at = parents[at]
            yield at

    everything = kept | {up for at in kept for up in above(at)}
    return everything | {at for at in range(len(specs)) if kept & {*above(at)}}


SPECS = st.lists(
    st.builds(
        Spec,
        status=st.sampled_from(["FINISHED", "FAILED", "KILLED", "RUNNING"]),
        metric=st.sampled_from([None, math.nan, -math.inf, math.inf, 0.0, 1.0, 1.0, 2.0]),
        tags=st.lists(
            st.sampled_from([("keep", ""), ("stage", "prod"), ("stage", "dev"), ("Keep", "")]),
            max_size=2, unique_by=lambda tag: tag[0].lower(),
        ).map(tuple),
        parent=st.none() | st.integers(0, 5),
        registered=st.sampled_from(["", "", "", "run", "model"]),
        model=st.booleans(),
    ),
    min_size=1, max_size=8,
).flatmap(
    lambda specs: st.permutations(range(1, 5 * len(specs), 5)).map(
        lambda ages: [Spec(**{**vars(spec), "age": age}) for spec, age in zip(specs, ages, strict=True)]
    )
)  # fmt: skip
POLICIES = st.builds(
    Policy,
    experiments=st.just("*"),
    keep_best=st.none()
    | st.builds(Best, st.just("loss"), st.integers(1, 3), st.sampled_from(["min", "max"])),
    keep_last=st.none() | st.integers(1, 3),
    keep_registered=st.sampled_from([None, True, False]),
    keep_tags=st.lists(st.sampled_from(["keep", "stage=prod"]), max_size=2, unique=True),
    keep_for=st.none() | st.sampled_from(["3d", "14d", "28d"]),
)


async def planned(opened, folder, *rules):
    """A plan's path; what goes by id; what is kept otherwise."""
    path = folder / f"{uuid.uuid4().hex}.jsonl"
    await plan(opened.estate, rules, path, Quiet())
    lines = [*plans.lines(path)]
    going = {line.id: line for line in lines if isinstance(line, Item)}
    return path, going, {line.id: line.reason for line in lines if isinstance(line, Kept)}


async def applied(opened, path):
    return await apply(opened.estate, *plans.read_retention(path), Quiet())


def of_name(policy, name):
    return Policy(**{**{key: getattr(policy, key) for key in Policy.__struct_fields__}, "experiments": name})


async def check(opened, folder, specs, policy):
    """Plan and apply, and compare with the model."""
    made = await opened.database.write(Made, uuid.uuid4().hex, specs)
    policy, stay = of_name(policy, made.name), expected(specs, policy)
    path, going, _ = await planned(opened, folder, policy)
    gone = {*range(len(specs))} - stay
    assert {*going} == {made.runs[at] for at in gone} | {made.models[at] for at in gone & {*made.models}}
    done = await applied(opened, path)
    assert (done.items.get("run", 0), done.problems, done.gone) == (len(gone), [], 0)
    back = await undo(opened.estate, *plans.read_retention(path), Quiet())
    assert (back.items, back.problems) == (done.items, [])
    assert (await applied(opened, path)).items == done.items
    for at, run_id in enumerate(made.runs):
        stage = (await opened.database.read(runs.get, run_id)).info.lifecycle_stage
        assert stage == ("active" if at in stay else "deleted"), at
    for at, model_id in made.models.items():
        [found] = await opened.database.read(holdings_of_model, model_id)
        assert found.deleted == (at in gone)
    assert (await planned(opened, folder, policy))[1] == {}  # what stays doesn't depend on what went
    assert (await applied(opened, path)).gone == len(going)


def holdings_of_model(conn, model_id):
    from shoso.metadata.holdings import Wanted, page

    return page(conn, Kind.MODEL, Wanted([model_id]))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A world on SQLite, a loop and a folder, for all examples."""
    folder, loop = tmp_path_factory.mktemp("world"), asyncio.new_event_loop()
    opened = World(*loop.run_until_complete(world.make("sqlite", "local", folder)))
    yield lambda specs, policy: loop.run_until_complete(check(opened, folder, specs, policy))
    loop.run_until_complete(opened.close())
    loop.close()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(specs=SPECS, policy=POLICIES)
@example([Spec(age=6, metric=math.nan), Spec(metric=1.0)], Policy("*", Best("loss", 1, "min")))
@example([Spec(age=6, metric=1.0), Spec(age=1, metric=1.0)], Policy("*", Best("loss", 1, "max")))
def test_what_a_policy_keeps_stays_and_everything_else_goes(shared, specs, policy):
    shared(specs, policy)


SWEEP = [
    Spec(age=90), Spec(age=80, parent=0, metric=1.0), Spec(age=79, parent=0, metric=2.0),
    Spec(age=60, tags=(("keep", "no"),)), Spec(age=59, parent=3, metric=9.0), Spec(age=58, parent=4),
    Spec(age=50, metric=0.5, status="RUNNING"), Spec(age=40, metric=math.nan),
    Spec(age=30, registered="model"), Spec(age=20),
    Spec(age=10, metric=3.0, model=True), Spec(age=5, tags=(("KEEP", "1"),)),
]  # fmt: skip


@pytest.mark.parametrize("place", [("postgres", "local"), ("mariadb", "local")], ids="-".join)
async def test_other_databases_keep_the_same(place, tmp_path):
    opened = World(*await world.make(*place, tmp_path))
    policy = Policy("*", Best("loss", 1, "min"), 2, None, ["keep"], "8d")
    assert expected(SWEEP, policy) == {0, 1, 3, 4, 5, 6, 8, 10, 11}
    await check(opened, tmp_path, SWEEP, policy)
    await opened.close()


@pytest.fixture
async def plain(tmp_path):
    opened = World(*await world.make("sqlite", "local", tmp_path))
    yield opened
    await opened.close()


async def test_what_a_policy_keeps_by_now_stays_and_is_named(plain, tmp_path):
    database = plain.database
    made = await database.write(
        Made, "e", [Spec(age=10 * at, metric=float(at), model=True) for at in range(1, 9)]
    )
    best, tagged, registered, better, running, restored, gone, goes = made.runs
    policy = Policy("e", Best("loss", 1, "min"), keep_tags=["keep"])
    path, going, _ = await planned(plain, tmp_path, policy)
    assert {*going} == {*made.runs[1:], *[made.models[at] for at in range(1, 8)]}
    assert going[goes].reason == (
        "policy 1: ended 80 days ago, not among the best 1 by loss, without a tag that keeps it"
    )
    await database.write(runs.set_tags, tagged, [TagInput("keep", "")], True)
    source = await plain.location(Kind.MODEL, made.models[2])
    await database.write(register, source, model_id=made.models[2])
    await database.write(lambda conn: conn.execute(update(model_versions).values(run_id=None)))
    await database.write(runs.log_batch, LogBatch(better, [MetricInput("loss", 0.5, 2, 1)]), True)
    await database.write(runs.update, running, UpdateRun(run_id=running, status="RUNNING"))
    await database.write(runs.delete, restored)
    await database.write(runs.restore, restored)
    await plain.delete_run(gone)
    done = await applied(plain, path)
    why = {problem.item.id: problem.message for problem in done.problems}
    assert {id_: why[id_] for id_ in made.runs if id_ in why} == {
        tagged: "it has the tag 'keep'",
        registered: why[registered],
        better: "it is among the best 1 by loss",
        running: "it hasn't ended",
    }
    assert "of a registered model is made from it" in why[registered]
    assert why[made.models[1]] == f"the run {tagged}, which made it, stays"
    assert (done.items, done.gone) == ({"run": 2, "model": 3}, 1)
    assert (await database.read(runs.get, best)).info.lifecycle_stage == "active"
    await database.write(experiments.rename, made.experiment, "other")
    await database.write(runs.restore, goes)
    [problem] = [one for one in (await applied(plain, path)).problems if one.item.id == goes]
    assert "no policy of the plan is about its experiment 'other'" in problem.message


async def test_undo_knows_what_was_marked_by_a_clock_behind_that_of_the_plan(plain, tmp_path):
    made = await plain.database.write(Made, "e", [Spec(age=50, model=True)])
    path, *_ = await planned(plain, tmp_path, Policy("e", keep_for="9d"))
    found, items = plans.read_retention(path)
    ahead, items = replace(found, made=found.made + 60_000), [*items]
    assert (await apply(plain.estate, ahead, items, Quiet())).items == {"run": 1, "model": 1}
    with pytest.raises(ConfigError, match="isn't the database of the plan"):
        await undo(plain.estate, replace(ahead, database="sqlite:///other.db"), items, Quiet())
    assert (await undo(plain.estate, ahead, items, Quiet())).items == {"run": 1, "model": 1}
    assert (await plain.database.read(runs.get, made.runs[0])).info.lifecycle_stage == "active"


async def test_what_is_registered_while_a_plan_is_applied_stays_with_what_it_is_nested_in(
    plain, tmp_path, monkeypatch
):
    monkeypatch.setattr(applying, "BATCH", 1)
    specs = [Spec(age=50), Spec(age=40), Spec(age=30, parent=1), Spec(age=20)]
    made = await plain.database.write(Made, "e", specs)
    path, going, _ = await planned(plain, tmp_path, Policy("e", keep_last=1))
    assert {*going} == {*made.runs[:3]}
    mark, marked = applying._mark, []

    def then_register(conn, plan, number, versions, items):
        if marked:
            source = f"mlflow-artifacts:/{made.experiment}/{nested}/artifacts/model"
            register(conn, source, run_id=nested)
        outcomes = mark(conn, plan, number, versions, items)
        marked.extend(item.id for item in items)
        return outcomes

    nested = made.runs[2]
    items = sorted(plans.read_retention(path)[1], key=lambda item: made.runs.index(item.id))
    monkeypatch.setattr(applying, "_mark", then_register)
    done = await apply(plain.estate, plans.read_retention(path)[0], items, Quiet())
    assert marked == made.runs[:3]
    assert done.items == {"run": 1}
    assert [problem.item.id for problem in done.problems] == made.runs[1:3]
    assert done.problems[0].message == "a run that is nested in it stays"
    assert "of a registered model is made from it" in done.problems[1].message


async def test_a_model_that_another_run_reads_stays_and_so_does_what_nobody_can_rank(plain, tmp_path):
    made = await plain.database.write(Made, "e", [Spec(age=50, model=True), Spec(age=10)])
    reads = LogInputs(made.runs[1], models=[ModelInput(made.models[0])])
    await plain.database.write(datasets.log_inputs, reads)
    _, going, kept = await planned(plain, tmp_path, Policy("e", keep_last=1))
    assert ({*going}, kept) == ({made.runs[0]}, {made.models[0]: f"the run {made.runs[1]} reads it"})
    _, going, kept = await planned(plain, tmp_path, Policy("e", Best("lss", 1, "min"), keep_last=1))
    assert (going, {*kept}) == ({}, {made.experiment})
    assert "has the metric 'lss'" in kept[made.experiment]
    other = await plain.database.write(Made, "prod-e", [Spec(age=50)])
    rules = Policy("prod-*", keep_for="forever"), Policy("*", keep_last=1)
    assert other.runs[0] not in (await planned(plain, tmp_path, *rules))[1]
    assert other.runs[0] in (await planned(plain, tmp_path, Policy("prod-*", keep_for="40d")))[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no policy; write [[policy]]"),
        ("policy = 3", "has no list of policies"),
        ("[[policies]]", "the key 'policies', which nobody knows; write policy"),
        ('[[policy]]\nexperiments = "*"\nkeep_lst = 3', "'keep_lst' in policy 1, which nobody knows; write"),
        ("[[policy]]\nkeep_last = 3", "policy 1, experiments: Object missing required field"),
        ('[[policy]]\nexperiments = "*"\nkeep_last = "3"', "policy 1, keep_last: Expected 'int'"),
        ('[[policy]]\nexperiments = "*"\nkeep_last = 0', "write it like keep_last = 10"),
        ('[[policy]]\nexperiments = "*"\nkeep_best = {metric = "m", n = 1}', "keep_best: Object missing"),
        ('[[policy]]\nexperiments = "*"\nkeep_best = {metric = "m", n = 1, order = "low"}', 'order = "min"'),
        ('[[policy]]\nexperiments = "*"\nkeep_best = {metric = "m", m = 1}', "unknown field 'm'"),
        ('[[policy]]\nexperiments = "*"\nkeep_tags = "keep"', 'keep_tags = ["keep", "stage=prod"]'),
        ('[[policy]]\nexperiments = "*"\nkeep_tags = ["=a"]', "a tag without a key"),
        ('[[policy]]\nexperiments = "*"\nkeep_for = "soon"', "'soon' is no time; write it like 90d"),
        ('[[policy]]\nexperiments = "a"', "says in policy 1 of 'a' nothing that stays; add one of keep_best"),
        ("[[policy", "is no TOML"),
    ],
)  # fmt: skip
def test_a_wrong_policy_names_the_key_and_what_to_write(tmp_path, text, said):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        policies.load(path)
    assert said in raised.value.message, raised.value.message


async def test_the_command_line_previews_plans_applies_and_gc_lets_go(plain, tmp_path):
    variables = {name: None for name in os.environ if name.startswith(("MLFLOW_", "SHOSO_"))}
    variables |= {f"MLFLOW_{name.upper()}": value for name, value in plain.flags.items()}

    def line(*arguments, code=0, group="gc"):
        runner = CliRunner(env=variables)
        done = runner.invoke(
            main, [group, *(str(tmp_path / one) if "." in one else one for one in arguments)]
        )
        assert done.exit_code == code, done.output
        return done.stdout or done.output

    made = await plain.database.write(Made, "digits", [Spec(age=at) for at in (9, 8, 7)])
    await plain.put(await plain.location(Kind.RUN, made.runs[0]), {"a.bin": b"a" * 2048})
    (tmp_path / "p.toml").write_text(
        '[[policy]]\nexperiments = "dig*"\nkeep_last = 1\nkeep_tags = ["keep"]\n'
    )
    text = line("preview", "p.toml", group="retention")
    assert "ended 9 days ago, not among the last 1" in text
    assert "In 'digits', by policy 1, 1 run would stay (1 last)." in text
    assert "2 runs would go: 1 object (2.0 KiB)." in text
    shown = json.loads(line("preview", "p.toml", "--json", group="retention"))
    assert {one["id"]: one["bytes"] for one in shown["going"]} == {made.runs[0]: 2048, made.runs[1]: 0}
    line("plan", "p.toml", "-o", "r.jsonl", group="retention")
    assert "apply it with: shoso retention apply" in line("apply", "r.jsonl", code=1)
    said = line("apply", "r.jsonl", group="retention")
    assert "2 runs marked deleted" in said
    assert said.endswith("To let their 1 object (2.0 KiB) go for good: shoso gc --older-than 30d\n")
    assert "2 had gone before" in line("apply", "r.jsonl", group="retention")
    assert "2 runs restored" in line("undo", "r.jsonl", group="retention")
    assert "2 were active" in line("undo", "r.jsonl", group="retention")
    line("apply", "r.jsonl", group="retention")
    line("plan", "-o", "g.jsonl")
    assert "apply it with: shoso gc apply" in line("apply", "g.jsonl", group="retention", code=1)
    claim = Claim("run", made.runs[1], "p1", 1, "somewhere")
    await plain.database.write(claims.add, [claim])
    done = json.loads(line("undo", "r.jsonl", "--json", group="retention", code=1))
    assert (done["items"], [one["id"] for one in done["problems"]]) == ({"run": 1}, [made.runs[1]])
    assert "plan p1" in done["problems"][0]["message"]
    await plain.database.write(claims.release, "run", [made.runs[1]])
    line("apply", "r.jsonl", group="retention")
    line("plan", "-o", "g.jsonl")
    line("apply", "g.jsonl")
    assert "it is gone: gc has deleted it" in line("undo", "r.jsonl", group="retention", code=1)
    assert await plain.there(Kind.RUN, *made.runs) == [made.runs[2]]
