"""A collation that takes 'a' for 'A', 'á' and 'a ', as MySQL's usual ones do: nothing is mistaken."""

from __future__ import annotations

import pytest
from tests.metadata import places
from tests.servers import mariadb

from shoso.errors import Kind, ShosoError, TrackingError
from shoso.metadata import aliases, experiments, histories, metrics, models, registry, runs, search, versions
from shoso.metadata.connect import Database
from shoso.wire.registry import CreateModelVersion, CreateRegisteredModel, SetAlias, SetRegisteredModelTag
from shoso.wire.requests import (
    CreateExperiment,
    CreateLoggedModel,
    CreateRun,
    GetBulkHistory,
    GetSampledHistory,
    LogBatch,
    LogMetric,
    MetricInput,
    ParamInput,
    SearchRuns,
    SetExperimentTag,
    SetLoggedModelTags,
    TagInput,
)

KINDS = ("mariadb",)
SAME = ("loss ", "LOSS", "Löss")


@pytest.fixture
async def run_id(database):
    return (await database.write(runs.create, CreateRun("0"))).info.run_id


async def refused(call):
    with pytest.raises(ShosoError) as caught:
        await call
    assert caught.value.kind in {Kind.INVALID, Kind.DUPLICATE}
    return str(caught.value)


def point(run_id, key, step):
    return LogMetric(run_id=run_id, key=key, value=1.0, timestamp=1, step=step)


@pytest.mark.parametrize("key", SAME)
async def test_a_metric_of_nearly_the_same_name_is_refused_and_changes_nothing(
    database: Database, run_id, key
):
    await database.write_each(metrics.log_each, point(run_id, "loss", 1))
    for step in (1, 2):  # the same point, and a later one
        batch = LogBatch(run_id, [MetricInput(key, 1.0, 1, step)], [ParamInput("p", "1")])
        assert "choose another one" in await refused(database.write(runs.log_batch, batch, True))
        call = database.write_each(metrics.log_each, point(run_id, key, step))
        assert "choose another one" in await refused(call)
    run = await database.read(runs.get, run_id)
    assert [(metric.key, metric.step) for metric in run.data.metrics] == [("loss", 1)]
    assert (await database.search(metrics.history, run_id, key)).metrics == ()
    assert await database.search(histories.bulk, GetBulkHistory(run_id=[run_id], metric_key=key)) == []
    sample = GetSampledHistory(run_ids=[run_id], metric_key=key)
    assert await database.search(histories.sampled, sample) == []
    assert run.data.params == ()


@pytest.mark.parametrize("key", SAME)
async def test_a_tag_or_param_of_nearly_the_same_name_is_refused(database, run_id, key):
    await database.write(runs.set_tags, run_id, [TagInput("loss", "1")], True)
    await database.write(runs.log_params, run_id, [ParamInput("loss", "1")], True)
    await refused(database.write(runs.set_tags, run_id, [TagInput(key, "2")], True))
    await refused(database.write(runs.log_params, run_id, [ParamInput(key, "2")], True))
    with pytest.raises(TrackingError, match="No tag with name"):
        await database.write(runs.delete_tag, run_id, key)
    await database.write(experiments.set_tag, SetExperimentTag("0", "loss", "1"))
    await refused(database.write(experiments.set_tag, SetExperimentTag("0", key, "2")))
    data = (await database.read(runs.get, run_id)).data
    assert ("loss", "1") in {(tag.key, tag.value) for tag in data.tags}
    assert [(param.key, param.value) for param in data.params] == [("loss", "1")]
    assert [(tag.key, tag.value) for tag in (await database.read(experiments.get, "0")).tags] == [
        ("loss", "1")
    ]


async def test_what_is_found_is_spelled_as_it_was_asked_for(database, run_id):
    await database.write(runs.set_tags, run_id, [TagInput("k", "Value")], True)
    found = []
    for value in ("Value", "value", "Value ", "Valüe"):
        request = SearchRuns(["0"], f"tags.k = '{value}'")
        found.append(len((await database.search(search.search_runs, request)).runs))
    assert found == [1, 0, 0, 0]
    for filter_ in ("tags.K = 'Value'", "tags.k LIKE 'v%'", f"run_id = '{run_id.upper()}'"):
        assert (await database.search(search.search_runs, SearchRuns(["0"], filter_))).runs == (), filter_
    for filter_ in ("tags.k ILIKE 'v%'", "tags.k != 'value'", f"run_id NOT IN ('{run_id.upper()}')"):
        assert len((await database.search(search.search_runs, SearchRuns(["0"], filter_))).runs) == 1, filter_


