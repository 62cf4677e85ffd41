"""Locations: what contains what, and what of a URI may be shown."""

from __future__ import annotations

import pytest

from shoso.core import locations, mounted
from shoso.core.locations import parse, shown
from shoso.core.options import address
from shoso.errors import StoreError

PASSWORDS = [
    "sftp://user:hunter2@host/x",
    "sftp://user:a@hunter2@host/x",
    "sftp://user:hunter2/more@host/x",
    "sftp://user:more#hunter2@host/x",
    "sftp://user:more?hunter2@host/x",
    "sftp://user:12hunter2/4@host:22/x",
    "sftp://user:hunter2@[::1]:22/x",
    "sftp://user:hunter2\N{ACCOUNT OF}@host/x",
    "hdfs://user:hunter2@host/x",
    "s3://AKIA:hunter2@bucket/x",
]


@pytest.mark.parametrize("uri", PASSWORDS)
def test_a_password_is_never_shown(uri):
    assert locations.has_password(uri)
    assert "hunter2" not in shown(uri)
    assert shown(uri).startswith(uri[: uri.index(":", 6)])
    try:
        said = repr(parse(uri))
    except ValueError as error:
        said = str(error)
    assert "hunter2" not in said


@pytest.mark.parametrize("uri", ["sftp://user:hunter2", "ftp://host:hunter2/x", "sftp://h:99999hunter2"])
def test_what_is_no_port_is_not_shown(uri):
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        parse(uri)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "sftp://host:22/a@b",
        "sftp://host:/a@b",
        "sftp://user@host:22/a@b",
        "sftp://[::1]:22/a@b",
        "s3://bucket/a:b@c",
        "s3://arn:aws:s3:us-east-1:123456789012:accesspoint/name/a@b",
        "wasbs://container@account.blob.core.windows.net/a",
        "/a/b:c@d",
        "C:/a@b",
    ],
)
def test_what_is_no_password_is_shown(uri):
    assert not locations.has_password(uri)
    assert shown(uri) == uri


@pytest.mark.parametrize("value", ["user:hunter2@host:9000", "http://u:hunter2@host", "u:hunter2\u2100@host"])
def test_an_address_with_a_password_is_refused_without_it(value):
    with pytest.raises(ValueError, match="no user and no password") as caught:
        address(value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://bucket", "s3://bucket/"),
        ("S3://bucket/a", "s3://bucket/a/"),
        ("sftp://user:pw@Host:22/a", "sftp://user@host/a"),
        ("file:///a/b", "/a/b/"),
        ("file://localhost/a%20b", "/a b"),
        ("/a/../b", "//b"),
    ],
)
def test_ways_to_write_one_place(one, other):
    assert parse(one) == parse(other)


@pytest.mark.parametrize(
    "other",
    [
        "s3://bucket/ab",
        "s3://bucket",
        "s3://Bucket/a",
        "s3://bucket2/a",
        "s3://user@bucket/a",
        "s3://bucket:443/a",
        "gs://bucket/a",
        "/bucket/a",
        "file:///a",
    ],
)
def test_what_lies_beside_a_root_is_not_in_it(other):
    assert parse(other) not in parse("s3://bucket/a")


@pytest.mark.parametrize(
    "host", ["sftp://user@host/a", "sftp://host:2222/a", "sftp://host.evil/a", "ftp://host/a"]
)
def test_another_user_port_or_host_is_another_place(host):
    assert parse(host) not in parse("sftp://host/a")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/a/../b",
        "s3://bucket/a/%2e%2e/b",
        "s3://bucket/a//b",
        "s3://bucket/a\\..\\b",
        "s3://b/a?c",
    ],
)
def test_what_climbs_or_asks_is_no_location(uri):
    with pytest.raises((ValueError, StoreError), match=r"path|query"):
        parse(uri)


def test_the_bucket_of_an_access_point_has_colons():
    assert parse("s3://arn:aws:s3:us-east-1:123456789012:accesspoint/name/a").folder == "name/a"


def test_a_path_from_the_root_has_one_slash(monkeypatch):
    monkeypatch.chdir("/")
    assert str(locations.local_path("./kept")) == "/kept"  # as in a container


def test_what_cant_be_looked_at_is_no_folder_that_is_there():
    assert not mounted.is_there("/" + "x" * 5000)
    assert not mounted.is_bare("/" + "x" * 5000)
