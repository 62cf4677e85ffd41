"""One tracking server: MLflow's rules of patience, its words, and who is shown which credentials."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from base64 import b64encode
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from tests.servers.certificates import self_signed
from tests.servers.scripted import Said, fault
from yarl import URL

from shoso.client.server import Server
from shoso.errors import ConfigError, Kind, TrackingError
from shoso.http.credentials import is_same
from shoso.http.options import HttpOptions
from shoso.http.session import FAILURES, Session
from shoso.wire import replies, requests

GOOD = Said(body=b'{"experiment_id": "7"}')
CREATE = requests.CreateExperiment("x")


@asynccontextmanager
async def client(uri, settings):
    server = Server(uri, settings)
    try:
        yield server
    finally:
        await server.close()


async def create(uri, settings) -> str:
    """A call, from a client of its own."""
    async with client(uri, settings) as server:
        reply = await server.ask("POST", "experiments/create", replies.ExperimentCreated, CREATE)
        return reply.experiment_id


async def failure(call) -> TrackingError:
    with pytest.raises(TrackingError) as caught:
        await call
    assert type(caught.value) is TrackingError
    return caught.value


# -- against a real server --------------------------------------------------------------------------------


async def test_calls_go_in_the_query_or_in_the_body(shoso, settings, unique):
    async with client(shoso.uri, settings()) as server:
        made = await server.ask(
            "POST",
            "experiments/create",
            replies.ExperimentCreated,
            requests.CreateExperiment(unique, tags=[requests.TagInput("a", "b")]),
        )
        wanted = requests.ExperimentByName(unique)
        found = await server.ask("GET", "experiments/get-by-name", replies.ExperimentReply, wanted)
        assert found.experiment.experiment_id == made.experiment_id
        assert [(tag.key, tag.value) for tag in found.experiment.tags] == [("a", "b")]
        asked = requests.DeleteExperimentTag(made.experiment_id, "a")
        await server.ask("POST", "experiments/delete-experiment-tag", replies.Empty, asked)


async def test_an_error_has_the_servers_words_and_its_kind(shoso, settings, unique):
    async with client(shoso.uri, settings()) as server:
        again = requests.CreateExperiment(unique)
        await server.ask("POST", "experiments/create", replies.ExperimentCreated, again)
        error = await failure(server.ask("POST", "experiments/create", replies.ExperimentCreated, again))
        assert error.kind is Kind.DUPLICATE
        assert unique in error.message
        call = server.ask("GET", "runs/get", replies.RunReply, requests.GetRun(run_id="nobody"))
        assert (await failure(call)).kind is Kind.NOT_FOUND
        call = server.ask("POST", "no/such/call", replies.Empty)
        assert (await failure(call)).kind is Kind.NO_ROUTE


async def test_a_shoso_server_says_what_it_can(shoso, settings):
    async with client(shoso.uri, settings()) as server:
        can = await server.capabilities()
        assert (can.uploads, can.digests) == ("parts", "all")


async def test_a_path_is_quoted(scripted, settings):
    server = scripted(Said())
    async with client(server.uri, settings()) as asking:
        await asking.ask("GET", "logged-models/m 1?a#b\r\nhost: x", replies.Empty)
    assert server.asked[0].path == "/api/2.0/mlflow/logged-models/m%201%3Fa%23b%0D%0Ahost%3A%20x"


# -- patience ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_asked_again(scripted, settings, status, caplog):
    server = scripted(Said(status, b"<html>"), fault(status, "TEMPORARILY_UNAVAILABLE"), GOOD)
    with caplog.at_level(logging.WARNING, "shoso.client"):
        assert await create(server.uri, settings()) == "7"
    assert len(server.asked) == 3
    assert "Trying again" in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 424, 501, 507])
async def test_what_would_come_again_is_raised_at_once(scripted, settings, status):
    server = scripted(fault(status, "BAD_REQUEST"), GOOD)
    assert "as the server said" in (await failure(create(server.uri, settings()))).message
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "code", ["INVALID_STATE", "INVALID_PARAMETER_VALUE", "FEATURE_DISABLED", "DATA_LOSS"]
)
async def test_mlflows_deterministic_500_is_raised_at_once(scripted, settings, code):
    server = scripted(fault(500, code), GOOD)
    assert (await failure(create(server.uri, settings()))).message == "as the server said"
    assert len(server.asked) == 1


@pytest.mark.parametrize("retries", [0, 3])
async def test_patience_ends_with_the_retries_and_says_so(scripted, settings, retries):
    server = scripted(fault(503, "TEMPORARILY_UNAVAILABLE", "Overloaded."))
    options = settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES=str(retries))
    error = await failure(create(server.uri, options))
    assert len(server.asked) == retries + 1
    assert error.kind is Kind.UNAVAILABLE
    assert error.message == f"Overloaded. Tried {'4 times' if retries else 'once'}."


async def test_a_broken_connection_is_made_again(scripted, settings):
    server = scripted(Said(0), Said(0), GOOD)
    assert await create(server.uri, settings()) == "7"
    assert len(server.asked) == 3


async def test_a_server_that_is_gone_is_named_when_the_retries_are_over(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    options = settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES="2")
    error = await failure(create(f"http://user:hunter2@{host}/x", options))
    assert error.kind is Kind.UNAVAILABLE
    assert f"The connection to http://{host}/x failed (Connection refused)." in error.message
    assert error.message.endswith("Tried 3 times.")
    assert "hunter2" not in error.message


async def test_a_server_without_tls_is_told_at_once(scripted, settings):
    uri = scripted(GOOD).uri.replace("http:", "https:")
    error = await failure(create(uri, settings()))
    assert error.kind is Kind.CONFIG
    assert error.message == f"{uri} speaks no TLS: its address begins with http, not https."


async def test_a_server_that_stays_silent_is_given_up(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        options = settings(MLFLOW_HTTP_REQUEST_TIMEOUT="0.2", MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
        error = await failure(create(uri, options))
    assert error.kind is Kind.TIMEOUT
    assert error.message == f"{uri} sent nothing for 0.2 s. Tried 2 times."


@pytest.mark.parametrize(
    "header", ["7", lambda: formatdate(time.time() + 7.9, usegmt=True)], ids=["7", "date"]
)
async def test_a_pause_that_the_server_asks_for_is_kept(scripted, settings, monkeypatch, header):
    server = scripted(
        Said(429, headers={"retry-after": header if isinstance(header, str) else header()}), GOOD
    )
    slept = _slept(monkeypatch)
    await create(server.uri, settings())
    assert 6 < slept[0] <= 8
    server.replies = [Said(429, headers={"retry-after": "7"}), GOOD]
    await create(server.uri, settings(MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER="false"))
    assert slept[1] == 0


async def test_pauses_double_after_the_first_as_mlflows_do(scripted, settings, monkeypatch):
    server = scripted(Said(503))
    slept = _slept(monkeypatch)
    await failure(create(server.uri, settings(MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="2")))
    assert slept == [0, 4, 8, 16, 32, 64, 120]
    slept.clear()
    options = settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES="2", MLFLOW_HTTP_REQUEST_BACKOFF_JITTER="1")
    await failure(create(server.uri, options))
    assert 0.02 <= slept[1] <= 1.02


def _slept(monkeypatch) -> list[float]:
    """The pauses of the client, which take no time."""
    slept: list[float] = []

    async def sleep(pause: float, *_) -> None:
        slept.append(pause)

    monkeypatch.setattr("shoso.client.server.asyncio", _Hurried(sleep))
    return slept


class _Hurried:
    """asyncio, but for `sleep`."""

    def __init__(self, sleep) -> None:
        self.sleep = sleep

    def __getattr__(self, name):
        return getattr(asyncio, name)


# -- what is no MLflow server -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (Said(200, b"<html>"), Kind.UNEXPECTED, "is no MLflow server"),
        (Said(200, b'{"experiment_id": {}}'), Kind.UNEXPECTED, "is no MLflow server"),
        (Said(404, b"<html>"), Kind.NOT_FOUND, "answered 404 to /api/2.0/mlflow/experiments/create"),
        (Said(401, b"No.", {"content-type": "text/plain"}), Kind.UNAUTHENTICATED, "It said: No. Set MLFLOW_"),
        (
            Said(302, b"", {"location": "/login?token=hunter2"}),
            Kind.UNEXPECTED,
            "It leads to {uri}/login; use",
        ),
    ],
)
async def test_a_foreign_reply_is_told_in_words(scripted, settings, said, kind, words):
    server = scripted(said)
    error = await failure(create(server.uri, settings()))
    assert error.kind is kind
    assert words.format(uri=server.uri) in error.message
    assert "hunter2" not in error.message


async def test_an_empty_reply_is_an_empty_one(scripted, settings):
    server = scripted(Said(200, b""))
    async with client(server.uri, settings()) as asking:
        assert await asking.ask("POST", "runs/set-tag", replies.Empty) == replies.Empty()


@pytest.mark.parametrize("said", [Said(404), Said(403), Said(200, b"{}"), Said(200, b"<html>"), Said(501)])
async def test_any_other_server_is_asked_once_and_taken_for_a_plain_one(scripted, settings, said):
    server = scripted(said)
    async with client(server.uri, settings()) as asking:
        both = await asyncio.gather(asking.capabilities(), asking.capabilities())
        assert [*both, await asking.capabilities()] == [None, None, None]
    assert [asked.path for asked in server.asked] == ["/api/shoso/1/capabilities"]


async def test_a_server_without_an_answer_is_not_taken_for_a_plain_one(shoso, scripted, settings):
    server = scripted(Said(503))
    async with client(server.uri, settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")) as asking:
        assert (await failure(asking.capabilities())).kind is Kind.UNAVAILABLE
        server.replies = [Said(404)]
        assert await asking.capabilities() is None


@pytest.mark.parametrize("uri", ["", "databricks", "sqlite:///a.db", "./mlruns", "http://", "https://h:x/"])
def test_what_is_no_address_is_refused(settings, uri):
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI: is no address of a server"):
        Server(uri, settings())


# -- credentials ------------------------------------------------------------------------------------------


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("user", "variables", "header"),
    [
        ("", {}, None),
        ("", {"USERNAME": "a", "PASSWORD": "b", "TOKEN": "t"}, basic("a:b")),
        ("", {"USERNAME": "a", "TOKEN": "t"}, "Bearer t"),
        ("", {"PASSWORD": "b"}, None),
        ("me:%40hunter2@", {"USERNAME": "a", "PASSWORD": "b"}, basic("me:@hunter2")),
    ],
)
async def test_credentials_are_sent_as_mlflow_sends_them(scripted, settings, user, variables, header):
    server = scripted(GOOD)
    given = {f"MLFLOW_TRACKING_{name}": value for name, value in variables.items()}
    await create(server.uri.replace("//", f"//{user}"), settings(**given))
    assert server.asked[0].headers.get("authorization") == header


async def test_a_redirect_is_followed_but_another_host_gets_no_credentials(scripted, settings):
    other = scripted(GOOD)
    server = scripted(Said(307, headers={"location": "/x"}), Said(308, headers={"location": other.uri}))
    assert await create(server.uri, settings(MLFLOW_TRACKING_TOKEN="hunter2")) == "7"
    assert [asked.headers.get("authorization") for asked in server.asked] == ["Bearer hunter2"] * 2
    assert (other.asked[0].method, other.asked[0].body) == ("POST", b'{"name":"x"}')
    assert "authorization" not in other.asked[0].headers


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("http://host/elsewhere", True),
        ("http://HOST:80/", True),
        ("https://host/", True),
        ("https://host:8443/", False),
        ("http://host:8080/", False),
        ("http://host.example.com/", False),
        ("https://other/", False),
        ("http://host@other/", False),
    ],
)
def test_only_the_server_itself_is_shown_credentials(other, same):
    assert is_same(URL("http://host/x"), URL(other)) is same
    assert not is_same(URL("https://host"), URL("http://host"))


async def test_redirects_can_be_forbidden(scripted, settings):
    server = scripted(Said(307, headers={"location": "/x"}))
    error = await failure(create(server.uri, settings(MLFLOW_ALLOW_HTTP_REDIRECTS="false")))
    assert f"It leads to {server.uri}/x; use that address." in error.message
    assert len(server.asked) == 1


async def test_a_redirect_without_end_ends(scripted, settings):
    server = scripted(Said(307, headers={"location": "/x"}))
    error = await failure(create(server.uri, settings(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")))
    assert "from one address to the next 10 times" in error.message


# -- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(scripted, certificate):
    """A https server whose certificate nobody knows; it may ask for the client's."""

    def start(asks: bool = False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificate[0])
        return scripted(GOOD, tls=context)

    return start


