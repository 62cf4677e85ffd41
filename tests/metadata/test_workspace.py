"""Rows of MLflow's other workspaces: nothing shows them, nothing changes them, their names are free."""

# ruff: noqa: ARG005 - every call is given all the ids

from __future__ import annotations

import pytest
from sqlalchemy import inspect
from tests.metadata import places

from shoso.errors import Kind, ShosoError
from shoso.metadata import (
    aliases,
    compatibility,
    datasets,
    experiments,
    histories,
    import_models,
    imports,
    metrics,
    model_history,
    models,
    registry,
    runs,
    versions,
)
from shoso.metadata.dialects import choose
from shoso.metadata.search import search_experiments, search_runs
from shoso.metadata.search_models import search_logged_models
from shoso.metadata.search_registry import search_models, search_versions
from shoso.wire import registry as of_registry
from shoso.wire import requests as of
from shoso.wire.entities import Dataset, DatasetInput, ModelOutput, Tag
from shoso.wire.imports import ImportedExperiment, ImportedModel, ImportedRun, ImportIds

KINDS = places.PLACES

POINT = of.MetricInput("m", 1.5, 1, 1)
READ = DatasetInput(Dataset("data", "d1", "local", "{}"), (Tag("mlflow.data.context", "train"),))


def fill(conn):
    """An experiment with all that can be in one, and a registered model; what they are called by."""
    number = experiments.create(conn, of.CreateExperiment("named", tags=[of.TagInput("k", "v")]), "/root")
    run_id = runs.create(conn, of.CreateRun(number, run_name="theirs")).info.run_id
    model_id = models.create(conn, of.CreateLoggedModel(number, tags=[of.TagInput("k", "v")])).info.model_id
    points = [POINT, of.MetricInput("m", 2.5, 2, 2, model_id=model_id)]
    logged = of.LogBatch(run_id, points, [of.ParamInput("p", "1")], [of.TagInput("t", "1")])
    runs.log_batch(conn, logged, False)
    datasets.log_inputs(conn, of.LogInputs(run_id, [READ]))
    registry.create(conn, of_registry.CreateRegisteredModel("model", [of.TagInput("k", "v")]))
    source = of_registry.CreateModelVersion("model", "s3://bucket/x", tags=[of.TagInput("k", "v")])
    versions.create(conn, source)
    aliases.assign(conn, of_registry.SetAlias("model", "best", "1"))
    return number, run_id, model_id


@pytest.fixture
async def theirs(place, database):
    """The ids of what was made, and then moved to another workspace."""
    made = await database.write(fill)
    with place.connect() as connection:
        for table in ("experiments", "registered_models"):
            connection.exec_driver_sql(
                f"UPDATE {table} SET workspace = 'team' WHERE name IN ('named', 'model')"
            )
    return made


def dump(place):
    """Every row of every table."""
    tables = inspect(place.engine).get_table_names()
    return {table: sorted(place.execute(f"SELECT * FROM {table}"), key=str) for table in tables}


