"""The settings of a client: MLflow's variables with MLflow's meaning; what can't be used is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shoso.client.settings import CLIENT, ClientSettings, client_settings, every_setting
from shoso.errors import ConfigError
from shoso.http.options import SETTINGS, HttpOptions
from shoso.settings import CLIENT as OF_CLIENTS
from shoso.settings import server_settings

GIVEN = {  # by field: a value as text, and what it means
    "tracking_uri": ("https://host/mlflow", "https://host/mlflow"),
    "upload_minimum": ("1", 1),
    "upload_part": ("5242880", 5242880),
    "download_minimum": ("10", 10),
    "download_part": ("20", 20),
    "mlflow_plugin": ("off", False),
    "progress_bar": ("FALSE", False),
    "credential_hosts": ("a, b:80", ("a", "b:80")),
    "outbox": ("/var/o", Path("/var/o")),
    "state": ("/var/x", Path("/var/x")),
    "username": ("user", "user"),
    "password": ("p%w", "p%w"),
    "token": (" t\n", "t"),
    "insecure": ("1", True),
    "server_certificate": ("/ca.pem", "/ca.pem"),
    "bundle": ("/ca.pem", "/ca.pem"),
    "client_certificate": ("/me.pem", "/me.pem"),
    "timeout": ("2.5", 2.5),
    "retries": ("0", 0),
    "backoff": ("0.5", 0.5),
    "jitter": ("0", 0.0),
    "respect_retry_after": ("false", False),
    "redirects": ("0", False),
}
BAD = {
    "upload_minimum": ["0", "-1", "10MB"],
    "download_part": ["0", "1.5"],
    "progress_bar": ["on"],
    "token": ["a\nb", "é"],
    "insecure": ["no"],
    "timeout": ["0", "-1", "soon", "inf"],
    "retries": ["-1", "11", "many"],
    "backoff": ["-1", "121", "nan", "x"],
    "jitter": ["-0.1"],
}
EVERY = (*CLIENT, *SETTINGS)


@pytest.fixture
def read(tmp_path):
    """The settings that these variables make, in an empty home."""
    return lambda **variables: client_settings({"HOME": str(tmp_path), **variables})


def value(settings: ClientSettings, name: str):
    return getattr(settings if hasattr(settings, name) else settings.http, name)


@pytest.mark.parametrize("setting", EVERY, ids=lambda setting: setting.field)
def test_a_variable_means_what_it_means_to_mlflow(read, setting):
    text, meant = GIVEN[setting.field]
    assert value(read(**{setting.variable: text}), setting.field) == meant
    assert value(read(**{setting.variable: ""}), setting.field) == value(read(), setting.field)


@pytest.mark.parametrize(
    ("setting", "text"),
    [(setting, text) for setting in EVERY for text in BAD.get(setting.field, ())],
    ids=lambda part: getattr(part, "field", part),
)
def test_a_bad_value_is_named_with_its_variable(read, setting, text):
    with pytest.raises(ConfigError) as caught:
        read(**{setting.variable: text})
    assert caught.value.message.startswith(f"{setting.variable}: ")
    assert caught.value.message.endswith(".")


def test_every_setting_has_a_field():
    there = {field.name for cls in (ClientSettings, HttpOptions) for field in dataclasses.fields(cls)}
    assert {setting.field for setting in every_setting()} <= there
    assert set(GIVEN) == {setting.field for setting in EVERY}


def test_time_outs_are_of_silence_and_mlflows_of_a_request_is_one(read):
    assert read().silence == 120
    assert read(MLFLOW_HTTP_REQUEST_TIMEOUT="7").silence == 7
    both = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "7", "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "9"}
    assert (read(**both).silence, read(**both).http.timeout) == (9, 7)
    assert read(MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT="-1").silence is None


# -- MLflow's file of credentials -------------------------------------------------------------------------


@pytest.fixture
def credentials(tmp_path):
    """Write the file."""

    def write(text: str) -> None:
        (tmp_path / ".mlflow").mkdir()
        (tmp_path / ".mlflow" / "credentials").write_text(text)

    return write


def test_user_and_password_are_in_mlflows_file(read, credentials):
    credentials("[mlflow]\nmlflow_tracking_username = user\nmlflow_tracking_password = 100%%\n")
    http = read().http
    assert (http.username, http.password) == ("user", "100%")
    http = read(MLFLOW_TRACKING_PASSWORD="other").http
    assert (http.username, http.password) == ("user", "other")


@pytest.mark.parametrize("text", ["", "[other]\nmlflow_tracking_username = user\n", "[mlflow]\n"])
def test_a_file_without_them_is_fine(read, credentials, text):
    credentials(text)
    assert read().http == HttpOptions()


@pytest.mark.parametrize(
    "text", ["hunter2", "[mlflow]\nmlflow_tracking_password = hunter2%\n", "[mlflow]\n[mlflow]\nhunter2\n"]
)
def test_a_file_that_cant_be_read_is_named_without_its_secrets(read, credentials, text):
    credentials(text)
    with pytest.raises(ConfigError, match=r"~/\.mlflow/credentials: ") as caught:
        read()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


# -- what goes together -----------------------------------------------------------------------------------


def test_believing_everybody_leaves_no_use_for_an_authority(read):
    with pytest.raises(ConfigError, match="unset one of them"):
        read(MLFLOW_TRACKING_INSECURE_TLS="true", MLFLOW_TRACKING_SERVER_CERT_PATH="/ca.pem")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_AUTH", "kubernetes"),
        ("MLFLOW_TRACKING_AWS_SIGV4", "true"),
        ("MLFLOW_WORKSPACE", "a"),
    ],
)
def test_what_would_be_left_out_is_refused(read, name, value):
    with pytest.raises(ConfigError, match=f"{name}: is MLflow's, and .* Unset it"):
        read(**{name: value})
    assert read(MLFLOW_TRACKING_AWS_SIGV4="false").http == HttpOptions()


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, "{home}/.local/state/shoso"),
        ({"XDG_STATE_HOME": "/x"}, "/x/shoso"),
        ({"XDG_STATE_HOME": "relative"}, "{home}/.local/state/shoso"),
        ({"SHOSO_STATE": "/y", "XDG_STATE_HOME": "/x"}, "/y"),
    ],
)
def test_journals_are_where_state_is_kept(read, tmp_path, variables, folder):
    assert read(**variables).state == Path(folder.format(home=tmp_path))


def test_no_secret_is_shown(read):
    settings = read(
        MLFLOW_TRACKING_URI="http://user:hunter2@host",
        MLFLOW_TRACKING_PASSWORD="hunter2",
        MLFLOW_TRACKING_TOKEN="hunter2",
        AWS_SECRET_ACCESS_KEY="hunter2",
    )
    assert "hunter2" not in repr(settings)


def test_a_server_starts_where_a_clients_variables_are_set():
    own = {setting.variable for setting in every_setting() if setting.variable.startswith("SHOSO_")}
    assert own == OF_CLIENTS
    assert server_settings({}, dict.fromkeys(OF_CLIENTS, "x")).port == 5000
