"""What is said to Cloud Storage that no emulator minds: conditions, checksums, the ends of sessions."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import google_crc32c
import pytest
from tests.conformance.sources import Paused, SourceBroke, breaking, stream
from tests.stores.gcs_mock import Mock, refusal, stored

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, OVERWRITE, From, FromTo, IfMatch, UploadRef
from shoso.errors import Kind, Retry, StoreError
from shoso.stores import open_store

KEY = Key("run/weights.bin")
MIB = 1024 * 1024
LARGE = bytes(range(256)) * (12 * MIB // 256) + b"tail"


@pytest.fixture
async def mock():
    """A server that answers as told."""
    async with Mock() as running:
        yield running


@pytest.fixture
async def store(mock):
    """A folder of its bucket."""
    async with opened(mock) as store:
        yield store


@asynccontextmanager
async def opened(mock, **environment):
    store = open_store("gs://bucket/folder", {"STORAGE_EMULATOR_HOST": mock.address, **environment})
    try:
        yield store
    finally:
        await store.close()


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def session(mock):
    return 200, "{}", {"location": f"{mock.address}/session?upload_id=1"}


def more(seen):
    """What a session answers while it isn't finished."""
    if seen.method != "PUT":
        return 200, "{}", {}
    return 308, "", {"range": "bytes=0-" + seen.headers["content-range"].split("-")[1].split("/")[0]}


def whole(data, **fields):
    return stored(size=str(len(data)), crc32c=crc32c(data), **fields)


def puts(mock):
    return [
        (seen.headers["content-range"], len(seen.body), seen.headers.get("x-goog-hash"))
        for seen in mock.seen
        if seen.method == "PUT"
    ]


# -- small objects -------------------------------------------------------------------------------------------


async def test_a_small_object_is_one_request_with_its_sums_by_a_mock(store, mock):
    mock.replies.append(whole(b"bytes", metadata={"shoso-digest": digest(b"bytes")}))
    meta = await store.write(KEY, BytesSource(b"bytes"), content_type="text/plain")
    [seen] = mock.seen
    assert (seen.method, seen.path) == ("POST", "/upload/storage/v1/b/bucket/o")
    assert seen.query["uploadType"] == "multipart"
    assert "ifGenerationMatch" not in seen.query
    boundary = seen.headers["content-type"].partition("boundary=")[2]
    head, body = (
        part.partition(b"\r\n\r\n")[2][:-2] for part in seen.body.split(f"--{boundary}".encode())[1:3]
    )
    assert json.loads(head) == {
        "name": "folder/run/weights.bin",
        "contentType": "text/plain",
        "metadata": {"shoso-digest": digest(b"bytes")},
        "crc32c": crc32c(b"bytes"),
    }
    assert body == b"bytes"
    assert seen.body.endswith(f"\r\n--{boundary}--\r\n".encode())
    assert (meta.size, meta.etag, meta.digest) == (5, "1795776927783438", digest(b"bytes"))


@pytest.mark.parametrize(
    ("mode", "condition", "kind"),
    [
        (OVERWRITE, None, Kind.CHANGED),
        (CREATE, "0", Kind.EXISTS),
        (IfMatch("1795776927783438"), "1795776927783438", Kind.CHANGED),
        (IfMatch("never an etag"), "1", Kind.CHANGED),
        (IfMatch("0"), "1", Kind.CHANGED),
    ],
    ids=str,
)
@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
async def test_the_mode_is_a_precondition_on_the_generation_by_a_mock(
    store, mock, mode, condition, kind, data
):
    if data is LARGE:
        mock.replies += [session(mock), more]
    mock.replies.append(refusal(412, "conditionNotMet"))
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(data), mode)
    assert caught.value.kind is kind
    assert mock.seen[0].query.get("ifGenerationMatch") == condition


# -- sessions ------------------------------------------------------------------------------------------------


