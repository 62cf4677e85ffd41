"""Who may call, under which name, and which half of the server: one rule for every route there is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.sockets import API, ARTIFACTS, Wire, ask, get, post, put, require_refusal
from tests.server.trees import snapshot

from shoso.errors import Kind, TrackingError
from shoso.server import openapi
from shoso.server.access import Access
from shoso.server.app import calls
from shoso.server.exchange import Exchange
from shoso.server.routes import Area
from shoso.settings import server_settings

CALLS = calls()
TABLE = [*CALLS, *openapi.routes(CALLS)]
CHANGING = [route for route in TABLE if route.method != "GET"]
PROBES = {"/health", "/version"}


def url(route) -> str:
    return re.sub(r"\{\w+(:path)?\}", "x", route.path)


def body_of(route) -> bytes | None:
    return None if route.method == "GET" else b"{}"


def name_of(route) -> str:
    return f"{route.method} {route.path}"


# -- hosts ------------------------------------------------------------------------------------------------

OURS = ["localhost", "LocalHost:5000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:5000", "0.0.0.0:5000"]
OURS += ["10.1.2.3", "10.255.255.255:80", "192.168.0.7:5000", "172.16.0.1", "172.31.9.9:80"]
OURS += ["[fc00::1]", "[fd12:3456::1]:5000", "[FD00::1]"]
STRANGE = [
    "evil.example",
    "evil.example:5000",
    "localhost.evil.example",
    "notlocalhost",
    "172.32.0.1",
    "172.15.0.1",
]
STRANGE += ["8.8.8.8", "[2001:db8::1]", "11.0.0.1", "192.169.0.1", "169.254.169.254", ""]
REBINDING = ["10.evil.example", "10.0.0.1.evil.example", "192.168.evil.example:80", "172.16.evil.example"]
REBINDING += [
    "fc.evil.example:80",
    "fdic.example:5000",
    "[fc.evil.example]",
    "[fd",
    "f:1",
    "10.1.2",
    "10.1.2.3.4",
]
REBINDING += [
    "localhost:80.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "127.0.0.1.nip.io",
]
REBINDING += [
    "010.1.2.3",
    "0x7f.1",
    "2130706433",
    "10.1.2.3,evil.example",
    " localhost",
    "localhost:80:80",
    "::1",
]


def access(**flags) -> Access:
    return Access(server_settings(flags, {}))


def admits(
    rules: Access, host: str | None = "localhost", origin: str | None = None, method: str = "GET"
) -> bool:
    """Whether a request under that host, by a page of that origin, is let in."""
    headers = [(b"host", host.encode())] if host is not None else []
    headers += [(b"origin", origin.encode())] if origin is not None else []
    exchange = Exchange({"method": method, "headers": headers}, None, None, "/x", 1.0)
    try:
        rules.admit_caller(exchange)
    except TrackingError as error:
        return error.kind is not Kind.FORBIDDEN
    return True


@pytest.mark.parametrize("host", OURS)
def test_this_machine_and_its_private_network_are_ours(host):
    assert admits(access(), host)


@pytest.mark.parametrize("host", [*STRANGE, *REBINDING])
def test_any_other_name_is_strange_whatever_it_starts_with(host):
    assert not admits(access(), host)


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30))
def test_a_name_that_is_let_in_is_no_name_that_somebody_can_own(host):
    if admits(access(), host):
        assert host.partition(":")[0].lower() == "localhost" or re.fullmatch(r"[\[\]0-9A-Fa-f.:]+", host)


NAMED = ["mlflow.example", "*.corp.example", "127.0.0.1:*", "[::1]:*", "A.Example"]
LET_IN = [
    "mlflow.example",
    "a.corp.example",
    "a.b.corp.example",
    "127.0.0.1:80",
    "[::1]:80",
    "a.example",
    "A.EXAMPLE",
]
LEFT_OUT = [
    "localhost",
    "10.1.2.3",
    "corp.example",
    "mlflow.example:80",
    "mlflow_example",
    "127.0.0.1",
    ":80",
    "1:80",
]


@pytest.mark.parametrize("host", LET_IN)
def test_a_host_that_the_flag_names_is_let_in(host):
    assert admits(access(allowed_hosts=",".join(NAMED)), host)


@pytest.mark.parametrize("host", LEFT_OUT)
def test_a_host_that_the_flag_doesnt_name_is_left_out(host):
    assert not admits(access(allowed_hosts=",".join(NAMED)), host)


def test_a_star_lets_everybody_in():
    assert all(admits(access(allowed_hosts="*"), host) for host in (*OURS, *STRANGE, *REBINDING))


def test_a_request_without_a_host_is_strange():
    assert not admits(access(), None)


@pytest.mark.parametrize("route", TABLE, ids=name_of)
def test_no_route_answers_under_a_strange_name_but_the_probes(server, route):
    answer = ask(server, route.method, url(route), body_of(route), host="evil.example")
    if route.path in PROBES:
        assert answer.status == 200
    else:
        require_refusal(answer, 403, "PERMISSION_DENIED", "Invalid Host header", "--allowed-hosts")


@pytest.mark.parametrize(
    "path", ["/health/", "/health/x", "//health", "/health%2f..", "/api/2.0/mlflow/health", "/x"]
)
def test_what_only_looks_like_a_probe_isnt_one(server, path):
    assert get(server, path, host="evil.example").status == 403


def test_nothing_is_kept_or_deleted_under_a_strange_name(server, unique):
    assert put(server, f"{unique}/a", b"x").status == 200
    before = snapshot(server.artifacts / unique)
    assert put(server, f"{unique}/b", b"x", host="evil.example").status == 403
    assert ask(server, "DELETE", f"{ARTIFACTS}/{unique}", host="evil.example").status == 403
    assert snapshot(server.artifacts / unique) == before


# -- origins ----------------------------------------------------------------------------------------------

LOCAL = ["http://localhost", "http://localhost:3000", "https://127.0.0.1:8", "http://[::1]:9"]
FOREIGN = [
    "http://evil.example",
    "https://localhost.evil.example",
    "null",
    "http://localhost@evil.example",
    "x",
]
FOREIGN += [
    "http://127.0.0.1.evil.example",
    "http://10.1.2.3",
    "http://[::1",
    "file://",
    "http://evil.example:localhost",
]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_page_may_change_nothing(origin, method):
    assert not admits(access(), origin=origin, method=method)
    assert admits(access(), origin=origin, method="GET")


@pytest.mark.parametrize("origin", LOCAL)
def test_a_page_of_this_machine_may(origin):
    assert admits(access(), origin=origin, method="POST")
    assert admits(access(cors_allowed_origins="https://a.example"), origin=origin, method="POST")


@pytest.mark.parametrize("route", CHANGING, ids=name_of)
def test_no_route_that_changes_anything_answers_a_foreign_page(server, route):
    answer = ask(server, route.method, url(route), b"{}", origin="http://evil.example")
    require_refusal(
        answer, 403, "PERMISSION_DENIED", "Cross-origin request blocked", "--cors-allowed-origins"
    )
    assert "access-control-allow-origin" not in answer.headers


def preflight(server, origin: str, path: str = f"{API}/runs/log-batch", headers: str = "content-type,x-a"):
    asked = {"access_control_request_method": "POST", "access_control_request_headers": headers}
    return ask(server, "OPTIONS", path, origin=origin, **asked)


def test_a_preflight_tells_a_page_what_it_may_send(server):
    answer = preflight(server, "http://localhost:3000")
    assert answer.status in {200, 204}
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-allow-headers"] == "content-type,x-a"
    assert {"PUT", "PATCH", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_a_preflight_tells_a_foreign_page_nothing(server, origin):
    assert "access-control-allow-origin" not in preflight(server, origin).headers


def test_a_foreign_page_may_get_and_read_nothing(server):
    answer = get(server, f"{API}/experiments/get?experiment_id=0", origin="http://evil.example")
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_errors_are_readable_by_pages_that_may_call(server):
    answer = get(server, f"{API}/runs/get?run_id=x", origin="http://localhost:1")
    assert answer.status == 404
    assert answer.headers["access-control-allow-origin"] == "http://localhost:1"


def test_any_page_may_call_where_all_are_allowed_but_never_with_credentials():
    rules = access(cors_allowed_origins="*")
    assert admits(rules, origin="http://evil.example", method="POST")
    exchange = Exchange({"method": "POST", "headers": [(b"origin", b"http://a")]}, None, None, "/x", 1.0)
    assert rules.cors_headers(exchange) == [(b"access-control-allow-origin", b"*")]


# -- headers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/health", "/nothing", f"{API}/experiments/get?experiment_id=0", f"{ARTIFACTS}/x"]
)
def test_every_reply_forbids_sniffing_and_frames(server, path):
    headers = get(server, path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"


def test_frames_can_be_allowed_or_forbidden():
    assert (b"x-frame-options", b"DENY") in access(x_frame_options="deny").headers
    assert not any(name == b"x-frame-options" for name, _ in access(x_frame_options="none").headers)


# -- halves -----------------------------------------------------------------------------------------------


def require_disabled(server, route, flag: str) -> None:
    """404 and no 503: clients would repeat that for four minutes."""
    answer = ask(server, route.method, url(route), body_of(route), content_type="application/json")
    require_refusal(answer, 404, "ENDPOINT_NOT_FOUND", flag, "disabled")


class TestArtifactsOnly:
    """`--artifacts-only`."""

    @pytest.fixture(scope="class")
    @classmethod
    def alone(cls, launch):
        return launch("--artifacts-only")

    def test_no_route_of_tracking_answers(self, alone):
        for route in TABLE:
            if route.area is Area.TRACKING:
                require_disabled(alone, route, "--artifacts-only")

    def test_artifacts_and_probes_do(self, alone, unique):
        assert put(alone, unique, b"x").status == 200
        assert get(alone, "/api/3.0/mlflow/server-info").json["store_type"] is None
        for route in TABLE:
            if route.area is Area.ALWAYS:
                assert get(alone, route.path).status == 200

    def test_no_database_is_made(self, alone):
        assert not list(alone.folder.glob("*.db"))


class TestNoServeArtifacts:
    """`--no-serve-artifacts`: experiments live below the default artifact root."""

    @pytest.fixture(scope="class")
    @classmethod
    def elsewhere(cls, launch, tmp_path_factory):
        root = tmp_path_factory.mktemp("root")
        server = launch("--no-serve-artifacts", "--default-artifact-root", str(root))
        server.root = root
        return server

    def test_no_route_of_artifacts_answers(self, elsewhere):
        for route in TABLE:
            if route.area is Area.ARTIFACTS:
                require_disabled(elsewhere, route, "--no-serve-artifacts")
        assert not elsewhere.artifacts.exists()

    def test_the_artifacts_of_a_run_are_shown_from_the_root(self, elsewhere, unique):
        experiment = post(elsewhere, "experiments/create", {"name": unique}).json["experiment_id"]
        run = post(elsewhere, "runs/create", {"experiment_id": experiment}).json["run"]["info"]
        folder = elsewhere.root / experiment / run["run_id"] / "artifacts"
        folder.mkdir(parents=True)
        (folder / "a").write_bytes(b"x")
        query = f"run_id={run['run_id']}&path=a"
        assert get(elsewhere, f"/get-artifact?{query}").body == b"x"
        assert get(elsewhere, f"{API}/artifacts/list?run_id={run['run_id']}").json["files"] == [
            {"path": "a", "is_dir": False, "file_size": 1}
        ]

    def test_a_proxied_location_of_other_days_is_nothing_of_ours(self, elsewhere, unique):
        location = f"mlflow-artifacts:/{unique}"
        fields = {"name": unique, "artifact_location": location}
        experiment = post(elsewhere, "experiments/create", fields).json["experiment_id"]
        run = post(elsewhere, "runs/create", {"experiment_id": experiment}).json["run"]["info"]
        answer = get(elsewhere, f"{API}/artifacts/list?run_id={run['run_id']}")
        require_refusal(answer, 403, "PERMISSION_DENIED", "mlflow-artifacts")


class TestStaticPrefix:
    """`--static-prefix /at/home`."""

    @pytest.fixture(scope="class")
    @classmethod
    def home(cls, launch):
        return launch("--static-prefix", "/at/home")

    @pytest.mark.parametrize("route", TABLE, ids=name_of)
    def test_every_route_is_below_the_prefix_and_nowhere_else(self, home, route):
        asked = {"content_type": "application/json"}
        without = ask(home, route.method, url(route), body_of(route), **asked)
        require_refusal(without, 404, "ENDPOINT_NOT_FOUND", "/at/home", "--static-prefix")
        within = ask(home, route.method, "/at/home" + url(route), body_of(route), **asked)
        assert within.status < 500 or within.status == 501
        assert within.status != 404 or within.json["error_code"] != "ENDPOINT_NOT_FOUND"

    @pytest.mark.parametrize(
        "path", ["/at/homework", "/at/home%2fhealth", "/at%2fhome/health", "/at//home/health", "/at"]
    )
    def test_what_only_starts_like_the_prefix_is_nothing(self, home, path):
        assert get(home, path).status == 404

    @pytest.mark.parametrize("path", ["/at/home", "/at/home/", "/at/home/health", "/at/home/version"])
    def test_a_person_and_a_probe_are_answered(self, home, path):
        assert get(home, path).status == 200

    def test_a_probe_below_the_prefix_may_come_under_any_name(self, home):
        assert get(home, "/at/home/health", host="balancer.example").status == 200
        assert (
            get(home, f"/at/home{API}/experiments/get?experiment_id=0", host="balancer.example").status == 403
        )

    def test_tricks_below_the_prefix_are_refused(self, home):
        for path in ("..", "%2e%2e", "../../x", "%2fetc", "."):
            assert get(home, f"/at/home{ARTIFACTS}/{path}").status == 400
            assert ask(home, "DELETE", f"/at/home{ARTIFACTS}/{path}").status == 400

    def test_the_document_names_the_prefix(self, home):
        assert get(home, "/at/home/api/shoso/1/openapi.json").json["servers"] == [{"url": "/at/home"}]


def test_every_area_has_routes():
    assert {route.area for route in TABLE} == set(Area)


def test_a_route_is_asked_about_before_its_body_is_read(server):
    with Wire(server) as wire:
        head = "PUT /api/shoso/1/objects/a HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 1000000\r\n\r\n"
        wire.send(head.encode())
        assert wire.answer().status == 403
