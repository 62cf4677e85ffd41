"""Runs and experiments by the functions that have an active one, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import shoso
from shoso.client import active
from shoso.entities import ViewType
from shoso.errors import ConfigError, Kind, ShosoError, TrackingError

ADDRESS = "MLFLOW_TRACKING_URI: there is no tracking server to log to. Start one with `shoso server`"


def refused(call, *arguments, **named) -> str:
    with pytest.raises(TrackingError) as caught:
        call(*arguments, **named)
    assert caught.value.kind is Kind.INVALID
    return str(caught.value)


def status(run) -> str:
    return shoso.get_run(run.info.run_id).info.status


# -- the server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [shoso.get_tracking_uri, shoso.start_run, shoso.Client])
def test_without_a_server_it_says_how_to_get_one(call):
    with pytest.raises(ConfigError, match=ADDRESS):
        call()
    assert not shoso.is_tracking_uri_set()


@pytest.mark.parametrize("uri", ["./mlruns", "/srv/mlruns", "file:///srv/mlruns", "databricks"])
def test_what_is_no_server_is_refused(uri):
    with pytest.raises(ConfigError, match=r"set_tracking_uri: '.*' is no server's address"):
        shoso.set_tracking_uri(uri)
    os.environ["MLFLOW_TRACKING_URI"] = uri
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI: '.*' is no server's address"):
        shoso.get_tracking_uri()


def test_a_database_of_mlflows_is_shown_the_way():
    with pytest.raises(ConfigError, match=r"`shoso server --backend-store-uri sqlite:///mlflow.db` serves"):
        shoso.set_tracking_uri("sqlite:///mlflow.db")


def test_no_password_is_shown():
    with pytest.raises(ConfigError) as caught:
        shoso.set_tracking_uri("postgresql://ada:secret@host/db")
    assert "secret" not in str(caught.value)


def test_children_inherit_the_server_and_the_experiment(server, experiment):
    code = "import shoso; run = shoso.start_run(); print(shoso.get_tracking_uri(), run.info.experiment_id)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == [server.uri, experiment.experiment_id]


def test_a_server_that_is_chosen_counts_from_the_next_run_on(server, run):
    shoso.set_tracking_uri("http://127.0.0.1:9")
    shoso.log_param("at", "the first")
    shoso.end_run()
    assert shoso.Client(server.uri).get_run(run.info.run_id).data.params == {"at": "the first"}


# -- the experiment ---------------------------------------------------------------------------------------


def test_an_experiment_is_created_by_name_and_found_again(experiment):
    assert shoso.set_experiment(experiment.name) == experiment
    assert shoso.set_experiment(experiment_id=experiment.experiment_id) == experiment
    assert shoso.get_experiment_by_name(experiment.name) == experiment


def test_an_experiment_is_created_once_by_many(server, unique):
    shoso.set_tracking_uri(server.uri)
    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(lambda _: shoso.set_experiment(unique).experiment_id, range(8))]
    assert len(set(found)) == 1


def test_a_deleted_experiment_is_refused(experiment):
    shoso.delete_experiment(experiment.experiment_id)
    assert "is deleted" in refused(shoso.set_experiment, experiment.name)
    shoso.restore_experiment(experiment.experiment_id)
    shoso.set_experiment(experiment.name)


def test_an_experiment_is_named_one_way():
    assert "either" in refused(shoso.set_experiment)
    assert "either" in refused(shoso.set_experiment, "name", "1")


def test_an_experiment_that_isnt_there_is_an_error(server):
    shoso.set_tracking_uri(server.uri)
    with pytest.raises(ShosoError, match="No Experiment with id=987654321 exists"):
        shoso.set_experiment(experiment_id="987654321")
    assert shoso.get_experiment_by_name("no such thing") is None


def test_the_environment_names_the_experiment(server, experiment, unique, monkeypatch):
    active._experiment_id = None
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment.experiment_id)
    assert active.current_experiment() == experiment.experiment_id
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", experiment.name)
    assert active.current_experiment() == experiment.experiment_id
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"{unique}-2")
    assert "Unset one of them" in refused(active.current_experiment)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    assert shoso.get_experiment(active.current_experiment()).name == f"{unique}-2"


def test_an_experiment_of_the_environment_must_be_there(server, monkeypatch):
    shoso.set_tracking_uri(server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "987654321")
    assert "MLFLOW_EXPERIMENT_ID is 987654321" in refused(shoso.start_run)


def test_without_an_experiment_it_is_the_default_one(server):
    shoso.set_tracking_uri(server.uri)
    with shoso.start_run() as run:
        assert run.info.experiment_id == "0"


def test_experiments_are_found(experiment, unique):
    others = [shoso.create_experiment(f"{unique}-{n}", tags={"n": n}) for n in range(3)]
    found = shoso.search_experiments(filter_string=f"name LIKE '{unique}-%'", order_by=["name"])
    assert [each.experiment_id for each in found] == others
    assert found[1].tags["n"] == "1"
    shoso.delete_experiment(others[0])
    assert len(shoso.search_experiments(filter_string=f"name LIKE '{unique}-%'")) == 2
    assert len(shoso.search_experiments(ViewType.ALL, filter_string=f"name LIKE '{unique}-%'")) == 3
    assert len(shoso.search_experiments(max_results=1, filter_string=f"name LIKE '{unique}%'")) == 1


def test_tags_of_the_experiment_are_set_and_removed(experiment):
    shoso.set_experiment_tags({"a": 1, "b": 2})
    shoso.delete_experiment_tag("a")
    tags = shoso.get_experiment(experiment.experiment_id).tags
    assert (tags.get("a"), tags["b"]) == (None, "2")


# -- the run ----------------------------------------------------------------------------------------------


def test_a_run_is_active_until_its_block_ends(experiment):
    with shoso.start_run(run_name="one", tags={"t": 1}, description="what it is") as run:
        assert shoso.active_run() is run
        assert status(run) == "RUNNING"
    assert shoso.active_run() is None
    assert status(run) == "FINISHED"
    ended = shoso.last_active_run()
    assert ended.info.run_id == run.info.run_id
    assert ended.info.end_time >= ended.info.start_time
    assert (ended.info.run_name, ended.data.tags["mlflow.note.content"]) == ("one", "what it is")


@pytest.mark.parametrize(
    ("error", "ends"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "FAILED")]
)
def test_an_exception_ends_the_run_and_goes_on(experiment, error, ends):
    with pytest.raises(error), shoso.start_run() as run:
        raise error
    assert status(run) == ends
    assert shoso.active_run() is None


def test_the_callers_exception_isnt_hidden_by_a_server_that_is_gone(server, experiment, monkeypatch, caplog):
    def gone(*_: object) -> None:
        raise TrackingError(Kind.UNAVAILABLE, "The server is gone.")

    run = shoso.start_run()
    monkeypatch.setattr(shoso.Client, "set_terminated", gone)
    with pytest.raises(ZeroDivisionError), run:
        _ = 1 / 0
    assert "could not be ended: The server is gone." in caplog.text


def test_a_run_ends_as_it_is_told(run):
    shoso.end_run("KILLED")
    assert status(run) == "KILLED"
    shoso.end_run()  # there is none: fine


def test_a_run_that_was_ended_inside_its_block_stays_as_it_is(experiment):
    with shoso.start_run() as run:
        shoso.end_run("KILLED")
    assert status(run) == "KILLED"


def test_runs_are_nested(experiment):
    with shoso.start_run() as outer, shoso.start_run(nested=True) as inner:
        assert shoso.active_run() is inner
        assert shoso.get_parent_run(inner.info.run_id).info.run_id == outer.info.run_id
    assert shoso.get_parent_run(outer.info.run_id) is None
    assert status(inner) == status(outer) == "FINISHED"


def test_leaving_a_run_ends_those_that_were_left_in_it(experiment):
    with shoso.start_run() as outer:
        inner = shoso.start_run(nested=True)
    assert shoso.active_run() is None
    assert status(inner) == status(outer) == "FINISHED"


def test_a_second_run_must_say_that_it_is_nested(run):
    assert "nested=True" in refused(shoso.start_run)
    assert shoso.active_run() is run


def test_a_run_may_be_nested_in_one_that_isnt_active(run):
    shoso.end_run()
    with shoso.start_run(parent_run_id=run.info.run_id) as child:
        assert child.data.tags["mlflow.parentRunId"] == run.info.run_id
        other = shoso.Client().create_run(run.info.experiment_id).info.run_id
        assert "not the parent" in refused(shoso.start_run, nested=True, parent_run_id=other)


def test_a_run_goes_on(run):
    shoso.log_param("a", 1)
    shoso.end_run()
    with shoso.start_run(run.info.run_id, run_name="again", tags={"t": 1}) as again:
        shoso.log_param("b", 2)
        assert again.data.params == {"a": "1"}
        assert (again.info.status, again.info.run_name, again.data.tags["t"]) == ("RUNNING", "again", "1")
    assert shoso.get_run(run.info.run_id).data.params == {"a": "1", "b": "2"}


def test_the_environment_names_the_run_once(run, monkeypatch):
    shoso.end_run()
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    with shoso.start_run() as again, shoso.start_run(nested=True) as inner:
        assert again.info.run_id == run.info.run_id
        assert inner.info.run_id != run.info.run_id
    with shoso.start_run() as another:
        assert another.info.run_id != run.info.run_id


def test_a_deleted_run_neither_goes_on_nor_has_children(run):
    shoso.end_run()
    shoso.delete_run(run.info.run_id)
    assert "is deleted" in refused(shoso.start_run, run.info.run_id)
    assert "is deleted" in refused(shoso.start_run, parent_run_id=run.info.run_id)
    shoso.restore_run(run.info.run_id)
    with shoso.start_run(run.info.run_id):
        pass


def test_a_run_of_another_experiment_doesnt_go_on(run, unique):
    shoso.end_run()
    shoso.set_experiment(f"{unique}-2")
    assert f"is of experiment {run.info.experiment_id}" in refused(shoso.start_run, run.info.run_id)


def test_a_description_is_given_one_way(experiment):
    tags = {"mlflow.note.content": "x"}
    assert "not both" in refused(shoso.start_run, tags=tags, description="y")


def test_system_metrics_are_said_to_be_none_of_ours(experiment, caplog):
    with shoso.start_run(log_system_metrics=True):
        assert "no system metrics" in caplog.text


def test_what_was_asked_to_be_logged_later_is_logged(run):
    for logged in (
        shoso.log_param("a", 1, synchronous=False),
        shoso.log_params({"b": 1}, synchronous=False),
        shoso.log_metric("m", 1, synchronous=False),
        shoso.log_metrics({"n": 1}, synchronous=False),
        shoso.set_tag("t", 1, synchronous=False),
        shoso.set_tags({"u": 1}, synchronous=False),
    ):
        logged.wait()
    shoso.flush_async_logging()
    shoso.flush_artifact_async_logging()
    data = shoso.get_run(run.info.run_id).data
    assert (data.params, data.metrics) == ({"a": "1", "b": "1"}, {"m": 1, "n": 1})
    assert (data.tags["t"], data.tags["u"]) == ("1", "1")


def test_logging_without_a_run_starts_one(experiment):
    shoso.log_param("a", 1)
    assert shoso.active_run().info.experiment_id == experiment.experiment_id


# -- threads, children, the end ---------------------------------------------------------------------------


def test_each_thread_has_runs_of_its_own(run):
    found = []

    def train() -> None:
        found.append(shoso.active_run())
        with shoso.start_run() as mine:
            shoso.log_metric("m", 1)
        found.append(mine.info.run_id)

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(None) == 4
    assert len(set(found)) == 5
    assert shoso.active_run() is run


def test_threads_may_log_to_one_run(run):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: shoso.log_metrics({"m": n}, n, run_id=run.info.run_id), range(50)))
    assert len(shoso.Client().get_metric_history(run.info.run_id, "m")) == 50


async def test_it_works_inside_an_event_loop(experiment):
    with shoso.start_run() as run:
        shoso.log_text("hello", "a.txt")
    assert shoso.artifacts.load_text(f"runs:/{run.info.run_id}/a.txt") == "hello"


def test_a_forked_child_logs_with_connections_and_runs_of_its_own(run):
    shoso.log_param("parent", 1)
    child = os.fork()
    if child == 0:
        try:
            assert shoso.active_run() is None
            shoso.log_metrics({"child": 1}, run_id=run.info.run_id)
            with shoso.start_run(run_name="of the child"):
                shoso.log_text("from the child", "a.txt")
            os._exit(0)
        finally:
            os._exit(1)
    for step in range(20):
        shoso.log_metric("parent", step, step)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shoso.get_run(run.info.run_id).data.metrics == {"child": 1, "parent": 19}
    assert (
        len(shoso.search_runs(filter_string="attributes.run_name = 'of the child'", output_format="list"))
        == 1
    )


END = """
import shoso, sys
outer = shoso.start_run()
inner = shoso.start_run(nested=True)
shoso.log_text("last words", "a.txt")
print(outer.info.run_id, inner.info.run_id, flush=True)
if sys.argv[1:]:
    raise SystemExit(sys.argv[1])