async def test_a_large_object_is_one_stream_and_an_end_with_its_sum_by_a_mock(store, mock):
    mock.replies += [session(mock), more, whole(LARGE), (200, "{}", {})]
    meta = await store.write(KEY, BytesSource(LARGE), content_type="text/plain")
    size = len(LARGE)
    assert puts(mock) == [
        (f"bytes 0-{12 * MIB - 1}/{size}", 12 * MIB, None),
        (f"bytes {12 * MIB}-{size - 1}/{size}", 4, f"crc32c={crc32c(LARGE)}"),
    ]
    assert b"".join(seen.body for seen in mock.seen if seen.method == "PUT") == LARGE
    patch = mock.seen[-1]
    assert (patch.method, patch.path) == ("PATCH", "/storage/v1/b/bucket/o/folder%2Frun%2Fweights.bin")
    assert patch.query["ifGenerationMatch"] == "1795776927783438"
    assert json.loads(patch.body) == {"metadata": {"shoso-digest": digest(LARGE)}}
    assert meta.digest == digest(LARGE)


async def test_a_digest_that_is_claimed_goes_first_by_a_mock(store, mock):
    claimed = {"shoso-digest": digest(LARGE)}
    mock.replies += [session(mock), more, whole(LARGE, metadata=claimed)]
    meta = await store.write(KEY, BytesSource(LARGE, digest(LARGE)))
    assert json.loads(mock.seen[0].body)["metadata"] == claimed
    assert [seen.method for seen in mock.seen] == ["POST", "PUT", "PUT"]
    assert meta.digest == digest(LARGE)


@pytest.mark.parametrize("content_type", ["", "a\r\nx-goog-acl: public-read", "é", None])
async def test_a_type_that_is_none_is_not_sent_by_a_mock(store, mock, content_type):
    mock.replies.append(whole(b"bytes"))
    await store.write(KEY, BytesSource(b"bytes"), content_type=content_type)
    assert mock.seen[0].body.count(b"application/octet-stream") == 2
    assert b"public-read" not in mock.seen[0].body


async def test_a_size_that_nobody_announced_is_sent_in_chunks_by_a_mock(store, mock):
    mock.replies += [session(mock), more, whole(LARGE)]
    await store.write(KEY, stream([LARGE[: 5 * MIB], LARGE[5 * MIB :]]))
    size = len(LARGE)
    assert puts(mock) == [
        (f"bytes 0-{8 * MIB - 1}/*", 8 * MIB, None),
        (f"bytes {8 * MIB}-{size - 1}/{size}", 4 * MIB + 4, f"crc32c={crc32c(LARGE)}"),
    ]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("chunk", [262144, 5 * 262144, 4 * MIB, 100 * MIB])
async def test_no_request_is_larger_than_the_chunk_size_by_a_mock(mock, announced, chunk):
    data = bytes(9 * MIB)
    source = BytesSource(data) if announced else stream([data])

    def answer(seen):
        return whole(data) if f"-{len(data) - 1}/" in seen.headers["content-range"] else more(seen)

    mock.replies += [session(mock), *[answer] * 40]
    async with opened(mock, MLFLOW_GCS_UPLOAD_CHUNK_SIZE=str(chunk)) as store:
        await store.write(KEY, source)
    sizes = [size for _, size, _ in puts(mock)]
    assert sum(sizes) == len(data)
    assert max(sizes) <= chunk
    assert all(size % 262144 == 0 for size in sizes[:-1])
    hashes = [hashed for _, _, hashed in puts(mock)]
    assert hashes == [None] * (len(sizes) - 1) + [f"crc32c={crc32c(data)}"]


