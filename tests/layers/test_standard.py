"""The stack: its order, and that no verb gets lost on the way through any layer."""

from __future__ import annotations

import inspect

import pytest
from tests.conformance import expect
from tests.layers.stubs import KEY, UPLOAD_VERBS, VERBS, Breaking, Limited, Notes, Recorder, filled

from shoso.core.keys import ROOT, Key
from shoso.core.store import Store, Uploads, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import ALL, CREATE, FromTo
from shoso.errors import Kind
from shoso.layers import Policy, rooted, standard
from shoso.layers.check import Check
from shoso.layers.faults import Faults
from shoso.layers.layer import Layer
from shoso.layers.ledger import Ledger
from shoso.layers.limits import Limits
from shoso.layers.observe import Observe
from shoso.layers.prefix import PrefixLayer
from shoso.layers.retry import RetryLayer, RetryPolicy
from shoso.stores.local import LocalStore
from shoso.stores.memory import MemoryStore

QUICK = Policy(RetryPolicy(attempts=3, first=0.0001, longest=0.0001))
LAYERS = {
    "layer": Layer,
    "check": Check,
    "ledger": lambda inner: Ledger(inner, Notes()),
    "observe": lambda inner: Observe(inner, [].append),
    "retry": lambda inner: RetryLayer(inner, QUICK.retry),
    "limits": lambda inner: Limits(inner, 30.0),
    "faults": lambda inner: Faults(inner, iter([])),
    "prefix": lambda inner: PrefixLayer(inner, Key("folder")),
    "standard": lambda inner: standard(inner, QUICK),
}


def _chain(store) -> list[type]:
    return [type(store), *(_chain(store.inner) if isinstance(store, Layer) else [])]


def test_the_order_is_decided_here():
    inner = MemoryStore()
    assert _chain(standard(inner)) == [Check, Observe, RetryLayer, Limits, MemoryStore]
    with_book = standard(inner, Policy(book=Notes()))
    assert _chain(with_book) == [Check, Ledger, Observe, RetryLayer, Limits, MemoryStore]
    assert _chain(rooted(standard(inner), Key("folder")))[0] is PrefixLayer


async def test_nonsense_is_refused_before_it_is_counted():
    spans, inner = [], Recorder()
    store = standard(inner, Policy(sink=spans.append))
    with expect.failure(Kind.INVALID_KEY):
        await store.stat(ROOT)
    assert (spans, inner.calls) == ([], [])


async def test_a_call_is_one_span_whatever_its_attempts():
    spans = []
    inner = await filled(Breaking(b"12345", iter([2, 1])), folder__object=b"12345")
    store = standard(inner, Policy(QUICK.retry, sink=spans.append))
    assert await read_bytes(store, KEY) == b"12345"
    assert [(span.op, span.size, span.error) for span in spans] == [("read", 5, None)]


async def test_attempts_take_one_permit_at_a_time():
    inner = await filled(Breaking(b"12345", iter([2, 1]), connections=1), folder__object=b"12345")
    assert await read_bytes(standard(inner, QUICK), KEY) == b"12345"


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_who_its_store_is(name):
    inner = Limited(connections=7)
    layer = LAYERS[name](inner)
    assert layer.info == inner.info
    assert layer.capabilities == inner.capabilities


@pytest.mark.parametrize("name", LAYERS)
async def test_a_layer_forwards_every_verb(name):
    inner = Recorder()
    layer = LAYERS[name](inner)
    folder = "folder/" if name == "prefix" else ""
    key, outer = Key("object"), f"{folder}object"
    source = BytesSource(b"12345")
    await layer.write(key, source, CREATE, "text/plain")
    meta = await layer.stat(key)
    assert (meta.key, meta.content_type) == ("object", "text/plain")
    async with await layer.read(key, FromTo(1, 2), meta.etag) as reading:
        assert [bytes(data) async for data in reading.body] == [b"2"]
    assert [entry async for entry in layer.list(ROOT, True, "a")] == [meta]
    await layer.move([(key, Key("moved"))])
    await layer.delete([Key("moved")])
    ref = await layer.uploads.begin(key, 5, "text/plain", 8)
    assert [found async for found in layer.uploads.pending(ROOT)] == [ref]
    part = await layer.uploads.put(ref, 1, source)
    assert await layer.uploads.parts(ref) == [part]
    await layer.uploads.finish(ref, [part], part.digest)
    await layer.uploads.abort(await layer.uploads.begin(key))
    await layer.close()
    seen = {verb for verb, _ in inner.calls}
    assert seen >= {*VERBS, *UPLOAD_VERBS}
    written, sent, *rest = inner.of("write")[0]
    assert (written, sent.size, rest) == (outer, 5, [CREATE, "text/plain"])
    assert (outer, FromTo(1, 2), meta.etag) in inner.of("read")
    assert (Key(folder.rstrip("/")), True, f"{folder}a") in inner.of("list")
    assert inner.of("move") == [([(outer, f"{folder}moved")],)]
    assert inner.of("begin")[0] == (outer, 5, "text/plain", 8)
    assert inner.of("finish")[0][2] == part.digest


def _shape(function) -> list[tuple]:
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


def _kind(function) -> str:
    """How it is called: awaited, iterated."""
    if str(inspect.signature(function).return_annotation).startswith("AsyncIterator"):
        return "iterated"
    return "awaited" if inspect.iscoroutinefunction(function) else "called"


STORES = [MemoryStore, LocalStore, Layer, Check, Ledger, Observe, RetryLayer, Limits, Faults, PrefixLayer]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("store", STORES, ids=lambda store: store.__name__)
def test_every_store_and_layer_has_every_verb_as_it_is_in_the_contract(store, verb):
    assert _shape(getattr(store, verb)) == _shape(getattr(Store, verb))
    assert _kind(getattr(store, verb)) == _kind(getattr(Store, verb))


@pytest.mark.parametrize("verb", UPLOAD_VERBS)
@pytest.mark.parametrize("name", ["memory", *LAYERS])
def test_every_uploads_has_every_verb_as_it_is_in_the_contract(name, verb):
    uploads = type((MemoryStore() if name == "memory" else LAYERS[name](MemoryStore())).uploads)
    assert _shape(getattr(uploads, verb)) == _shape(getattr(Uploads, verb))
    assert _kind(getattr(uploads, verb)) == _kind(getattr(Uploads, verb))


async def test_a_local_stores_uploads_have_every_verb_as_it_is_in_the_contract():
    from shoso.stores.local.uploads import LocalUploads

    for verb in UPLOAD_VERBS:
        assert _shape(getattr(LocalUploads, verb)) == _shape(getattr(Uploads, verb))
        assert _kind(getattr(LocalUploads, verb)) == _kind(getattr(Uploads, verb))


async def test_reading_all_is_the_default():
    inner = await filled(Recorder(), folder__object=b".")
    await read_bytes(standard(inner, QUICK), KEY)
    assert inner.of("read") == [(KEY, ALL, None)]
