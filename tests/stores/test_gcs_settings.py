"""What opens a bucket, and what is wrong with a setting; nothing secret is shown."""

from __future__ import annotations

import json
import logging

import pytest
from tests.servers.gcs import write_key

from shoso.errors import ConfigError
from shoso.stores import open_store

EMULATED = {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}


@pytest.fixture(autouse=True)
def no_gcloud(monkeypatch, tmp_path):
    """Whoever runs the tests may have signed in."""
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no gcloud"))


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("gs://bucket", "gs://bucket"),
        ("gs://bucket/", "gs://bucket"),
        ("gs://bucket/folder/", "gs://bucket/folder"),
        ("gs://bucket_1.example.com/a folder/50%25", "gs://bucket_1.example.com/a folder/50%25"),
    ],
)
def test_a_uri_names_a_bucket_and_a_folder(uri, name):
    assert open_store(uri).info.name == name


@pytest.mark.parametrize(
    "uri", ["gs:", "gs:///folder", "gs://user:hidden@bucket/folder", "gs://bucket:9000/folder", "gs://b/../c"]
)
def test_a_uri_without_a_bucket_is_refused(uri):
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert "hidden" not in caught.value.message
    assert "bucket" in caught.value.message


@pytest.mark.parametrize("variable", ["MLFLOW_GCS_UPLOAD_CHUNK_SIZE", "MLFLOW_GCS_DOWNLOAD_CHUNK_SIZE"])
@pytest.mark.parametrize("value", ["0", "-262144", "262143", "1000000", "much"])
def test_a_chunk_size_that_cloud_storage_does_not_take_is_refused(variable, value):
    with pytest.raises(ConfigError) as caught:
        open_store("gs://bucket", {variable: value})
    assert caught.value.setting == variable
    assert value in caught.value.message


@pytest.mark.parametrize(
    ("environment", "silence"),
    [
        ({}, 60.0),
        ({"MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "7"}, 7.0),
        ({"MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "-1"}, None),
        ({"MLFLOW_GCS_DEFAULT_TIMEOUT": "9"}, 9.0),
        ({"MLFLOW_GCS_DEFAULT_TIMEOUT": "-1"}, None),
        ({"MLFLOW_GCS_DEFAULT_TIMEOUT": "9", "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "7"}, 7.0),
    ],
)
def test_the_timeout_is_mlflows(environment, silence, caplog):
    assert open_store("gs://bucket", environment).info.silence == silence
    deprecated = [record for record in caplog.records if "MLFLOW_GCS_DEFAULT_TIMEOUT" in record.message]
    assert len(deprecated) == ("MLFLOW_GCS_DEFAULT_TIMEOUT" in environment)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9023", "http://127.0.0.1:9023/", "127.0.0.1:9023"])
def test_an_emulator_is_an_address_of_ones_own(address):
    store = open_store("gs://bucket", {"STORAGE_EMULATOR_HOST": address})
    assert store.info.endpoint == "http://127.0.0.1:9023"
    assert open_store("gs://bucket").info.endpoint == ""


@pytest.mark.parametrize("address", ["ftp://host", "http://", "http://user:hidden@host"])
def test_an_emulator_without_an_address_is_refused(address):
    with pytest.raises(ConfigError) as caught:
        open_store("gs://bucket", {"STORAGE_EMULATOR_HOST": address})
    assert caught.value.setting == "STORAGE_EMULATOR_HOST"
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "isn't there"),
        ("no JSON but a secret-thing", "holds no Google credentials"),
        ('{"type": "service_account", "private_key": "secret-thing"}', "holds no Google credentials"),
        ('{"type": "unheard of", "secret-thing": 1}', "holds no Google credentials"),
    ],
)
def test_credentials_that_cannot_be_read_are_refused_without_being_shown(tmp_path, content, why, caplog):
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        open_store("gs://bucket", {"GOOGLE_APPLICATION_CREDENTIALS": str(file)})
    assert caught.value.setting == "GOOGLE_APPLICATION_CREDENTIALS"
    assert why in caught.value.message
    assert str(file) in caught.value.message
    assert "secret-thing" not in caught.value.message + caplog.text


def test_who_can_sign_is_known_at_once(tmp_path):
    file = tmp_path / "key.json"
    write_key(file)
    assert open_store("gs://bucket", {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}).signer is not None
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    file.write_text(json.dumps(user))
    assert open_store("gs://bucket", {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}).signer is None
    assert open_store("gs://bucket", EMULATED).signer is None


def test_the_sign_in_of_gcloud_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    write_key(tmp_path / "application_default_credentials.json")
    assert open_store("gs://bucket").signer is not None


@pytest.mark.parametrize("emulator", [{}, EMULATED], ids=["google", "emulator"])
def test_a_private_key_is_shown_nowhere(tmp_path, emulator, caplog):
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "key.json"
    private = write_key(file)
    store = open_store("gs://bucket", {"GOOGLE_APPLICATION_CREDENTIALS": str(file), **emulator})
    shown = "".join(map(repr, (store, store.info, store.signer, store.api, store.api.access, vars(store))))
    for line in private.splitlines()[1:-1]:
        assert line not in shown + caplog.text