async def test_a_chunk_that_arrived_in_part_is_not_taken_for_whole_by_a_mock(store, mock):
    mock.replies += [session(mock), (308, "", {"range": "bytes=0-262143"})]
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(LARGE))
    assert (caught.value.kind, caught.value.retry) == (Kind.UNAVAILABLE, Retry.SOON)
    assert mock.seen[-1].method == "DELETE"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (lambda: breaking(LARGE), None),
        (lambda: stream([LARGE], expected=digest(b"others")), Kind.CORRUPT),
        (lambda: BytesSource(LARGE, digest(b"others")), Kind.CORRUPT),
        (lambda: stream([LARGE], size=len(LARGE) + 1), Kind.INCOMPLETE),
        (lambda: stream([LARGE], size=20 * MIB), Kind.INCOMPLETE),
        (lambda: stream([LARGE], size=9 * MIB), Kind.INCOMPLETE),
        (lambda: stream([LARGE, LARGE], size=len(LARGE)), Kind.INCOMPLETE),
    ],
    ids=["breaks", "stream of others", "of others", "a byte short", "short", "long", "twice"],
)
async def test_a_write_that_fails_ends_its_session_by_a_mock(store, mock, source, kind):
    mock.replies += [session(mock), more]
    with pytest.raises(StoreError if kind else SourceBroke) as caught:
        await store.write(KEY, source())
    assert kind is None or caught.value.kind is kind
    assert [seen.method for seen in mock.seen][-1] == "DELETE"
    assert mock.seen[-1].query == {"upload_id": "1"}
    assert all(hashed is None for _, _, hashed in puts(mock))


@pytest.mark.parametrize("announced", [True, False])
async def test_a_write_that_is_cancelled_ends_its_session_by_a_mock(store, mock, announced):
    mock.replies += [session(mock), more]
    source = Paused(LARGE, 10 * MIB, announced)
    writing = asyncio.ensure_future(store.write(KEY, source))
    await source.waiting.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert source.closed
    assert mock.seen[-1].method == "DELETE"


async def test_a_refusal_in_the_middle_of_a_body_is_what_is_told_by_a_mock(store, mock):
    mock.replies += [session(mock), refusal(503, "backendError")]
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(LARGE))
    assert caught.value.kind is Kind.UNAVAILABLE
    assert mock.seen[-1].method == "DELETE"


@pytest.mark.parametrize("reply", [refusal(412, "conditionNotMet"), refusal(403), refusal(404), refusal(503)])
async def test_a_digest_that_cannot_be_kept_fails_no_write_by_a_mock(store, mock, reply):
    mock.replies += [session(mock), more, whole(LARGE), reply]
    meta = await store.write(KEY, BytesSource(LARGE))
    assert (meta.size, meta.digest) == (len(LARGE), digest(LARGE))  # known all the same to whoever wrote it


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
async def test_what_is_stored_otherwise_than_sent_is_removed_by_a_mock(store, mock, data):
    if data is LARGE:
        mock.replies += [session(mock), more]
    mock.replies.append(
        whole(b"X" + data[1:]) if data is LARGE else stored(size="5", crc32c=crc32c(b"Small"))
    )
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(data))
    assert (caught.value.kind, caught.value.retry) == (Kind.CORRUPT, Retry.SOON)
    removed = mock.seen[-1]
    assert (removed.method, removed.query) == ("DELETE", {"ifGenerationMatch": "1795776927783438"})


# -- reading -------------------------------------------------------------------------------------------------


def media(data, crc="", generation="1795776927783438", **headers):
    named = {
        "last-modified": "Fri, 27 Nov 2026 10:55:27 GMT",
        "x-goog-generation": generation,
        "x-goog-hash": f"crc32c={crc or crc32c(data)},md5=CS9tHYTtyFntzj7B9nkkJQ==",
        **headers,
    }
    return 200, data.decode(), named


async def _read(store, **how):
    async with await store.read(KEY, **how) as reading:
        return b"".join([bytes(part) async for part in reading.body])


async def test_an_object_without_a_digest_is_compared_with_its_crc32c_by_a_mock(store, mock):
    mock.replies += [media(b"bytes"), media(b"bytes", crc32c(b"others"))]
    assert await _read(store) == b"bytes"
    with pytest.raises(StoreError) as caught:
        await _read(store)
    assert caught.value.kind is Kind.CORRUPT


async def test_a_read_is_bound_to_its_generation_by_a_mock(store, mock):
    mock.replies += [media(b"bytes"), refusal(412, "conditionNotMet"), stored(), refusal(412), refusal(404)]
    assert await _read(store, if_match="1795776927783438") == b"bytes"
    for kind in (Kind.CHANGED, Kind.NOT_FOUND):
        with pytest.raises(StoreError) as caught:
            await _read(store, if_match="1795776927783438")
        assert caught.value.kind is kind
    assert mock.seen[0].query["ifGenerationMatch"] == "1795776927783438"