async def test_nobody_is_found_by_nearly_its_name(database, run_id):
    await database.write(experiments.create, CreateExperiment("Name"), "/a")
    await database.write(registry.create, CreateRegisteredModel("Name"))
    await database.write(versions.create, CreateModelVersion("Name", "s3://b/m"))
    await database.write(aliases.assign, SetAlias("Name", "champion", "1"))
    for name in ("name", "Name ", "Nämé"):
        for work in (experiments.get_by_name, registry.get):
            with pytest.raises(TrackingError) as caught:
                await database.read(work, name)
            assert caught.value.kind is Kind.NOT_FOUND
        await refused(database.write(experiments.create, CreateExperiment(name), "/a"))
        await refused(database.write(registry.create, CreateRegisteredModel(name)))
        with pytest.raises(TrackingError, match="not found"):
            await database.write(registry.set_tag, SetRegisteredModelTag(name, "k", "v"))
    with pytest.raises(TrackingError, match="alias CHAMPION not found"):
        await database.read(aliases.meant, "Name", "CHAMPION")
    for work in (runs.get, models.kept):
        with pytest.raises(TrackingError, match="not found"):
            await database.read(work, run_id.upper())


async def test_a_version_that_mlflow_made_under_nearly_the_models_name_keeps_its_number(place, database):
    await database.write(registry.create, CreateRegisteredModel("Name"))
    await database.write(versions.create, CreateModelVersion("Name", "s3://b/m"))
    place.execute("UPDATE model_versions SET name = 'name'")
    made = await database.write(versions.create, CreateModelVersion("Name", "s3://b/m"))
    assert made.version == "2"


async def test_a_tag_of_a_logged_model_replaces_none_of_nearly_its_name(database):
    made = await database.write(models.create, CreateLoggedModel("0", "m"))
    await database.write(models.set_tags, SetLoggedModelTags(made.info.model_id, [TagInput("k", "1")]))
    await refused(
        database.write(models.set_tags, SetLoggedModelTags(made.info.model_id, [TagInput("K", "2")]))
    )
    assert await database.read(models.tag, made.info.model_id, "k") == "1"
    assert await database.read(models.tag, made.info.model_id, "K") is None


async def test_a_database_that_tells_them_apart_keeps_both():
    uri = places.new("mariadb", exact=True)
    database = Database.open(uri, artifact_root="/a", options=places.FEW)
    run_id = (await database.write(runs.create, CreateRun("0"))).info.run_id
    for step, key in enumerate(("loss", "LOSS", "Löss")):
        await database.write_each(metrics.log_each, point(run_id, key, step))
    run = await database.read(runs.get, run_id)
    await database.close()
    assert {metric.key: metric.step for metric in run.data.metrics} == {"loss": 0, "LOSS": 1, "Löss": 2}


async def test_a_character_that_the_database_does_not_have_is_named_and_no_failure():
    facts = mariadb.server()
    name = mariadb.create(facts)
    mariadb.sql(facts, f"ALTER DATABASE {name} CHARACTER SET latin1")
    database = Database.open(mariadb.uri(facts, name), artifact_root="/a", options=places.FEW)
    run_id = (await database.write(runs.create, CreateRun("0"))).info.run_id
    await database.write(runs.set_tags, run_id, [TagInput("k", "größer")], True)
    calls = (
        database.read(experiments.get_by_name, "日本"),
        database.write(experiments.create, CreateExperiment("日本"), "/a"),
        database.write(runs.set_tags, run_id, [TagInput("k", "日本")], True),
        database.search(search.search_runs, SearchRuns(["0"], "tags.k = '日本'")),
    )
    for call in calls:
        assert "character set" in await refused(call)
    assert (await database.read(runs.get, run_id)).data.tags[0].value == "größer"
    await database.close()
