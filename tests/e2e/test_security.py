"""Who may call: Host headers, origins of browsers, symlinks in the store."""

from __future__ import annotations

import pytest

JSON = {"Content-Type": "application/json"}
EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id=0"
SEARCH = "/api/2.0/mlflow/experiments/search"
BODY = b'{"max_results": 1}'


def preflight(wire, origin):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    return wire.send("OPTIONS", SEARCH, headers={"Origin": origin, **asked})


LOCAL_HOSTS = ["localhost", "localhost:5000", "127.0.0.1", "127.0.0.1:1", "[::1]:5000", "0.0.0.0:5000"]
PRIVATE_HOSTS = ["10.1.2.3", "192.168.0.7:5000", "172.16.0.1", "172.31.9.9:80"]
STRANGE_HOSTS = ["evil.example", "evil.example:5000", "localhost.evil.example", "172.32.0.1", "8.8.8.8"]
LOCAL_ORIGINS = ["http://localhost", "http://localhost:3000", "http://127.0.0.1:8080"]
STRANGE_ORIGINS = ["http://evil.example", "https://localhost.evil.example", "null"]


@pytest.mark.parametrize("host", [*LOCAL_HOSTS, *PRIVATE_HOSTS])
def test_a_local_or_private_host_is_let_in(wire, host):
    assert wire.send("GET", EXPERIMENT, headers={"Host": host}).status == 200


@pytest.mark.parametrize("host", STRANGE_HOSTS)
def test_any_other_host_is_refused(wire, host, unique):
    reply = wire.send("GET", EXPERIMENT, headers={"Host": host})
    assert reply.status == 403
    assert b"Invalid Host header - possible DNS rebinding attack detected" in reply.body
    assert wire.put(f"{unique}/a", b"x", Host=host).status == 403
    assert wire.get(f"{unique}/a").status == 404


@pytest.mark.parametrize("path", ["/health", "/version"])
def test_health_and_version_answer_any_host(wire, path):
    assert wire.send("GET", path, headers={"Host": "evil.example"}).status == 200


@pytest.mark.parametrize("origin", LOCAL_ORIGINS)
def test_a_page_of_this_machine_may_call(wire, origin):
    reply = wire.send("POST", SEARCH, BODY, {**JSON, "Origin": origin})
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == origin
    asked = preflight(wire, origin)
    assert asked.status in {200, 204}
    assert asked.headers["access-control-allow-origin"] == origin
    assert "POST" in asked.headers["access-control-allow-methods"]


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
def test_a_page_of_any_other_origin_may_not_write(wire, origin, unique):
    reply = wire.send("POST", SEARCH, BODY, {**JSON, "Origin": origin})
    assert reply.status == 403
    assert b"Cross-origin request blocked" in reply.body
    assert wire.put(f"{unique}/a", b"x", Origin=origin).status == 403
    assert wire.send("DELETE", f"{wire.root}/artifacts/{unique}", headers={"Origin": origin}).status == 403
    assert "access-control-allow-origin" not in preflight(wire, origin).headers


@pytest.mark.parametrize("origin", STRANGE_ORIGINS)
def test_a_page_of_any_other_origin_may_get_but_not_read(wire, origin):
    reply = wire.send("GET", EXPERIMENT, headers={"Origin": origin})
    assert reply.status == 200
    assert "access-control-allow-origin" not in reply.headers


class TestWithFlags:
    """`--allowed-hosts` and `--cors-allowed-origins`."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, launch):
        origins = "https://app.example,https://ui.example:8443"
        return launch(
            "--allowed-hosts", "mlflow.example,*.corp.example,127.0.0.1:*", "--cors-allowed-origins", origins
        )

    @pytest.mark.parametrize("host", ["mlflow.example", "a.corp.example", "127.0.0.1:5000"])
    def test_a_host_named_by_the_flag_is_let_in(self, wire, host):
        assert wire.send("GET", EXPERIMENT, headers={"Host": host}).status == 200

    @pytest.mark.parametrize("host", ["localhost:5000", "10.1.2.3", "corp.example", "evil.example"])
    def test_a_host_not_named_is_refused(self, wire, host):
        assert wire.send("GET", EXPERIMENT, headers={"Host": host}).status == 403

    @pytest.mark.parametrize(
        "origin", ["https://app.example", "https://ui.example:8443", "http://localhost:3"]
    )
    def test_an_origin_named_by_the_flag_may_call(self, wire, origin):
        reply = wire.send("POST", SEARCH, BODY, {**JSON, "Origin": origin})
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == origin

    @pytest.mark.parametrize("origin", ["http://app.example", "https://other.example"])
    def test_an_origin_not_named_may_not(self, wire, origin):
        assert wire.send("POST", SEARCH, BODY, {**JSON, "Origin": origin}).status == 403


class TestAnyOrigin:
    """`--cors-allowed-origins '*'`."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, launch):
        return launch("--cors-allowed-origins", "*")

    def test_every_page_may_call_without_credentials(self, wire):
        reply = wire.send("POST", SEARCH, BODY, {**JSON, "Origin": "https://any.example"})
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers.get("access-control-allow-credentials") != "true"
