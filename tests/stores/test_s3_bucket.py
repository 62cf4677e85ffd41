"""What is S3's own: folders, digests as metadata and tags, parts, wrong keys, what others put."""

from __future__ import annotations

import json
import logging
import os
from contextlib import AsyncExitStack

import pytest
from tests.conformance.sources import Endless, stream
from tests.servers import radosgw
from tests.servers.listener import Listener
from tests.stores.s3 import Bucket, store_of

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, IfMatch
from shoso.errors import Kind, Retry, StoreError
from shoso.stores.s3.account import Account
from shoso.stores.s3.body import MIB
from shoso.stores.s3.documents import Document
from shoso.stores.s3.options import parse
from shoso.stores.s3.store import S3Store
from shoso.stores.s3.writing import PART, PARTS_MAX, sizes

OBJECT = Key("run/model.bin")
LARGE = os.urandom(11 * MIB + 7)
SECRET = "a-secret-that-nobody-may-see"
TOKEN = "a-token-that-nobody-may-see"


@pytest.fixture
def bucket():
    """An empty one."""
    made = Bucket()
    yield made
    made.close()


@pytest.fixture
async def store(bucket):
    """A store in a folder of it."""
    async with store_of(bucket.uri, radosgw.environment()) as opened:
        yield opened


async def _fails(call, kind: Kind, *words: str) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    assert caught.value.kind is kind, caught.value
    assert not [word for word in words if word not in caught.value.message], caught.value
    return caught.value


async def test_a_store_in_a_folder_keeps_to_it(store, bucket):
    bucket.client.put_object(Bucket=bucket.name, Key="team/mlflow-2/other", Body=b"outside")
    await store.write(OBJECT, BytesSource(b"inside"))
    await store.uploads.begin(Key("pending"))
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key="team/mlflow-2/pending")
    assert [entry.key async for entry in store.list(ROOT, deep=True)] == [OBJECT]
    assert [ref.key async for ref in store.uploads.pending(ROOT)] == ["pending"]
    await delete_tree(store, Key("run"))
    assert bucket.names() == {"team/mlflow-2/other"}


async def test_what_has_no_valid_key_is_left_out_of_listings(store, bucket):
    for name in ("folder/", "folder//double", "/double", "../climbs", "there"):
        bucket.put(name, b".")
    assert [entry.key async for entry in store.list(ROOT, deep=True)] == ["there"]
    assert [entry.key async for entry in store.list(ROOT)] == ["folder", "there"]


async def test_the_digest_of_one_request_is_metadata_and_that_of_parts_is_a_tag(store, bucket):
    small = await store.write(OBJECT, BytesSource(b"small"))
    head = bucket.client.head_object(Bucket=bucket.name, Key=f"team/mlflow/{OBJECT}")
    assert head["Metadata"] == {"shoso-digest": digest(b"small")}
    large = await store.write(OBJECT, BytesSource(LARGE))
    found = await store.stat(OBJECT)
    assert (large.etag, large.digest) == (found.etag, found.digest)
    assert found.digest == digest(LARGE)
    assert small.digest == digest(b"small")
    tags = bucket.client.get_object_tagging(Bucket=bucket.name, Key=f"team/mlflow/{OBJECT}")["TagSet"]
    assert tags == [{"Key": "shoso-digest", "Value": f"{digest(LARGE)}/{found.etag}"}]


async def test_a_digest_that_is_claimed_from_the_start_is_metadata_even_of_parts(store, bucket):
    await store.write(OBJECT, BytesSource(LARGE, digest(LARGE)))
    head = bucket.client.head_object(Bucket=bucket.name, Key=f"team/mlflow/{OBJECT}")
    assert head["Metadata"] == {"shoso-digest": digest(LARGE)}
    assert (await store.stat(OBJECT)).digest == digest(LARGE)


