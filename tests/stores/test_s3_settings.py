"""What a URI and the variables say, and what is refused before anybody is called."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from boto3.s3.transfer import S3Transfer
from tests.servers.listener import Listener
from tests.stores.s3 import store_of

from shoso.core.keys import Key
from shoso.errors import ConfigError, Kind, Retry, StoreError
from shoso.stores import open_store
from shoso.stores.s3.account import Account
from shoso.stores.s3.options import parse

SECRET = "a-secret-that-nobody-may-see"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": SECRET}
SIMPLE = "s3://bucket/path"


@pytest.fixture(autouse=True)
def nobodys_account(monkeypatch, tmp_path):
    """No configuration of whoever runs the tests, and no metadata service."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def account(uri=SIMPLE, **environment) -> Account:
    return Account(parse(uri, {**KEYS, **environment}))


def refusal(uri=SIMPLE, **environment) -> str:
    with pytest.raises(ConfigError) as caught:
        open_store(uri, {**KEYS, **environment})
    assert SECRET not in f"{caught.value!r}{caught.value}"
    return str(caught.value)


@pytest.mark.parametrize(
    ("uri", "environment", "address", "region"),
    [
        (SIMPLE, {}, "https://bucket.s3.amazonaws.com", "us-east-1"),
        (SIMPLE, {"AWS_REGION": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com", "eu-west-1"),
        (
            SIMPLE,
            {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-north-1"},
            "https://bucket.s3.eu-north-1.amazonaws.com",
            "eu-north-1",
        ),
        (
            SIMPLE,
            {"AWS_DEFAULT_REGION": "cn-north-1"},
            "https://bucket.s3.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
        ),
        (
            SIMPLE,
            {"MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path", "AWS_DEFAULT_REGION": "eu-west-1"},
            "https://s3.eu-west-1.amazonaws.com/bucket",
            "eu-west-1",
        ),
        (
            "s3://with.dots/path",
            {"AWS_DEFAULT_REGION": "eu-west-1"},
            "https://s3.eu-west-1.amazonaws.com/with.dots",
            "eu-west-1",
        ),
        (SIMPLE, {"AWS_ENDPOINT_URL": "http://ceph:8000"}, "http://ceph:8000/bucket", "us-east-1"),
        (
            SIMPLE,
            {"AWS_ENDPOINT_URL": "http://ceph:8000", "AWS_ENDPOINT_URL_S3": "http://minio:9000/"},
            "http://minio:9000/bucket",
            "us-east-1",
        ),
        (
            SIMPLE,
            {"MLFLOW_S3_ENDPOINT_URL": "http://spaces:1", "AWS_ENDPOINT_URL_S3": "http://minio:9000"},
            "http://spaces:1/bucket",
            "us-east-1",
        ),
        (
            SIMPLE,
            {
                "MLFLOW_S3_ENDPOINT_URL": "https://s3.example.com",
                "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "virtual",
            },
            "https://bucket.s3.example.com",
            "us-east-1",
        ),
        (
            SIMPLE,
            {"AWS_ENDPOINT_URL": "https://S3.Example.com:443"},
            "https://s3.example.com/bucket",
            "us-east-1",
        ),
        (SIMPLE, {"AWS_ENDPOINT_URL": "https://127.0.0.1:80"}, "https://127.0.0.1:80/bucket", "us-east-1"),
        (
            "r2://bucket@0abc.r2.cloudflarestorage.com/path",
            {"MLFLOW_S3_ENDPOINT_URL": "http://not-this-one"},
            "https://0abc.r2.cloudflarestorage.com/bucket",
            "auto",
        ),
        (
            "b2://bucket@s3.us-west-004.backblazeb2.com/path",
            {},
            "https://s3.us-west-004.backblazeb2.com/bucket",
            "us-west-004",
        ),
    ],
)
def test_the_settings_say_where_the_bucket_is(uri, environment, address, region):
    place = account(uri, **environment).place
    assert f"{place.scheme}://{place.host}{place.base}" == address
    assert place.region == region


def test_a_store_of_ones_own_shows_its_address_and_a_providers_does_not():
    assert open_store(SIMPLE, KEYS).info.endpoint == ""
    own = open_store(SIMPLE, {**KEYS, "MLFLOW_S3_ENDPOINT_URL": "http://minio:9000"})
    assert (own.info.endpoint, own.info.name, own.info.scheme) == ("http://minio:9000", SIMPLE, "s3")


def test_a_profile_may_name_region_endpoint_and_keys(nobodys_account):
    (nobodys_account / "config").write_text(
        "[profile team]\nregion = eu-west-3\nservices = own\n"
        "[services own]\ns3 =\n  endpoint_url = http://minio:9000\n"
    )
    found = Account(parse(SIMPLE, {"AWS_PROFILE": "team"}))
    assert (found.place.host, found.place.region) == ("minio:9000", "eu-west-3")
    assert found.endpoint == "http://minio:9000"
    assert not found.aws


async def test_the_keys_of_a_profile_are_used(nobodys_account):
    (nobodys_account / "credentials").write_text(
        f"[team]\naws_access_key_id = AKIAFILE\naws_secret_access_key = {SECRET}\naws_session_token = token\n"
    )
    found = await Account(parse(SIMPLE, {"AWS_PROFILE": "team"})).credentials()
    assert (found.access_key, found.secret_key, found.token) == ("AKIAFILE", SECRET, "token")
    assert SECRET not in repr(found)


async def test_credentials_that_run_out_are_had_again(nobodys_account):
    """A command of the profile hands them out for a time that is over at once."""
    script = nobodys_account / "credentials.sh"
    script.write_text(
        f"#!/bin/sh\necho x >> {nobodys_account}/calls\nn=$(wc -l < {nobodys_account}/calls)\n"
        'echo "{\\"Version\\": 1, \\"AccessKeyId\\": \\"AKIA$n\\", \\"SecretAccessKey\\": \\"s\\",'
        ' \\"SessionToken\\": \\"t\\", \\"Expiration\\":'
        ' \\"$(date -u -d "+2 minutes" +%Y-%m-%dT%H:%M:%SZ)\\"}"\n'
    )
    script.chmod(0o755)
    (nobodys_account / "config").write_text(f"[profile team]\ncredential_process = {script}\n")
    found = Account(parse(SIMPLE, {"AWS_PROFILE": "team"}))
    first, second = await found.credentials(), await found.credentials()
    assert first.access_key.startswith("AKIA")
    assert second.access_key != first.access_key


async def test_no_credentials_are_named_with_their_settings():
    async with store_of(SIMPLE, {"MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:1"}) as store:
        with pytest.raises(StoreError) as caught:
            await store.stat(Key("key"))
    assert caught.value.kind is Kind.UNAUTHENTICATED
    for setting in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION=unsigned"):
        assert setting in caught.value.message


def _web_identity(folder, token) -> None:
    (folder / "config").write_text(
        f"[profile web]\nrole_arn = arn:aws:iam::111122223333:role/x\nweb_identity_token_file = {token}\n"
    )


async def test_a_token_that_is_missing_is_named(nobodys_account):
    _web_identity(nobodys_account, nobodys_account / "missing")
    async with store_of(SIMPLE, {"AWS_PROFILE": "web", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}) as store:
        with pytest.raises(StoreError) as caught:
            await store.stat(Key("key"))
    assert (caught.value.kind, caught.value.retry) == (Kind.UNAUTHENTICATED, Retry.NEVER)
    assert str(nobodys_account / "missing") in caught.value.message


@pytest.mark.parametrize(("status", "retry"), [(403, Retry.NEVER), (500, Retry.SOON)])
async def test_a_role_that_mocked_sts_refuses_is_told(nobodys_account, monkeypatch, status, retry):
    error = b"<Error><Code>AccessDenied</Code><Message>not this role</Message></Error>"
    body = b"<ErrorResponse>" + error + b"</ErrorResponse>"

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} Said\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    _web_identity(nobodys_account, nobodys_account / "token")
    (nobodys_account / "token").write_text(SECRET)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with Listener(serve) as listener:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{listener.port}")
        async with store_of(SIMPLE, {"AWS_PROFILE": "web", "AWS_DEFAULT_REGION": "eu-west-1"}) as store:
            with pytest.raises(StoreError) as caught:
                await store.stat(Key("key"))
    assert (caught.value.kind, caught.value.retry) == (Kind.UNAUTHENTICATED, retry)
    assert SECRET not in caught.value.message


def test_a_profile_that_is_missing_is_named():
    assert "AWS_PROFILE: there is no profile 'nobody'" in refusal(AWS_PROFILE="nobody")


ENDPOINTS = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


@pytest.mark.parametrize("variable", ENDPOINTS)
@pytest.mark.parametrize(
    ("endpoint", "fix"),
    [
        ("http://minio:9000/bucket", "holds the bucket 'bucket'"),
        ("http://minio:9000/bucket/path", "write http://minio:9000 there"),
        ("http://minio:9000/mlflow", "holds a path"),
        ("https://bucket.s3.eu-west-1.amazonaws.com", "write https://s3.eu-west-1.amazonaws.com"),
        ("s3://bucket/path", "write https://host"),
        ("minio:9000", "write https://host"),
        (f"http://user:{SECRET}@minio:9000", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_an_endpoint_that_would_send_objects_to_a_wrong_key_is_named(variable, endpoint, fix):
    said = refusal(**{variable: endpoint})
    assert said.startswith(f"{variable}: ")
    assert fix in said


@pytest.mark.parametrize(
    ("uri", "fix"),
    [
        ("s3://minio:9000/bucket", "MLFLOW_S3_ENDPOINT_URL"),
        ("s3:///path", "s3://bucket/path"),
        ("s3://bucket/a/../b", "the path can't be used"),
        ("r2://bucket/path", "r2://bucket@<account>.r2.cloudflarestorage.com/path"),
        ("r2://bucket@evil.example.com/path", "r2://bucket@<account>"),
        ("b2://bucket@s3.backblazeb2.com/path", "b2://bucket@s3.<region>.backblazeb2.com/path"),
    ],
)
def test_a_uri_that_names_no_bucket_is_refused_with_the_right_form(uri, fix):
    assert fix in refusal(uri)


def test_contradictions_are_named(tmp_path):
    said = refusal(MLFLOW_S3_IGNORE_TLS="true", AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
    assert "MLFLOW_S3_IGNORE_TLS" in said
    assert "AWS_CA_BUNDLE" in said
    assert refusal(AWS_SECRET_ACCESS_KEY="").startswith("AWS_SECRET_ACCESS_KEY: ")
    assert refusal(AWS_ACCESS_KEY_ID="").startswith("AWS_ACCESS_KEY_ID: ")


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_bundle_that_holds_no_certificates_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    assert refusal(AWS_CA_BUNDLE=str(tmp_path / "ca.pem")).startswith("AWS_CA_BUNDLE: ")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_S3_IGNORE_TLS", "perhaps"),
        ("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "sideways"),
        ("MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION", "v5"),
        ("MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", "soon"),
        ("MLFLOW_S3_UPLOAD_EXTRA_ARGS", "{"),
        ("MLFLOW_S3_UPLOAD_EXTRA_ARGS", "[]"),
    ],
)
def test_a_value_that_cannot_be_read_is_named(variable, value):
    assert refusal(**{variable: value}).startswith(f"{variable}: ")


def test_the_silence_is_the_timeout_that_is_set():
    assert open_store(SIMPLE, KEYS).info.silence == 120
    limited = {"MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "5"}
    assert open_store(SIMPLE, {**KEYS, **limited}).info.silence == 5
    assert open_store(SIMPLE, {**KEYS, "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "-1"}).info.silence is None


# -- the extra arguments ------------------------------------------------------------------------------------

TIMES = {"Expires", "ObjectLockRetainUntilDate"}
REFUSED = {"ChecksumAlgorithm", "ChecksumType", "MpuObjectSize"} | {
    name for name in S3Transfer.ALLOWED_UPLOAD_ARGS if name.startswith("Checksum")
}


def value_of(name: str):
    if name == "Metadata":
        return {"Team": "vision"}
    return "2030-01-01T00:00:00Z" if name in TIMES else "text"


@pytest.mark.parametrize("name", sorted(set(S3Transfer.ALLOWED_UPLOAD_ARGS) - REFUSED))
def test_every_argument_that_boto3_allows_goes_with_every_way_to_write(name):
    extra = account(MLFLOW_S3_UPLOAD_EXTRA_ARGS=json.dumps({name: value_of(name)})).extra
    whole, parts = extra.of("PutObject"), extra.of("CreateMultipartUpload")
    assert len(whole) >= 1
    assert whole == parts


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_argument_that_cannot_be_kept_is_refused_by_name(name):
    assert f"'{name}'" in refusal(MLFLOW_S3_UPLOAD_EXTRA_ARGS=json.dumps({name: "text"}))


@pytest.mark.parametrize(
    "args",
    [
        {"Acl": "private"},
        {"Bucket": "other"},
        {"ACL": 1},
        {"Metadata": "text"},
        {"Metadata": {"team": 1}},
        {"Metadata": {"team": "größe"}},
        {"CacheControl": "no-cache\r\nx-amz-acl: public-read"},
        {"Expires": "tomorrow"},
    ],
    ids=json.dumps,
)
def test_an_argument_that_is_none_is_refused_by_name(args):
    said = refusal(MLFLOW_S3_UPLOAD_EXTRA_ARGS=json.dumps(args))
    assert said.startswith("MLFLOW_S3_UPLOAD_EXTRA_ARGS: ")
    assert f"'{next(iter(args))}'" in said


def test_a_customers_key_goes_with_parts_and_reads_and_to_no_client():
    args = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": SECRET[:32].ljust(32)}
    opened = account(MLFLOW_S3_UPLOAD_EXTRA_ARGS=json.dumps(args))
    for operation in ("PutObject", "CreateMultipartUpload", "UploadPart", "GetObject", "HeadObject"):
        assert "x-amz-server-side-encryption-customer-key-md5" in opened.extra.of(operation)
    assert SECRET[:28] not in repr(opened.options) + repr(opened.extra)
    store = open_store(SIMPLE, {**KEYS, "MLFLOW_S3_UPLOAD_EXTRA_ARGS": json.dumps(args)})
    assert store.signer is None


def test_the_owner_of_the_bucket_goes_with_every_call():
    extra = account(MLFLOW_S3_EXPECTED_BUCKET_OWNER="111122223333").extra
    assert {extra.of(name)["x-amz-expected-bucket-owner"] for name in extra.headers} == {"111122223333"}


def test_the_options_show_no_secret():
    shown = repr(parse(SIMPLE, {**KEYS, "AWS_SESSION_TOKEN": SECRET}))
    assert SECRET not in shown
    assert "AKIATEST" not in shown
    assert urlsplit(SIMPLE).netloc in shown