CALLS = {
    "experiment": lambda c, e, r, m: experiments.get(c, e),
    "experiment by name": lambda c, e, r, m: experiments.get_by_name(c, "named"),
    "delete experiment": lambda c, e, r, m: experiments.delete(c, e),
    "restore experiment": lambda c, e, r, m: experiments.restore(c, e),
    "rename experiment": lambda c, e, r, m: experiments.rename(c, e, "other"),
    "tag experiment": lambda c, e, r, m: experiments.set_tag(c, of.SetExperimentTag(e, "k", "x")),
    "untag experiment": lambda c, e, r, m: experiments.delete_tag(c, of.DeleteExperimentTag(e, "k")),
    "new run": lambda c, e, r, m: runs.create(c, of.CreateRun(e)),
    "run": lambda c, e, r, m: runs.get(c, r),
    "artifacts": lambda c, e, r, m: runs.artifact_uri(c, r),
    "update run": lambda c, e, r, m: runs.update(c, r, of.UpdateRun(status="FAILED")),
    "delete run": lambda c, e, r, m: runs.delete(c, r),
    "restore run": lambda c, e, r, m: runs.restore(c, r),
    "param": lambda c, e, r, m: runs.log_params(c, r, [of.ParamInput("q", "1")], False),
    "tag": lambda c, e, r, m: runs.set_tags(c, r, [of.TagInput("t", "2")], False),
    "untag": lambda c, e, r, m: runs.delete_tag(c, r, "t"),
    "batch": lambda c, e, r, m: runs.log_batch(c, of.LogBatch(r, [POINT]), False),
    "metric": lambda c, e, r, m: raised(
        metrics.log_each(c, [of.LogMetric(run_id=r, key="m", value=9, timestamp=9)])
    ),
    "inputs": lambda c, e, r, m: datasets.log_inputs(c, of.LogInputs(r, [READ])),
    "outputs": lambda c, e, r, m: datasets.log_outputs(c, of.LogOutputs(r, [ModelOutput(m, 0)])),
    "log-model": lambda c, e, r, m: model_history.record(c, of.LogModel(r, MODEL_JSON)),
    "new logged model": lambda c, e, r, m: models.create(c, of.CreateLoggedModel(e)),
    "logged model": lambda c, e, r, m: models.get(c, of.GetLoggedModel(m, True)),
    "finalize": lambda c, e, r, m: models.finalize(c, of.FinalizeLoggedModel(m, 2)),
    "delete logged model": lambda c, e, r, m: models.remove(c, of.LoggedModelById(m)),
    "tag logged model": lambda c, e, r, m: models.set_tags(
        c, of.SetLoggedModelTags(m, [of.TagInput("k", "x")])
    ),
    "untag logged model": lambda c, e, r, m: models.delete_tag(c, of.DeleteLoggedModelTag(m, "k")),
    "params of logged model": lambda c, e, r, m: models.log_params(
        c, of.LogLoggedModelParams(m, [of.ParamInput("p", "x")])
    ),
    "model": lambda c, e, r, m: registry.get(c, "model"),
    "describe": lambda c, e, r, m: registry.describe(c, of_registry.UpdateRegisteredModel("model", "x")),
    "rename": lambda c, e, r, m: registry.rename(c, of_registry.RenameRegisteredModel("model", "other")),
    "delete": lambda c, e, r, m: registry.delete(c, "model"),
    "tag model": lambda c, e, r, m: registry.set_tag(c, of_registry.SetRegisteredModelTag("model", "k", "x")),
    "untag model": lambda c, e, r, m: registry.delete_tag(
        c, of_registry.DeleteRegisteredModelTag("model", "k")
    ),
    "new version": lambda c, e, r, m: versions.create(c, of_registry.CreateModelVersion("model", "s3://b/x")),
    "version": lambda c, e, r, m: versions.get(c, "model", "1"),
    "latest": lambda c, e, r, m: versions.latest(c, of_registry.GetLatestVersions("model")),
    "place": lambda c, e, r, m: versions.download_uri(c, of_registry.ModelVersionByNumber("model", "1")),
    "describe version": lambda c, e, r, m: versions.describe(
        c, of_registry.UpdateModelVersion("model", "1", "x")
    ),
    "stage": lambda c, e, r, m: versions.transition(
        c, of_registry.TransitionModelVersionStage("model", "1", "Production")
    ),
    "delete version": lambda c, e, r, m: versions.delete(c, of_registry.ModelVersionByNumber("model", "1")),
    "tag version": lambda c, e, r, m: versions.set_tag(
        c, of_registry.SetModelVersionTag("model", "1", "k", "x")
    ),
    "untag version": lambda c, e, r, m: versions.delete_tag(
        c, of_registry.DeleteModelVersionTag("model", "1", "k")
    ),
    "alias": lambda c, e, r, m: aliases.assign(c, of_registry.SetAlias("model", "best", "1")),
    "no alias": lambda c, e, r, m: aliases.remove(c, of_registry.ModelAliasByName("model", "best")),
    "by alias": lambda c, e, r, m: aliases.get(c, of_registry.ModelAliasByName("model", "best")),
    "last": lambda c, e, r, m: aliases.last(c, "model"),
    "import a run": lambda c, e, r, m: imports.add_runs(c, [imported(e)]),
    "import the run": lambda c, e, r, m: imports.add_runs(c, [imported(0, r)]),
    "import the model": lambda c, e, r, m: import_models.add_model(c, ImportedModel(m, 0, "x", "/x")),
}

MODEL_JSON = '{"artifact_path": "m", "flavors": {}, "utc_time_created": "x", "run_id": "x"}'


