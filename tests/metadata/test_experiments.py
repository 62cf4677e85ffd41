"""Experiments, beside the real MLflow's store doing the same."""

from __future__ import annotations

import pytest
from tests.metadata import places

from shoso.errors import Kind, ShosoError, TrackingError
from shoso.metadata import experiments, rules, runs
from shoso.wire.requests import (
    CreateExperiment,
    CreateRun,
    DeleteExperimentTag,
    SetExperimentTag,
    TagInput,
)

KINDS = places.PLACES
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

ROOT = "mlflow-artifacts:/"


async def create(database, name, location="", **tags):
    given = [TagInput(key, value) for key, value in tags.items()]
    return await database.write(experiments.create, CreateExperiment(name, location, given), ROOT)


async def get(database, experiment_id):
    return await database.read(experiments.get, experiment_id)


async def refusal(call):
    """The kind and message a call is refused with."""
    with pytest.raises(TrackingError) as caught:
        await call
    return caught.value.kind, caught.value.message


def portrait(experiment):
    """What an experiment is, times aside, of ours or MLflow's."""
    tags = experiment.tags
    pairs = tags.items() if isinstance(tags, dict) else ((tag.key, tag.value) for tag in tags)
    fields = ("experiment_id", "name", "artifact_location", "lifecycle_stage")
    return [getattr(experiment, field) for field in fields] + sorted(pairs)


async def same(database, store, experiment_id):
    """The experiment, which MLflow has too, the same."""
    ours = await get(database, experiment_id)
    assert portrait(ours) == portrait(store.get_experiment(experiment_id))
    return ours


@pytest.mark.parametrize(
    "location",
    ["", "s3://bucket/a?x=y", "/abs/path", "rel/path", "file:rel", "mlflow-artifacts:/x", "file:///a/"],
)
async def test_creating_does_as_mlflow_does(location, database, mlflow_store):
    from mlflow.entities import ExperimentTag

    ours = await create(database, "one", location, a="1", b="")
    theirs = mlflow_store.create_experiment(
        "one", location, [ExperimentTag("a", "1"), ExperimentTag("b", "")]
    )
    assert ours == theirs == "1"
    experiment = await same(database, mlflow_store, ours)
    assert experiment.creation_time == experiment.last_update_time > 1_700_000_000_000
    by_name = await database.read(experiments.get_by_name, "one")
    assert by_name == experiment


async def test_a_location_that_was_checked_before_is_taken_as_it_is(database):
    request = CreateExperiment("one", "rel")
    created = await database.write(experiments.create, request, ROOT, "/elsewhere/rel")
    assert (await get(database, created)).artifact_location == "/elsewhere/rel"


@pytest.mark.parametrize("stage", ["active", "deleted"])
async def test_a_name_is_taken_also_by_a_deleted_experiment(stage, database):
    first = await create(database, "one")
    if stage == "deleted":
        await database.write(experiments.delete, first)
    kind, message = await refusal(create(database, "one"))
    assert kind is Kind.DUPLICATE
    assert message.startswith("Experiment(name=one) already exists")
    assert ("restore it" in message) == (stage == "deleted")
    kind, _ = await refusal(database.write(experiments.rename, "0", "one"))
    assert kind is Kind.REJECTED


async def test_what_may_not_be_stored_is_refused_and_leaves_nothing(database):
    tag = TagInput("k", "v")
    for request in (
        CreateExperiment("n" * 501),
        CreateExperiment("n", "s3://" + "x" * 2048),
        CreateExperiment("n", tags=[TagInput("a//b")]),
        CreateExperiment("n", tags=[tag, tag]),
        CreateExperiment("n", tags=[TagInput(f"{rules.CUSTOM_VIEW}{n}") for n in range(51)]),
    ):
        kind, _ = await refusal(database.write(experiments.create, request, ROOT))
        assert kind is Kind.INVALID
    kind, _ = await refusal(database.read(experiments.get_by_name, "n"))
    assert kind is Kind.NOT_FOUND
    assert await create(database, "n") == "1"


async def test_what_is_not_there_is_not_found(database):
    calls = [
        database.read(experiments.get, "7"),
        database.read(experiments.get_by_name, "none"),
        database.write(experiments.active, "7"),
        database.write(experiments.delete, "7"),
        database.write(experiments.restore, "7"),
        database.write(experiments.rename, "7", "x"),
        database.write(experiments.set_tag, SetExperimentTag("7", "k", "v")),
        database.write(experiments.delete_tag, DeleteExperimentTag("7", "k")),
    ]
    for call in calls:
        kind, message = await refusal(call)
        assert kind is Kind.NOT_FOUND
        assert message in {"No Experiment with id=7 exists", "Could not find experiment with name 'none'"}


async def test_an_id_that_is_no_number_is_invalid(database):
    for work in (experiments.get, experiments.active, experiments.delete, experiments.restore):
        kind, _ = await refusal(database.write(work, "seven"))
        assert kind is Kind.INVALID