async def test_what_is_stored_as_gzip_comes_as_it_is_stored_by_a_mock(store, mock):
    mock.replies.append(media(b"packed", **{"content-encoding": "gzip"}))
    assert await _read(store) == b"packed"
    assert mock.seen[0].headers["accept-encoding"] == "gzip"


async def test_what_is_read_as_json_is_not_packed_by_a_mock(store, mock):
    mock.replies.append(stored())
    await store.stat(KEY)
    assert mock.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("wanted", "ranges"),
    [
        (From(0), ["bytes=0-262143", "bytes=262144-524287", "bytes=524288-599999"]),
        (FromTo(1000, 300_000), ["bytes=1000-263143", "bytes=263144-299999"]),
    ],
)
async def test_no_request_asks_for_more_than_the_chunk_size_by_a_mock(mock, wanted, ranges):
    data = b"0123456789" * 60_000

    def part(seen):
        start, stop = (int(place) for place in seen.headers["range"][6:].split("-"))
        _, text, headers = media(data[start : stop + 1])
        return 206, text, {**headers, "content-range": f"bytes {start}-{stop}/{len(data)}"}

    mock.replies += [stored(size=str(len(data))), *[part] * len(ranges)]
    async with opened(mock, MLFLOW_GCS_DOWNLOAD_CHUNK_SIZE="262144") as store:
        start, stop = (0, len(data)) if wanted == From(0) else (wanted.start, wanted.stop)
        assert await _read(store, wanted=wanted) == data[start:stop]
    assert [seen.headers["range"] for seen in mock.seen[1:]] == ranges
    assert {seen.query["ifGenerationMatch"] for seen in mock.seen[1:]} == {"1795776927783438"}


# -- listings and parts --------------------------------------------------------------------------------------


async def test_a_folder_is_listed_once_page_by_page_by_a_mock(store, mock):
    def named(*names):
        return [json.loads(stored(name=f"folder/a/{name}")[1]) for name in names]

    first = {"items": named("", "b", "d"), "prefixes": ["folder/a/c/", "folder/a//"], "nextPageToken": "next"}
    mock.replies += [(200, json.dumps(first), {}), (200, json.dumps({"items": named("e", "f/g/")}), {})]
    found = [entry.key async for entry in store.list(Key("a"), after="a/a")]
    assert found == ["a/b", "a/c", "a/d", "a/e"]
    assert [seen.query.get("pageToken") for seen in mock.seen] == [None, "next"]
    for seen in mock.seen:
        assert (seen.query["prefix"], seen.query["delimiter"]) == ("folder/a/", "/")
        assert (seen.query["startOffset"], seen.query["maxResults"]) == ("folder/a/a", "1000")


async def test_parts_are_composed_as_they_were_seen_by_a_mock(store, mock):
    about = stored(metadata={"shoso-key": "run/weights.bin"}, contentType="text/plain")
    md5 = base64.b64encode(bytes(16)).decode()
    part = json.loads(stored(name=f"folder/.shoso/uploads/{'a' * 32}/00001", size="5", md5Hash=md5)[1])
    listed = (200, json.dumps({"items": [part]}), {})
    mock.replies += [about, listed, about, listed, stored(size="5")]
    ref = UploadRef(KEY, "a" * 32)
    [named] = await store.uploads.parts(ref)
    assert named.etag == "0" * 32
    await store.uploads.finish(ref, [named])
    composed = mock.seen[4]
    assert composed.path == "/storage/v1/b/bucket/o/folder%2Frun%2Fweights.bin/compose"
    assert json.loads(composed.body) == {
        "sourceObjects": [
            {"name": part["name"], "objectPreconditions": {"ifGenerationMatch": part["generation"]}}
        ],
        "destination": {
            "name": "folder/run/weights.bin",
            "contentType": "text/plain",
            "metadata": {"shoso-upload": "a" * 32},
        },
    }
    assert [seen.method for seen in mock.seen[5:]] == ["DELETE", "GET"]