def raised(outcomes):
    """What became of one point, as an exception."""
    if outcomes[0] is not None:
        raise outcomes[0]


def imported(number, run_id="f" * 32):
    return ImportedRun(run_id, int(number), artifact_uri="/x", tags=[of.TagInput("new", "1")])


@pytest.mark.parametrize("call", CALLS)
async def test_a_row_of_another_workspace_is_not_there(place, database, theirs, call):
    before = dump(place)
    with pytest.raises(ShosoError) as caught:
        await database.write(CALLS[call], *theirs)
    assert caught.value.kind is Kind.NOT_FOUND
    assert dump(place) == before


ALL = 3

SEARCHES = {
    "experiments": lambda c, e, r, m: [
        one.name for one in search_experiments(c, of.SearchExperiments(9, view_type=ALL)).experiments
    ],
    "runs": lambda c, e, r, m: search_runs(c, of.SearchRuns([e, "0"], run_view_type=ALL)).runs,
    "runs by dataset": lambda c, e, r, m: search_runs(c, of.SearchRuns([e], "dataset.name = 'data'")).runs,
    "logged models": lambda c, e, r, m: search_logged_models(c, of.SearchLoggedModels([e, "0"])).models,
    "datasets": lambda c, e, r, m: datasets.summaries(c, of.SearchDatasets([e])),
    "history": lambda c, e, r, m: metrics.history(c, r, "m").metrics,
    "page of history": lambda c, e, r, m: metrics.history(c, r, "m", max_results=5).metrics,
    "histories": lambda c, e, r, m: histories.bulk(c, of.GetBulkHistory(run_id=[r], metric_key="m")),
    "runs that are imported": lambda c, e, r, m: import_models.known(c, ImportIds([r])).runs,
    "models that are imported": lambda c, e, r, m: import_models.known(c, ImportIds([], [m])).models,
    "samples": lambda c, e, r, m: histories.sampled(c, of.GetSampledHistory(run_ids=[r], metric_key="m")),
    "models": lambda c, e, r, m: (
        search_models(c, of_registry.SearchRegisteredModels("name LIKE '%'")).registered_models
    ),
    "versions": lambda c, e, r, m: (
        search_versions(c, of_registry.SearchModelVersions("tags.k = 'v'")).model_versions
    ),
}


@pytest.mark.parametrize("search", SEARCHES)
async def test_a_row_of_another_workspace_is_not_found(database, theirs, search):
    found = await database.read(SEARCHES[search], *theirs)
    assert list(found) == (["Default"] if search == "experiments" else [])


async def test_a_metric_of_a_model_of_another_workspace_is_refused(place, database, theirs):
    run = await database.write(runs.create, of.CreateRun("0"))
    before = dump(place)
    batch = of.LogBatch(run.info.run_id, [of.MetricInput("m", 1, 1, 1, model_id=theirs[2])])
    with pytest.raises(ShosoError, match=f"'{theirs[2]}' not found"):
        await database.write(runs.log_batch, batch, False)
    assert dump(place) == before


async def test_names_that_another_workspace_has_are_free(place, database, theirs):
    before = dump(place)
    ours = await database.write(fill)
    assert (await database.read(experiments.get_by_name, "named")).experiment_id == ours[0]
    assert (await database.read(versions.get, "model", "1")).version == "1"
    found = await database.read(search_experiments, of.SearchExperiments(9))
    assert sorted(one.name for one in found.experiments) == ["Default", "named"]
    await database.write(registry.rename, of_registry.RenameRegisteredModel("model", "other"))
    await database.write(registry.delete, "other")
    after = dump(place)
    assert {table: [row for row in rows if row not in after[table]] for table, rows in before.items()} == {
        table: [] for table in before
    }


async def test_an_import_finds_no_experiment_of_another_workspace(database, theirs):
    given = ImportedExperiment(experiment_id=int(theirs[0]), name="named")
    placed = await database.write(imports.place, given, "/root")
    assert placed.made
    assert placed.experiment_id != int(theirs[0])


async def test_what_is_hidden_is_counted(place, database, theirs):
    dialect = choose(place.uri, places.FEW)
    found = dialect.inspect(lambda conn: compatibility.find(conn, ""))
    dialect.close()
    assert found.hidden == {"experiments": 1, "registered_models": 1}