async def test_an_unknown_certificate_is_refused_at_once(secure, settings):
    server = secure()
    error = await failure(create(server.uri, settings()))
    assert error.kind is Kind.CONFIG
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in error.message
    assert server.asked == []


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE"])
async def test_a_private_authority_is_believed(secure, certificate, settings, name):
    assert await create(secure().uri, settings(**{name: str(certificate[0])})) == "7"


async def test_any_certificate_is_believed_where_that_is_asked_for(secure, settings):
    assert await create(secure().uri, settings(MLFLOW_TRACKING_INSECURE_TLS="true")) == "7"


async def test_the_client_shows_its_certificate(secure, certificate, settings, tmp_path):
    server = secure(asks=True)
    mine = tmp_path / "me.pem"
    mine.write_text(certificate[0].read_text() + certificate[1].read_text())
    trusting = {
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(certificate[0]),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    await failure(create(server.uri, settings(**trusting)))
    assert await create(server.uri, settings(**trusting, MLFLOW_TRACKING_CLIENT_CERT_PATH=str(mine))) == "7"


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"])
@pytest.mark.parametrize("content", [None, "no PEM", "encrypted"])
def test_a_certificate_that_cant_be_read_is_named(settings, tmp_path, name, content):
    path = tmp_path / "x.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=f"{name}: '.*x.pem' is no "):
        Server("https://127.0.0.1:1", settings(**{name: str(path)}))


# -- what its errors show ---------------------------------------------------------------------------------


async def test_a_name_that_no_host_can_have_is_an_error_that_shows_it(settings):
    error = await failure(create("http://not..a.host:1", settings()))
    assert "not..a.host - is no name that a host can have" in error.message


async def test_the_words_on_a_reply_that_makes_no_sense_show_no_signature():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 none at all\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    session = Session("test", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", HttpOptions(), 5)
    with pytest.raises(FAILURES) as caught:
        await session.send("GET", session.url("/bucket/key", {"signature": "secret"}))
    kind, words = session.explained(caught.value)
    assert (kind, "secret" in words, "Bad status line" in words) == (Kind.UNAVAILABLE, False, True)
    await session.close()
    server.close()
