"""`Client`: every call that names its run, experiment or model, against Shoso's server and MLflow's own."""

from __future__ import annotations

import math
import pickle

import pytest

import shoso
from shoso.entities import LoggedModelStatus, Metric, Param, RunTag, ViewType
from shoso.errors import Kind, ShosoError


@pytest.fixture(params=["shoso", "mlflow"])
def server(request):
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def experiment(client, unique):
    """A new experiment's id."""
    return client.create_experiment(unique, tags={"a": 1})


@pytest.fixture
def run(client, experiment):
    """A new run's id."""
    return client.create_run(experiment, tags={"from": "start"}, run_name="first").info.run_id


def refused(kind: Kind, call, *arguments, **named) -> str:
    with pytest.raises(ShosoError) as caught:
        call(*arguments, **named)
    assert caught.value.kind is kind
    return str(caught.value)


def test_it_knows_its_server(client, server):
    assert client.tracking_uri == server.uri
    assert pickle.loads(pickle.dumps(client)).tracking_uri == server.uri


# -- experiments ------------------------------------------------------------------------------------------


def test_an_experiment_is_made_changed_deleted_and_brought_back(client, experiment, unique):
    made = client.get_experiment(experiment)
    assert (made.name, made.tags, made.lifecycle_stage) == (unique, {"a": "1"}, "active")
    client.rename_experiment(experiment, f"{unique}-2")
    client.set_experiment_tag(experiment, "b", 2)
    client.delete_experiment_tag(experiment, "a")
    client.delete_experiment(experiment)
    found = client.get_experiment_by_name(f"{unique}-2")
    assert (found.experiment_id, found.lifecycle_stage, found.tags) == (experiment, "deleted", {"b": "2"})
    client.restore_experiment(experiment)
    assert client.get_experiment(experiment).lifecycle_stage == "active"


def test_an_experiment_is_made_once(client, experiment, unique):
    refused(Kind.DUPLICATE, client.create_experiment, unique)


def test_experiments_come_in_pages(client, unique):
    made = [client.create_experiment(f"{unique}-{n}") for n in range(3)]
    search = {"filter_string": f"name LIKE '{unique}-%'", "order_by": ["name"], "max_results": 2}
    first = client.search_experiments(**search)
    rest = client.search_experiments(**search, page_token=first.token)
    assert [each.experiment_id for each in (*first, *rest)] == made
    assert first.token
    assert rest.token is None


# -- runs -------------------------------------------------------------------------------------------------


def test_a_run_is_made(client, experiment, run):
    made = client.get_run(run)
    assert (made.info.experiment_id, made.info.status, made.info.end_time) == (experiment, "RUNNING", None)
    assert (made.info.run_name, made.info.user_id, made.data.tags["from"]) == ("first", "unknown", "start")
    assert client.create_run(experiment, start_time=5, tags={"mlflow.user": "ada"}).info.user_id == "ada"
    assert client.create_run(experiment, start_time=5).info.start_time == 5


def test_a_run_without_a_name_is_given_one(client, experiment):
    assert client.create_run(experiment).info.run_name


def test_a_run_is_changed_ended_deleted_and_brought_back(client, run):
    client.update_run(run, name="second")
    client.update_run(run, status="SCHEDULED")
    assert (client.get_run(run).info.status, client.get_run(run).info.run_name) == ("SCHEDULED", "second")
    client.set_terminated(run, "FAILED", 77)
    assert (client.get_run(run).info.status, client.get_run(run).info.end_time) == ("FAILED", 77)
    client.delete_run(run)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    client.restore_run(run)
    assert client.get_run(run).info.lifecycle_stage == "active"


def test_a_run_that_isnt_there_is_an_error(client):
    assert "nosuchrun" in refused(Kind.NOT_FOUND, client.get_run, "nosuchrun")
    refused(Kind.NOT_FOUND, client.log_param, "nosuchrun", "a", 1)
    refused(Kind.INVALID, client.get_run, None)


def test_runs_are_found_in_pages(client, experiment):
    made = [client.create_run(experiment, start_time=n + 1).info.run_id for n in range(3)]
    first = client.search_runs([experiment], order_by=["attributes.start_time"], max_results=2)
    rest = client.search_runs(
        experiment, order_by=["attributes.start_time"], max_results=2, page_token=first.token
    )
    assert [run.info.run_id for run in (*first, *rest)] == made
    client.delete_run(made[0])
    assert len(client.search_runs([experiment])) == 2
    assert len(client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)) == 1


def test_a_wrong_filter_is_an_error_in_the_servers_words(client, experiment):
    assert "nonsense" in refused(Kind.INVALID, client.search_runs, [experiment], "nonsense = 1")


# -- what is logged ---------------------------------------------------------------------------------------


def test_params_metrics_and_tags_are_logged(client, run):
    assert client.log_param(run, "p", [1]) == [1]
    client.log_params(run, {"q": 2, "r": ""})
    client.log_metric(run, "m", "0.5", timestamp=7, step=3)
    client.log_metrics(run, {"n": 1, "o": math.nan}, timestamp=8)
    client.set_tag(run, "t", True)
    client.set_tags(run, {"u": 1, "v": ""})
    client.delete_tag(run, "u")
    data = client.get_run(run).data
    assert data.params == {"p": "[1]", "q": "2", "r": ""}
    assert (data.metrics["m"], data.metrics["n"], math.isnan(data.metrics["o"])) == (0.5, 1, True)
    assert (data.tags["t"], data.tags["v"], "u" in data.tags) == ("True", "", False)
    assert client.get_metric_history(run, "m") == [Metric("m", 0.5, 7, 3)]


