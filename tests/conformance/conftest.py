"""The store under test: every subject, bare and under the standard layers, those of a server behind one."""

from __future__ import annotations

import os

import pytest
from tests.conformance import subjects

from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.core.types import UploadStyle


def pytest_generate_tests(metafunc):
    """Every test of a store with every one; those of uploads also where the size of the parts is known.

    SHOSO_TEST_STORE names the only one that a run is about: four thousand tests take long to collect.
    """
    if "opened" in metafunc.fixturenames:
        sized = subjects.SIZED if metafunc.module.__name__.endswith("test_uploads") else []
        only = os.environ.get("SHOSO_TEST_STORE")
        metafunc.parametrize("opened", [only] if only else [*subjects.DRESSED, *sized], indirect=True)


@pytest.fixture
async def opened(request, tmp_path):
    """The store, empty, and the ways around it."""
    subject, dress = request.param.rsplit("-", 1)
    _expect_failure(request, subjects.SUBJECTS[subject])
    async with subjects.opened(subject, dress, tmp_path / "root") as fresh:
        yield fresh


def _expect_failure(request, subject) -> None:
    """Mark a promise that the storage can't keep: the whole test, or this case of it."""
    name = request.node.originalname
    case = request.node.name.removeprefix(f"{name}[{request.param}").removesuffix("]").lstrip("-")
    for promises, strict in ((subject.unkept, True), (subject.at_times, False)):
        if why := promises.get(name) or promises.get(f"{name} {case}"):
            request.applymarker(pytest.mark.xfail(reason=why, strict=strict))


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """Nobody pulls the plug here, and a slow disk is no test; tests/stores/test_local_durable.py is one."""
    if "SHOSO_TEST_SYNC" not in os.environ:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        monkeypatch.setattr(os, "fdatasync", lambda _: None)


@pytest.fixture
def store(opened):
    """The store, empty."""
    return opened.store


@pytest.fixture
def uploads(store):
    """The store's Uploads, where it takes objects in parts."""
    if store.capabilities.uploads is UploadStyle.NONE:
        pytest.skip("the store says that it takes no objects in parts")
    return store.uploads


@pytest.fixture
def create(store):
    """Only for stores that honour CREATE."""
    if not store.capabilities.create:
        pytest.skip("the store says that it can't refuse what is there")


@pytest.fixture
def if_match(store):
    """Only for stores that honour IfMatch."""
    if not store.capabilities.if_match:
        pytest.skip("the store says that no write can depend on an etag")


@pytest.fixture
async def etags(store):
    """Only for stores that give etags; those that honour IfMatch must."""
    written = await store.write(Key("probe"), BytesSource(b"."))
    await store.delete([Key("probe")])
    if written.etag is None and not store.capabilities.if_match:
        pytest.skip("the store gives no etags")


@pytest.fixture
def ranges(store):
    """Only for stores that can read from the middle."""
    if not store.capabilities.ranges:
        pytest.skip("the store says that it reads from the start only")
