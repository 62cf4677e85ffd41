"""The history of models in a run's tag: what MLflow's store would write, and never text that is no JSON."""

from __future__ import annotations

import json
import warnings

import pytest
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata import model_history, rules, runs
from shoso.wire.requests import CreateRun, LogModel, TagInput

KINDS = places.PLACES

with warnings.catch_warnings(action="ignore"):
    from mlflow.models import Model

MODEL = {
    "artifact_path": "model",
    "flavors": {"sklearn": {"version": "1", "config": {"a": 1}}, "none": None},
    "utc_time_created": "2026-01-01 00:00:00",
    "run_id": "0123",
    "model_uuid": "u",
    "mlflow_version": "not kept",
}


@pytest.fixture
async def run_id(database):
    return (await database.write(runs.create, CreateRun("0"))).info.run_id


async def history(database, run_id):
    found = await database.read(runs.get, run_id)
    return next(tag.value for tag in found.data.tags if tag.key == model_history.TAG)


async def test_a_model_is_recorded_as_mlflow_records_it(database, run_id):
    nameless = {key: value for key, value in MODEL.items() if key != "model_uuid"}
    models = [MODEL, MODEL | {"artifact_path": "other"}, nameless]
    for model in models:
        await database.write(model_history.record, LogModel(run_id, json.dumps(model)))
    theirs = [Model.from_dict(model).get_tags_dict() for model in models]
    assert json.loads(await history(database, run_id)) == theirs


async def test_a_history_that_outgrows_its_tag_loses_its_oldest_models(database, run_id):
    for number in range(60):
        model = MODEL | {"artifact_path": f"model-{number}"}
        await database.write(model_history.record, LogModel(run_id, json.dumps(model)))
    text = await history(database, run_id)
    assert len(text) <= rules.TAG_VALUE_MAX
    kept = [model["artifact_path"] for model in json.loads(text)]
    assert kept == [f"model-{number}" for number in range(60 - len(kept), 60)]
    assert len(kept) > 10


async def test_a_history_that_is_no_json_is_begun_anew(database, run_id):
    await database.write(runs.set_tags, run_id, [TagInput(model_history.TAG, "{")], True)
    await database.write(model_history.record, LogModel(run_id, json.dumps(MODEL)))
    assert len(json.loads(await history(database, run_id))) == 1


BROKEN = ["{", "[]", "5", '"a"', "{}", json.dumps(MODEL | {"flavors": 5}), "[" * 100_000]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
async def test_what_is_no_model_is_refused(database, run_id, text):
    with pytest.raises(TrackingError) as caught:
        await database.write(model_history.record, LogModel(run_id, text))
    assert caught.value.kind is Kind.INVALID


async def test_a_deleted_run_takes_no_model(database, run_id):
    await database.write(runs.delete, run_id)
    with pytest.raises(TrackingError, match="active"):
        await database.write(model_history.record, LogModel(run_id, json.dumps(MODEL)))