async def test_a_tag_of_another_version_is_no_digest(store, bucket):
    await store.write(OBJECT, BytesSource(LARGE))
    tags = [{"Key": "shoso-digest", "Value": f"{digest(LARGE)}/{'0' * 32}-3"}]
    bucket.client.put_object_tagging(
        Bucket=bucket.name, Key=f"team/mlflow/{OBJECT}", Tagging={"TagSet": tags}
    )
    assert (await store.stat(OBJECT)).digest is None


async def test_large_conditional_writes_keep_what_is_there(store):
    first = await store.write(OBJECT, BytesSource(LARGE), CREATE)
    await _fails(store.write(OBJECT, BytesSource(LARGE), CREATE), Kind.EXISTS)
    await _fails(store.write(OBJECT, BytesSource(LARGE), IfMatch("0" * 32)), Kind.CHANGED)
    await _fails(store.write(Key("missing"), BytesSource(LARGE), IfMatch("0" * 32)), Kind.CHANGED)
    second = await store.write(OBJECT, BytesSource(LARGE[1:]), IfMatch(first.etag))
    assert second.size == len(LARGE) - 1


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (lambda: stream([LARGE], size=len(LARGE) + 1), Kind.INCOMPLETE),
        (lambda: stream([LARGE], size=len(LARGE) - 1), Kind.INCOMPLETE),
        (lambda: BytesSource(LARGE, digest(b"other")), Kind.CORRUPT),
    ],
    ids=["short", "long", "digest of something else"],
)
async def test_a_large_write_that_fails_leaves_no_upload(store, bucket, source, kind):
    await _fails(store.write(OBJECT, source()), kind)
    assert bucket.names() == set()
    assert bucket.pending() == []


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (lambda: stream([LARGE], size=len(LARGE) + 1), Kind.INCOMPLETE),
        (lambda: stream([LARGE], size=len(LARGE) - 1), Kind.INCOMPLETE),
        (lambda: BytesSource(LARGE, digest(b"other")), Kind.CORRUPT),
        (lambda: Endless(40 * MIB, announced=False), Kind.TOO_LARGE),
    ],
    ids=["short", "long", "digest of something else", "not announced"],
)
async def test_a_large_part_that_fails_is_no_part(store, source, kind):
    ref = await store.uploads.begin(OBJECT)
    await _fails(store.uploads.put(ref, 1, source()), kind)
    assert await store.uploads.parts(ref) == []
    part = await store.uploads.put(ref, 1, stream([LARGE], size=len(LARGE)))
    await store.uploads.finish(ref, [part])
    assert await read_bytes(store, OBJECT) == LARGE


def test_ten_thousand_parts_are_enough_for_any_object():
    for size in (9 * MIB, 50_000 * MIB, 50_001 * MIB + 1, 1024**4, 5 * 1024**4):
        part = next(sizes(size))
        assert part >= PART
        assert part * PARTS_MAX >= size
    unknown = sizes(None)
    assert sum(next(unknown) for _ in range(PARTS_MAX)) >= 4.8 * 1024**4


async def test_finish_is_known_again_by_what_its_parts_make(store, bucket):
    ref = await store.uploads.begin(OBJECT)
    part = await store.uploads.put(ref, 1, BytesSource(b"part"))
    first = await store.uploads.finish(ref, [part])
    assert await store.uploads.finish(ref, [part]) == first
    await store.write(OBJECT, BytesSource(b"overwritten since"))
    await _fails(store.uploads.finish(ref, [part]), Kind.NOT_FOUND)


# -- mistakes -----------------------------------------------------------------------------------------------


async def _failures(store) -> list[StoreError]:
    """How every verb fails."""
    found = []
    for call in (
        store.stat(OBJECT),
        store.read(OBJECT),
        store.write(OBJECT, BytesSource(b".")),
        store.write(OBJECT, Endless(9 * MIB)),
        store.delete([OBJECT]),
        store.delete([OBJECT, Key("another")]),
        store.uploads.begin(OBJECT),
        anext(store.list(ROOT)),
        anext(store.uploads.pending(ROOT)),
    ):
        with pytest.raises(StoreError) as caught:
            await call
        found.append(caught.value)
    return found


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("AWS_SECRET_ACCESS_KEY", SECRET, ["secret", "AWS_SECRET_ACCESS_KEY"]),
        ("AWS_ACCESS_KEY_ID", "AKIANOBODY", ["doesn't know the access key", "AWS_ACCESS_KEY_ID"]),
    ],
)
async def test_wrong_credentials_are_named_by_every_verb(bucket, setting, value, words):
    async with store_of(bucket.uri, {**radosgw.environment(), setting: value}) as store:
        for error in await _failures(store):
            assert error.kind is Kind.UNAUTHENTICATED
            assert error.retry is Retry.NEVER
            assert not [word for word in words if word not in error.message], error


