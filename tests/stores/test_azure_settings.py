"""What the URI and the variables of Azure mean, which goes before which, and what is wrong with the rest."""

from __future__ import annotations

import base64

import pytest

from shoso.errors import ConfigError
from shoso.stores import open_store
from shoso.stores.azure.options import options

URI = "wasbs://models@team.blob.core.windows.net/mlflow/artifacts"
KEY = base64.b64encode(b"the account's key").decode()
SAS = "sv=2023-11-03&ss=b&sp=rwdl&se=2030-01-01T00%3A00%3A00Z&sig=c2VjcmV0"
CONNECTION = (
    f"DefaultEndpointsProtocol=https;AccountName=team;AccountKey={KEY};EndpointSuffix=core.windows.net"
)
SECRETS = (KEY, "c2VjcmV0", "sig=")


@pytest.mark.parametrize(
    ("uri", "endpoint", "name"),
    [
        (URI, "https://team.blob.core.windows.net", URI),
        (
            "wasbs://c@a.blob.core.chinacloudapi.cn/",
            "https://a.blob.core.chinacloudapi.cn",
            "wasbs://c@a.blob.core.chinacloudapi.cn",
        ),
        (
            "wasbs://c@a.blob.core.usgovcloudapi.net/p",
            "https://a.blob.core.usgovcloudapi.net",
            "wasbs://c@a.blob.core.usgovcloudapi.net/p",
        ),
        (
            "abfss://fs@lake.dfs.core.windows.net/p",
            "https://lake.blob.core.windows.net",
            "abfss://fs@lake.dfs.core.windows.net/p",
        ),
    ],
)
def test_a_uri_names_account_container_and_folder(uri, endpoint, name):
    found = options(uri, {"AZURE_STORAGE_ACCESS_KEY": KEY})
    assert (found.endpoint, found.name, found.own) == (endpoint, name, False)


@pytest.mark.parametrize(
    "uri",
    [
        "wasbs://team.blob.core.windows.net/p",
        "wasbs://models@team.dfs.core.windows.net/p",
        "abfss://models@team.blob.core.windows.net/p",
        "wasbs://models@team.blob.core.example.com/p",
        "wasbs://a@b@team.blob.core.windows.net/p",
        "wasbs://user:secret@team.blob.core.windows.net/p",
        "wasbs://models@team.blob.core.windows.net/p?sig=secret",
        "wasbs://models@team.blob.core.windows.net/a/../b",
    ],
)
def test_a_uri_that_names_no_place_is_refused(uri):
    with pytest.raises(ConfigError) as caught:
        open_store(uri, {"AZURE_STORAGE_ACCESS_KEY": KEY})
    assert "secret" not in str(caught.value)


def test_a_connection_string_goes_before_a_key_and_a_key_before_a_signature():
    everything = {
        "AZURE_STORAGE_CONNECTION_STRING": CONNECTION,
        "AZURE_STORAGE_ACCESS_KEY": base64.b64encode(b"another").decode(),
        "AZURE_STORAGE_SAS_TOKEN": "?" + SAS,
    }
    found = options(URI, everything)
    assert (found.account_key, found.key_setting) == (KEY, "AZURE_STORAGE_CONNECTION_STRING")
    del everything["AZURE_STORAGE_CONNECTION_STRING"]
    found = options(URI, everything)
    assert (found.sas, found.key_setting) == ("", "AZURE_STORAGE_ACCESS_KEY")
    del everything["AZURE_STORAGE_ACCESS_KEY"]
    found = options(URI, everything)
    assert (found.account_key, found.sas) == ("", SAS)
    assert options(URI, {}).key_setting == ""


@pytest.mark.parametrize(
    ("text", "endpoint", "own"),
    [
        (CONNECTION, "https://team.blob.core.windows.net", False),
        (f"AccountName=team;AccountKey={KEY}", "https://team.blob.core.windows.net", False),
        (
            f"AccountName=team;AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn",
            "https://team.blob.core.chinacloudapi.cn",
            False,
        ),
        (
            f"AccountName=team;AccountKey={KEY};BlobEndpoint=http://azurite:10000/team/;",
            "http://azurite:10000/team",
            True,
        ),
        (
            f"BlobEndpoint=https://blobs.example.com;SharedAccessSignature={SAS}",
            "https://blobs.example.com",
            True,
        ),
    ],
)
async def test_a_connection_string_may_name_another_address(text, endpoint, own):
    found = options(URI, {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert (found.endpoint, found.own) == (endpoint, own)
    store = open_store(URI, {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert store.info.endpoint == (endpoint if own else "")
    await store.close()


def test_the_emulator_has_a_connection_string_of_its_own():
    uri = "wasbs://c@devstoreaccount1.blob.core.windows.net"
    found = options(uri, {"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"})
    assert (found.endpoint, found.own) == ("http://127.0.0.1:10000/devstoreaccount1", True)
    assert found.account_key


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("AZURE_STORAGE_CONNECTION_STRING", "what is this", "Access keys"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=team", "AccountKey"),
        ("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=other;AccountKey={KEY}", "'other'"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=team;AccountKey=!secret!", "base64"),
        ("AZURE_STORAGE_CONNECTION_STRING", f"AccountKey={KEY};BlobEndpoint=azurite:10000", "https://"),
        ("AZURE_STORAGE_CONNECTION_STRING", f"AccountKey={KEY};BlobEndpoint=http://[secret", "https://"),
        ("AZURE_STORAGE_ACCESS_KEY", "!secret!", "base64"),
        ("AZURE_STORAGE_ACCESS_KEY", "schlüssel=secret", "base64"),
        ("AZURE_STORAGE_SAS_TOKEN", "secret", "sig="),
        ("MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", "soon", "seconds"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_with_the_fix(variable, text, words):
    with pytest.raises(ConfigError) as caught:
        open_store(URI, {variable: text})
    assert caught.value.setting == variable
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert KEY not in str(caught.value)


async def test_silence_is_600_seconds_unless_it_is_set():
    environment = {"AZURE_STORAGE_ACCESS_KEY": KEY}
    for text, seconds in ((None, 600.0), ("90", 90.0), ("-1", None)):
        if text:
            environment["MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT"] = text
        store = open_store(URI, environment)
        assert store.info.silence == seconds
        await store.close()


@pytest.mark.parametrize(
    "environment",
    [
        {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION},
        {"AZURE_STORAGE_ACCESS_KEY": KEY},
        {"AZURE_STORAGE_SAS_TOKEN": SAS},
    ],
)
async def test_nothing_that_is_shown_holds_a_secret(environment):
    store = open_store(URI, environment)
    found = f"{options(URI, environment)!r} {store!r} {store.info!r} {store.capabilities!r}"
    assert not [secret for secret in SECRETS if secret in found]
    await store.close()


async def test_a_signature_signs_nothing_and_is_never_handed_out():
    store = open_store(URI, {"AZURE_STORAGE_SAS_TOKEN": SAS})
    assert store.signer is None
    await store.close()