def test_a_param_keeps_its_value(client, run):
    client.log_param(run, "p", 1)
    client.log_param(run, "p", 1)
    refused(Kind.INVALID, client.log_param, run, "p", 2)
    assert client.get_run(run).data.params == {"p": "1"}


def test_a_batch_of_any_size_is_logged(client, run):
    client.log_batch(
        run,
        metrics=[Metric("m", n, n, n) for n in range(2500)],
        params=[Param(f"p{n}", n) for n in range(150)],
        tags=[RunTag(f"t{n}", n) for n in range(110)],
    )
    data = client.get_run(run).data
    assert (len(data.params), data.metrics["m"]) == (150, 2499)
    assert len([key for key in data.tags if key.startswith("t")]) == 110
    assert [point.step for point in client.get_metric_history(run, "m")] == [*range(2500)]
    client.log_batch(run)


def test_a_history_comes_in_as_many_pages_as_it_has(client, run, monkeypatch):
    monkeypatch.setattr("shoso.client.runs.HISTORY_PAGE", 2)
    client.log_batch(run, metrics=[Metric("m", n, n, n) for n in range(5)])
    assert [point.value for point in client.get_metric_history(run, "m")] == [0, 1, 2, 3, 4]
    assert client.get_metric_history(run, "none") == []


# -- logged models ----------------------------------------------------------------------------------------


def test_a_model_is_logged_and_found(client, experiment, run):
    model = client.create_logged_model(
        experiment, "classifier", run, tags={"a": 1}, params={"depth": 4}, model_type="tree"
    )
    assert (model.status, model.params, model.model_type) == (
        LoggedModelStatus.PENDING,
        {"depth": "4"},
        "tree",
    )
    client.log_model_params(model.model_id, {"width": 2})
    client.set_logged_model_tags(model.model_id, {"b c ü": 2, "d": 3})
    client.delete_logged_model_tag(model.model_id, "b c ü")
    client.log_metric(run, "acc", 0.5, timestamp=1, model_id=model.model_id)
    assert client.finalize_logged_model(model.model_id, "READY").status is LoggedModelStatus.READY
    found = client.get_logged_model(model.model_id)
    assert (found.source_run_id, found.model_uri) == (run, f"models:/{model.model_id}")
    assert found.params == {"depth": "4", "width": "2"}
    assert (found.tags["a"], found.tags["d"], "b c ü" in found.tags) == ("1", "3", False)
    assert [(point.key, point.value) for point in found.metrics] == [("acc", 0.5)]
    assert [each.model_id for each in client.search_logged_models([experiment])] == [model.model_id]
    client.delete_logged_model(model.model_id)
    refused(Kind.NOT_FOUND, client.get_logged_model, model.model_id)


def test_models_are_found_in_pages_and_in_order(client, experiment):
    made = [client.create_logged_model(experiment, f"m{n}").model_id for n in range(3)]
    search = {
        "filter_string": "name != 'x'",
        "max_results": 2,
        "order_by": [{"field_name": "name", "ascending": True}],
    }
    first = client.search_logged_models([experiment], **search)
    rest = client.search_logged_models([experiment], **search, page_token=first.token)
    assert [model.model_id for model in (*first, *rest)] == made


def test_a_status_that_nobody_knows_is_refused(client, experiment):
    model = client.create_logged_model(experiment, "m")
    with pytest.raises(ValueError, match="DONE"):
        client.finalize_logged_model(model.model_id, "DONE")


# -- artifacts --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "weights"
    (made / "deep").mkdir(parents=True)
    (made / "a.bin").write_bytes(b"a" * 1000)
    (made / "deep" / "b.txt").write_text("b")
    return made


def paths(infos) -> list[tuple[str, bool, int | None]]:
    return [(info.path, info.is_dir, info.file_size) for info in infos]


def test_artifacts_are_logged_listed_and_fetched(client, run, folder, tmp_path):
    client.log_artifact(run, folder / "a.bin", "single")
    client.log_artifact(run, folder)
    client.log_artifacts(run, str(folder), "all")
    client.log_text(run, "text", "notes/a.txt")
    assert paths(client.list_artifacts(run)) == [
        (name, True, None) for name in ("all", "notes", "single", "weights")
    ]
    assert paths(client.list_artifacts(run, "all")) == [("all/a.bin", False, 1000), ("all/deep", True, None)]
    assert client.list_artifacts(run, "all/a.bin") == []
    fetched = client.download_artifacts(run, "all", str(tmp_path / "got"))
    assert fetched == str(tmp_path / "got" / "all")
    assert (tmp_path / "got" / "all" / "deep" / "b.txt").read_text() == "b"
    assert client.download_artifacts(run, "single/a.bin", str(tmp_path)) == str(tmp_path / "a.bin")


def test_artifacts_of_a_model_are_logged_listed_and_fetched(client, experiment, folder, tmp_path):
    model = client.create_logged_model(experiment, "m").model_id
    client.log_model_artifacts(model, folder)
    client.log_model_artifact(model, folder / "a.bin", "more")
    assert paths(client.list_logged_model_artifacts(model)) == [
        ("a.bin", False, 1000),
        ("deep", True, None),
        ("more", True, None),
    ]
    assert paths(client.list_logged_model_artifacts(model, "more")) == [("more/a.bin", False, 1000)]
    fetched = shoso.artifacts.download_artifacts(
        f"models:/{model}", dst_path=tmp_path / "got", tracking_uri=client.tracking_uri
    )
    assert fetched == str(tmp_path / "got")
    assert (tmp_path / "got" / "deep" / "b.txt").read_text() == "b"