async def test_a_bucket_that_is_missing_is_named():
    async with store_of("s3://nowhere/path", radosgw.environment()) as store:
        for error in (await _failures(store))[1:]:
            assert error.kind is Kind.NOT_FOUND
            assert "no bucket 'nowhere'" in error.message
            assert "MLFLOW_S3_ENDPOINT_URL" in error.message


async def test_a_public_bucket_is_read_without_credentials_and_not_written(bucket):
    bucket.put(OBJECT, b"public")
    statement = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"]}
    arn = f"arn:aws:s3:::{bucket.name}"
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": [arn, f"{arn}/*"]}]}
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(policy))
    settings = {
        "MLFLOW_S3_ENDPOINT_URL": radosgw.environment()["MLFLOW_S3_ENDPOINT_URL"],
        "MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION": "unsigned",
    }
    async with store_of(bucket.uri, settings) as store:
        assert await read_bytes(store, OBJECT) == b"public"
        assert [entry.key async for entry in store.list(ROOT, deep=True)] == [OBJECT]
        assert store.signer is None
        await _fails(store.write(OBJECT, BytesSource(b".")), Kind.FORBIDDEN, "s3:", "PutObject", bucket.name)


async def test_signatures_of_version_2_work_too(bucket):
    settings = {**radosgw.environment(), "MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION": "s3"}
    async with store_of(bucket.uri, settings) as store:
        await store.write(Key("with space/ö+"), BytesSource(b"small"), CREATE)
        await store.write(OBJECT, BytesSource(LARGE))
        ref = await store.uploads.begin(Key("parts"))
        await store.uploads.finish(ref, [await store.uploads.put(ref, 1, stream([LARGE], len(LARGE)))])
        assert await read_bytes(store, Key("parts")) == LARGE
        assert (await store.stat(OBJECT)).digest == digest(LARGE)
        await store.delete([Key("with space/ö+"), Key("parts")])
        assert [entry.key async for entry in store.list(ROOT, deep=True)] == [OBJECT]


async def test_nobody_that_listens_is_unavailable():
    [port] = radosgw.free_ports(1)
    async with store_of("s3://bucket", radosgw.environment(port)) as store:
        error = await _fails(store.stat(OBJECT), Kind.UNAVAILABLE, f"http://127.0.0.1:{port}")
        assert error.retry is Retry.SOON
    settings = {**radosgw.environment(), "MLFLOW_S3_ENDPOINT_URL": "http://storage.invalid:9000"}
    async with store_of("s3://bucket", settings) as store:
        await _fails(store.stat(OBJECT), Kind.UNAVAILABLE, "can't be resolved", "MLFLOW_S3_ENDPOINT_URL")


async def test_no_secret_is_logged_or_raised(bucket, caplog):
    caplog.set_level(logging.DEBUG)
    found = []
    mine = radosgw.environment()
    for settings in (
        {**mine, "AWS_SECRET_ACCESS_KEY": SECRET},
        {**mine, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN},
        radosgw.environment(radosgw.free_ports(1)[0]),
    ):
        async with store_of(bucket.uri, settings) as store:
            found += [f"{error!r} {error} {error.__cause__!r}" for error in await _failures(store)]
            found += [repr(store.info)]
    async with store_of(bucket.uri, mine) as store:
        await store.write(OBJECT, BytesSource(LARGE))
        found.append(repr(await store.signer.read(OBJECT, 60)))
    shown = "\n".join([*found, caplog.text])
    assert OBJECT in shown
    assert not [word for word in (SECRET, TOKEN, radosgw.SECRET_KEY, "Signature=") if word in shown]


# -- what no server here says, said by a server that says nothing else --------------------------------------


async def _answered(code: str, status: int, extra: str = "", **headers: str) -> StoreError:
    """How a write fails that gets this answer."""
    body = f"<Error><Code>{code}</Code><Message>so it is</Message>{extra}</Error>".encode()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(Listener(serve))
        settings = radosgw.environment(listener.port)
        store = await stack.enter_async_context(store_of("s3://bucket", settings))
        with pytest.raises(StoreError) as caught:
            await store.write(OBJECT, BytesSource(b"."))
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "kind", "word"),
    [
        ("RequestTimeTooSkewed", 403, Kind.UNAUTHENTICATED, "clock"),
        ("ExpiredToken", 400, Kind.UNAUTHENTICATED, "AWS_SESSION_TOKEN"),
        ("InvalidToken", 400, Kind.UNAUTHENTICATED, "AWS_SESSION_TOKEN"),
        ("PermanentRedirect", 301, Kind.CONFIG, "AWS_DEFAULT_REGION"),
        ("AccessDenied", 403, Kind.FORBIDDEN, "permission"),
        ("InvalidObjectState", 403, Kind.FORBIDDEN, "Glacier"),
        ("Unauthorized", 401, Kind.UNAUTHENTICATED, "AWS_ACCESS_KEY_ID"),
        ("QuotaExceeded", 403, Kind.NO_SPACE, "quota"),
        ("SlowDown", 503, Kind.THROTTLED, "fewer requests"),
        ("InternalError", 500, Kind.UNAVAILABLE, "inside the storage"),
        ("NotImplemented", 501, Kind.UNSUPPORTED, "so it is"),
        ("NeverHeardOf", 400, Kind.INVALID, "NeverHeardOf: so it is"),
        ("NeverHeardOf", 599, Kind.UNEXPECTED, "NeverHeardOf: so it is"),
    ],
)
async def test_an_answer_mocked_is_told_in_a_sentence(code, status, kind, word):
    error = await _answered(code, status)
    assert error.kind is kind
    assert word in error.message
    assert OBJECT in error.message


async def test_a_wrong_region_mocked_is_told_with_the_right_one():
    error = await _answered("AuthorizationHeaderMalformed", 400, "<Region>eu-west-1</Region>")
    assert "set AWS_DEFAULT_REGION to eu-west-1" in error.message


@pytest.mark.parametrize(("said", "after"), [("3", 3.0), ("soon", None), ("-1", None)])
async def test_the_time_to_come_again_mocked_is_kept(said, after):
    error = await _answered("SlowDown", 503, retry_after=said)
    assert error.retry_after == after


def test_spaces_that_come_before_an_answer_are_no_answer():
    said = b" \n  <?xml version='1.0'?><Result><ETag>a-1</ETag></Result>"
    assert Document(said).text("ETag") == "a-1"


async def test_the_region_of_a_bucket_mocked_is_asked_for_once_and_signed_for():
    """Only AWS says it, to whoever asks, so a server says it here."""
    asked: list[bytes] = []

    async def serve(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            asked.append(head)
            if not head.startswith(b"HEAD"):
                break
            writer.write(
                b"HTTP/1.1 403 Forbidden\r\nx-amz-bucket-region: eu-west-9\r\ncontent-length: 0\r\n\r\n"
            )
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async with Listener(serve) as listener:
        settings = radosgw.environment(listener.port)
        account = Account(parse("s3://bucket/path", settings))
        account.aws = True
        store = S3Store(account)
        for _ in range(2):
            await _fails(store.read(OBJECT), Kind.NOT_FOUND)
        signed = await store.signer.read(OBJECT, 60)
        await store.close()
    assert [head.split()[0] for head in asked] == [b"HEAD", b"GET", b"GET"]
    assert b"/eu-west-9/s3/aws4_request" in asked[1]
    assert "eu-west-9" in signed.url
