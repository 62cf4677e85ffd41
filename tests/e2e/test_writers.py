"""Writers at once: nothing is lost, and of two that disagree one is told so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.raw import Api, ask, connect


def test_eight_writers_at_once_lose_nothing(server, experiment):
    def work(number: int) -> list[int]:
        api = Api(server.uri)
        run_id = api.run_id(experiment)
        statuses = [_log(api, run_id, number, step).status_code for step in range(25)]
        history = api.ok("GET", "metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
        api.session.close()
        assert [metric["step"] for metric in history] == list(range(25))
        return statuses

    with ThreadPoolExecutor(8) as pool:
        assert {status for statuses in pool.map(work, range(8)) for status in statuses} == {200}


def _log(api, run_id, number, step):
    point = {"run_id": run_id, "key": "m", "value": number, "timestamp": step, "step": step}
    return api.post("runs/log-metric", point)


def test_eight_writers_of_one_param_agree(server, run_id):
    def work(number: int) -> int:
        api = Api(server.uri)
        body = {"run_id": run_id, "key": "p", "value": str(number)}
        status = api.post("runs/log-parameter", body).status_code
        api.session.close()
        return status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(work, range(8)))
    assert sorted(statuses) == [200] + [400] * 7
    [param] = Api(server.uri).ok("GET", "runs/get", run_id=run_id)["run"]["data"]["params"]
    assert param["value"] == str(statuses.index(200))


def test_eight_creators_of_one_name_make_one(server, unique):
    def work(_: int) -> int:
        api = Api(server.uri)
        status = api.post("experiments/create", {"name": unique}).status_code
        api.session.close()
        return status

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == [200] + [400] * 7


def test_a_connection_survives_errors(server):
    connection = connect(server.uri)
    for _ in range(3):
        assert ask(connection, "GET", "/api/2.0/mlflow/runs/get?run_id=x").status == 404
        assert ask(connection, "GET", "/health").status == 200
    connection.close()