async def test_deleting_and_restoring_take_the_runs_along_as_mlflow_does(database, mlflow_store):
    experiment_id = await create(database, "one")
    mlflow_store.create_experiment("one")
    ours = [await new_run(database, experiment_id) for _ in range(2)]
    theirs = [mlflow_store.create_run(experiment_id, "", 0, [], "") for _ in range(2)]
    await database.write(runs.delete, ours[0])
    mlflow_store.delete_run(theirs[0].info.run_id)
    for change in ("delete", "restore", "delete"):
        before = (await get(database, experiment_id)).last_update_time
        await database.write(getattr(experiments, change), experiment_id)
        getattr(mlflow_store, f"{change}_experiment")(experiment_id)
        experiment = await same(database, mlflow_store, experiment_id)
        assert experiment.last_update_time >= before
        stages = [(await database.read(runs.get, run_id)).info.lifecycle_stage for run_id in ours]
        assert stages == [mlflow_store.get_run(run.info.run_id).info.lifecycle_stage for run in theirs]
        assert await deleted_times(database) == [change == "delete"] * 2
        kind, _ = await refusal(database.write(getattr(experiments, change), experiment_id))
        assert kind is Kind.NOT_FOUND


async def new_run(database, experiment_id):
    return (await database.write(runs.create, CreateRun(experiment_id=experiment_id))).info.run_id


async def deleted_times(database):
    """Of each run whether it has a time of deletion."""
    return await database.read(
        lambda conn: [time is not None for (time,) in conn.exec_driver_sql("SELECT deleted_time FROM runs")]
    )


async def test_the_default_experiment_can_be_deleted_and_restored(database, mlflow_store):
    for change in ("delete", "restore"):
        await database.write(getattr(experiments, change), "0")
        getattr(mlflow_store, f"{change}_experiment")("0")
        await same(database, mlflow_store, "0")


async def test_renaming(place, database, mlflow_store):
    experiment_id = await create(database, "one")
    mlflow_store.create_experiment("one")
    for name in ("two", "two", "n" * longest_name(place)):
        await database.write(experiments.rename, experiment_id, name)
        mlflow_store.rename_experiment(experiment_id, name)
        await same(database, mlflow_store, experiment_id)
    assert (await refusal(database.write(experiments.rename, experiment_id, "")))[0] is Kind.INVALID
    await database.write(experiments.delete, experiment_id)
    assert await refusal(database.write(experiments.rename, experiment_id, "three")) == (
        Kind.INVALID,
        f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted.",
    )


def longest_name(place):
    """What the API allows, where the database does."""
    return 500 if place.kind == "sqlite" else 256


async def test_a_name_that_the_database_has_no_room_for_is_refused(place, database):
    if place.kind == "sqlite":
        return  # it has room for any
    for work, *given in (
        (experiments.create, CreateExperiment("n" * 257), ROOT),
        (experiments.rename, "0", "n" * 257),
    ):
        with pytest.raises(ShosoError, match="more characters than its column in the database") as caught:
            await database.write(work, *given)
        assert caught.value.kind is Kind.INVALID


async def test_tags_are_set_replaced_and_deleted(database, mlflow_store):
    from mlflow.entities import ExperimentTag

    experiment_id = await create(database, "one")
    mlflow_store.create_experiment("one")
    for value in ("1", "2", "", "x" * 20_000):
        await database.write(experiments.set_tag, SetExperimentTag(experiment_id, "k", value))
        mlflow_store.set_experiment_tag(experiment_id, ExperimentTag("k", value))
        await same(database, mlflow_store, experiment_id)
    await database.write(experiments.delete_tag, DeleteExperimentTag(experiment_id, "k"))
    assert (await get(database, experiment_id)).tags == ()
    assert await refusal(database.write(experiments.delete_tag, DeleteExperimentTag(experiment_id, "k"))) == (
        Kind.NOT_FOUND,
        f"No tag with name: k in experiment with id {experiment_id}",
    )


async def test_tags_of_a_deleted_experiment_stay_as_they_are(database):
    experiment_id = await create(database, "one", k="v")
    await database.write(experiments.delete, experiment_id)
    for call in (
        database.write(experiments.set_tag, SetExperimentTag(experiment_id, "k", "w")),
        database.write(experiments.delete_tag, DeleteExperimentTag(experiment_id, "k")),
        database.write(experiments.active, experiment_id),
    ):
        kind, message = await refusal(call)
        assert kind is Kind.INVALID
        assert "'active' state" in message
    assert (await get(database, experiment_id)).tags[0].value == "v"


async def test_the_number_of_custom_views_is_limited(database):
    experiment_id = await create(database, "one", **{f"{rules.CUSTOM_VIEW}{n}": "" for n in range(50)})
    again = SetExperimentTag(experiment_id, f"{rules.CUSTOM_VIEW}7", "changed")
    await database.write(experiments.set_tag, again)
    another = SetExperimentTag(experiment_id, f"{rules.CUSTOM_VIEW}50", "")
    kind, message = await refusal(database.write(experiments.set_tag, another))
    assert kind is Kind.INVALID
    assert "50 custom views" in message


async def test_many_experiments_are_loaded_with_their_tags(database):
    from sqlalchemy import select

    from shoso.metadata.schema import experiments as table

    def make(conn):
        for number in range(1, 701):
            tags = [TagInput("n", str(number)), TagInput("m", "x")]
            experiments.create(conn, CreateExperiment(f"e{number}", tags=tags), ROOT)

    await database.write(make)

    def load(conn):
        return experiments.from_rows(conn, conn.execute(select(table).order_by(table.c.experiment_id)).all())

    loaded = await database.read(load)
    assert [one.experiment_id for one in loaded] == [str(number) for number in range(701)]
    assert loaded[0].tags == ()
    assert all(
        {(t.key, t.value) for t in one.tags} == {("n", one.experiment_id), ("m", "x")} for one in loaded[1:]
    )