"""


@pytest.mark.parametrize("arguments", [[], ["failed"]])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_process_that_ends_ends_its_runs_and_says_nothing(server, experiment, arguments, host):
    os.environ["MLFLOW_TRACKING_URI"] = server.uri.replace("127.0.0.1", host)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", END, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip() == "".join(arguments)
    assert [shoso.get_run(run).info.status for run in done.stdout.split()] == ["FINISHED", "FINISHED"]


# -- searching --------------------------------------------------------------------------------------------


def test_runs_are_found_as_a_table_or_a_list(experiment):
    for n in range(3):
        with shoso.start_run(run_name=f"r{n}"):
            shoso.log_param("n", n)
            if n:
                shoso.log_metric("m", n)
    table = shoso.search_runs(order_by=["params.n"])
    assert list(table["params.n"]) == ["0", "1", "2"]
    assert table["metrics.m"].isna().tolist() == [True, False, False]
    assert str(table["start_time"].dt.tz) == "UTC"
    found = shoso.search_runs(filter_string="metrics.m > 1", output_format="list")
    assert [run.data.params["n"] for run in found] == ["2"]
    assert len(shoso.search_runs(max_results=2, output_format="list")) == 2


def test_a_search_goes_through_all_pages(experiment, monkeypatch):
    monkeypatch.setattr("shoso.client.catalog.PAGE", 2)
    runs = {shoso.Client().create_run(experiment.experiment_id).info.run_id for _ in range(5)}
    assert {run.info.run_id for run in shoso.search_runs(output_format="list")} == runs
    assert len(shoso.search_runs(max_results=3, output_format="list")) == 3


def test_a_search_says_where(experiment, unique, caplog):
    shoso.Client().create_run(experiment.experiment_id)
    names = {"experiment_names": [experiment.name, "no such thing"], "output_format": "list"}
    assert len(shoso.search_runs(**names)) == 1
    assert "There is no experiment 'no such thing'" in caplog.text
    assert shoso.search_runs(experiment_names=["no such thing"]).empty
    assert len(shoso.search_runs([experiment.experiment_id], output_format="list")) == 1
    assert "either" in refused(shoso.search_runs, ["1"], experiment_names=["x"])
    everywhere = shoso.search_runs(search_all_experiments=True, output_format="list")
    assert experiment.experiment_id in {run.info.experiment_id for run in everywhere}


def test_without_pandas_a_search_says_what_else_there_is(experiment, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"pip install pandas") as caught:
        shoso.search_runs()
    assert 'output_format="list"' in str(caught.value)
    assert shoso.search_runs(output_format="list") == []


def test_a_search_has_two_shapes():
    with pytest.raises(ValueError, match="output_format is 'pandas' or 'list'"):
        shoso.search_runs(output_format="csv")
