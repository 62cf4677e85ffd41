"""A URI opens the store that it names, or says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoso.core.keys import Key
from shoso.core.locations import local_path
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import ConfigError
from shoso.stores import open_store


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/srv/artifacts", "/srv/artifacts"),
        ("/srv/with space/50%25", "/srv/with space/50%25"),
        ("/srv/what?#", "/srv/what?#"),
        ("file:///srv/artifacts", "/srv/artifacts"),
        ("file:/srv/artifacts", "/srv/artifacts"),
        ("file://localhost/srv/artifacts", "/srv/artifacts"),
        ("file:///srv/with%20space/50%2525", "/srv/with space/50%25"),
        ("FILE:///srv/artifacts", "/srv/artifacts"),
    ],
)
def test_a_path_or_a_file_uri_names_a_folder(uri, path):
    assert local_path(uri) == Path(path)


@pytest.mark.parametrize("uri", ["artifacts", "./artifacts", "file:artifacts"])
def test_a_relative_path_is_taken_from_here(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local_path(uri) == tmp_path / "artifacts"


@pytest.mark.parametrize("uri", ["oss://bucket/path", "b2://bucket", "wasbs://a@b/c", "webdav://host/path"])
def test_a_scheme_without_a_store_is_refused_by_name(uri):
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert caught.value.message.startswith(f"{uri}: ")
    assert uri.partition(":")[0] in caught.value.message


@pytest.mark.parametrize("uri", ["file://server/share", "file://c:/path"])
def test_a_file_uri_with_a_host_is_refused(uri):
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert "file:///path" in caught.value.message


async def test_a_store_opened_by_its_uri_is_where_the_uri_says(tmp_path):
    store = open_store((tmp_path / "with space").as_uri())
    await store.write(Key("a"), BytesSource(b"a"))
    assert (tmp_path / "with space/a").read_bytes() == b"a"
    assert (store.info.scheme, store.info.name) == ("file", str(tmp_path / "with space"))
    await store.close()


async def test_the_same_folder_by_either_name_is_the_same_store(tmp_path):
    one, other = open_store(str(tmp_path)), open_store(tmp_path.as_uri())
    await one.write(Key("a"), BytesSource(b"a"))
    assert await read_bytes(other, Key("a")) == b"a"
    await one.close()
    await other.close()


_ARN = "arn:aws:s3:us-east-1:123456789012:accesspoint"


def test_the_access_point_of_a_bucket_is_a_bucket():
    """Opened without a call: nothing on this machine can stand for one."""
    store = open_store(f"s3://{_ARN}:name/path", {"AWS_DEFAULT_REGION": "us-east-1"})
    assert store.info.name == f"s3://{_ARN}:name/path"


@pytest.mark.parametrize("bucket", [f"{_ARN}/name", "arn:nonsense", "arn:aws:s3:::bucket"])
def test_what_only_looks_like_an_access_point_is_refused(bucket):
    with pytest.raises(ConfigError, match="is no bucket"):
        open_store(f"s3://{bucket}/path", {"AWS_DEFAULT_REGION": "us-east-1"})
