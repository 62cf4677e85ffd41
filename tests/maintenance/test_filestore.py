"""File stores that are damaged, or made to do harm: what is wrong is named, the rest is read."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from shoso.client.places import Places
from shoso.client.settings import client_settings
from shoso.core import keys
from shoso.maintenance.artifacts import Artifacts, Source
from shoso.maintenance.filestore import (
    Problems,
    experiments,
    files,
    meta,
    models,
    registered_models,
    runs,
    values,
)
from shoso.maintenance.filestore.files import Unreadable
from shoso.wire.entities import encode

RUN = "0123456789abcdef0123456789abcdef"
EXPERIMENT_META = "experiment_id: '1'\nname: e\nartifact_location: s3://b/1\nlifecycle_stage: active\n"
RUN_META = (
    f"artifact_uri: s3://b/a\nend_time: null\nexperiment_id: '1'\nrun_id: {RUN}\nstart_time: 5\nstatus: 3\n"
    "user_id: me\n"
)


class Store:
    """A file store with one experiment and one run, written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems = Problems(root)
        self.run = root / "1" / RUN
        self.put("1/meta.yaml", EXPERIMENT_META)
        self.put(f"1/{RUN}/meta.yaml", RUN_META)

    def put(self, path: str, said: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(said.encode() if isinstance(said, str) else said)
        return file

    def experiments(self):
        return [*experiments(self.root, self.problems)]

    def runs(self):
        return [run for one in self.experiments() for run in runs(one, self.run, self.problems)]

    def the_run(self):
        [run] = self.runs()
        return run

    def told(self) -> dict[str, str]:
        return {one.path: one.message for one in self.problems.kept}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "mlruns")


# -- meta.yaml --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "empty"),
        ("run_id: [", "isn't YAML"),
        ("- a\n- b", "no flat mapping"),
        ("just text", "no flat mapping"),
        ("run_id: &a x\nother: *a", "no flat mapping"),
        ("a: &a [x]\nb: *a", "anchor"),
        ("run_id: !!python/object/apply:os.system ['true']", "artifact_uri"),
        ("run_id: !!python/name:os.system ''", "type"),
        ("run_id: !!binary aGk=", "type"),
        ("a: {b: {c: {d: e}}}", "no flat mapping"),
        ("a: " + "[" * 100_000, "no flat mapping"),
        ("a: " + "{a: " * 100_000, "no flat mapping"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("run_id: \"a\\0b\"", "NUL"),
        (RUN_META[:20], "'status'"),
        (RUN_META[: RUN_META.index("user_id")], "'user_id'; it may be half written"),
        (RUN_META[:-1], "breaks off"),
        (RUN_META[: RUN_META.index("5\n")], "'status'"),
        (RUN_META.replace(RUN, "f" * 32), "not its folder's name"),
        (RUN_META.replace(RUN, "../../etc"), "not its folder's name"),
        (RUN_META.replace("start_time: 5", "start_time: soon"), "'start_time'"),
        (RUN_META.replace("start_time: 5", f"start_time: {2**64}"), "'start_time'"),
        (RUN_META.replace("start_time: 5", "start_time: 1.5"), "'start_time'"),
        (RUN_META.replace("start_time: 5", "start_time: {a: b}"), "'start_time'"),
        (RUN_META.replace("status: 3", "status: 77"), "'status'"),
        (RUN_META.replace("status: 3", "status: {}"), "'status'"),
        (RUN_META + "lifecycle_stage: zombie\n", "'lifecycle_stage'"),
        (RUN_META.replace("s3://b/a", "s3://user:secret@b/a"), "password"),
    ],
)  # fmt: skip
def test_a_damaged_meta_yaml_is_named_and_the_run_left_out(store, said, words):
    store.put(f"1/{RUN}/meta.yaml", said)
    assert store.runs() == []
    told = store.told()
    assert list(told) == [f"1/{RUN}/meta.yaml"]
    assert words in told[f"1/{RUN}/meta.yaml"]
    assert "secret" not in str(told)


def test_a_meta_yaml_that_is_missing_is_named(store):
    (store.run / "meta.yaml").unlink()
    assert store.runs() == []
    assert "can't be opened" in store.told()[f"1/{RUN}/meta.yaml"]


def test_a_meta_yaml_that_is_too_large_is_not_read(store, monkeypatch):
    monkeypatch.setattr(meta, "META_MAX", 100)
    store.put(f"1/{RUN}/meta.yaml", RUN_META + "x: " + "y" * 100)
    [one] = Store(store.root.with_name("other")).experiments()
    assert [*runs(one, store.run, store.problems)] == []
    assert "more than 100 bytes" in store.told()[f"1/{RUN}/meta.yaml"]


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("a: 5", 5), ("a: -5", -5), ("a: '5'", "5"), ("a: null", None), ("a: ~", None), ("a:", None),
        ("a: 'null'", "null"), ("a: true", True), ("a: text", "text"), ("a: 2020-01-01", "2020-01-01"),
        ("a: 1e3", "1e3"), ("a: 0x10", "0x10"), ('a: "x\\ny \\u00fc"', "x\ny ü"), ("a: 'it''s'", "it's"),
        ("a: one\n  two", "one two"), ("a: |\n  one\n  two\n", "one\ntwo\n"),
        ("a: {}", {}), ("a: {b: c}", {"b": "c"}),
        ("a: !!str 5", "5"), ("a: ''", ""), ("a: yes", "yes"),
    ],
)  # fmt: skip
def test_scalars_are_what_mlflow_writes(said, value):
    assert meta.parsed(said) == {"a": value}


def test_many_aliases_cost_nothing(store):
    """A "billion laughs": ten lists of ten aliases each of the one before."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    started = time.monotonic()
    store.put(f"1/{RUN}/meta.yaml", "\n".join(lines))
    assert store.runs() == []
    assert time.monotonic() - started < 2


# -- links and names --------------------------------------------------------------------------------------


def test_links_are_not_followed(store, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "meta.yaml").write_text(EXPERIMENT_META.replace("'1'", "'2'"))
    (secret / "key").write_text("private")
    (store.root / "2").symlink_to(secret)
    (store.run / "params").symlink_to(secret)
    (store.run / "tags").mkdir()
    (store.run / "tags" / "t").symlink_to(secret / "key")
    (store.run / "tags" / "folder").symlink_to(secret)
    run = store.the_run()
    assert (run.tags, "private" in repr(run)) == ([], False)
    told = store.told()
    assert set(told) == {"2", f"1/{RUN}/params", f"1/{RUN}/tags/t", f"1/{RUN}/tags/folder"}


def test_a_meta_yaml_that_is_a_link_is_not_read(store, tmp_path):
    (tmp_path / "elsewhere").write_text(RUN_META)
    (store.run / "meta.yaml").unlink()
    (store.run / "meta.yaml").symlink_to(tmp_path / "elsewhere")
    assert store.runs() == []


def test_a_pipe_holds_nobody_up(store):
    for name in ("params", "metrics"):
        (store.run / name).mkdir()
        os.mkfifo(store.run / name / "p")
    (store.run / "meta.yaml").unlink()
    os.mkfifo(store.run / "meta.yaml")
    assert store.runs() == []
    assert "no file" in store.told()[f"1/{RUN}/meta.yaml"]


def test_folders_that_are_no_experiments_are_named_or_passed_by(store):
    for name in ("notes", "-1", "01", "9" * 19, ".git", ".trash", "models"):
        (store.root / name).mkdir()
    assert [one.found.experiment_id for one in store.experiments()] == [1]
    assert set(store.told()) == {"notes", "-1", "01", "9" * 19}


def test_what_is_in_the_trash_is_deleted_whatever_it_says(store):
    store.put(".trash/3/meta.yaml", EXPERIMENT_META.replace("'1'", "'3'").replace("name: e", "name: f"))
    assert [(one.found.name, one.found.lifecycle_stage) for one in store.experiments()] == [
        ("e", "active"),
        ("f", "deleted"),
    ]


@pytest.mark.parametrize("run_id", ["a b", "..x", "x" * 33, "-a", "ü\n"])
def test_a_name_that_is_no_id_is_no_run(store, run_id):
    folder = store.put(
        f"1/{run_id}/meta.yaml", RUN_META.replace(RUN, f'"{run_id.encode("unicode_escape").decode()}"')
    )
    [one] = store.experiments()
    assert [*runs(one, folder.parent, store.problems)] == []
    assert "run_id" in next(iter(store.told().values()))


# -- values -----------------------------------------------------------------------------------------------


def test_values_are_kept_to_the_character(store):
    said = {"a": "x\r\ny\n", "deep/er": "", "ü": " 名前 ", "long": "z" * 100_000}
    for key, value in said.items():
        store.put(f"1/{RUN}/params/{key}", value)
        store.put(f"1/{RUN}/tags/{key}", value)
    run = store.the_run()
    assert {one.key: one.value for one in run.params} == said
    assert {one.key: one.value for one in run.tags} == said
    assert store.told() == {}


@pytest.mark.parametrize(("key", "value"), [("a$b", "x"), ("k" * 251, "x"), ("a", b"\xff"), ("a", "x\0y")])
def test_a_value_that_cannot_be_kept_is_named_and_the_others_are_kept(store, key, value):
    name = key if len(key) < 255 else key[:250]
    store.put(f"1/{RUN}/params/{name}", value)
    store.put(f"1/{RUN}/params/good", "v")
    assert [one.key for one in store.the_run().params] == ["good"]
    assert list(store.told()) == [f"1/{RUN}/params/{name}"]


def test_a_value_that_is_too_large_is_not_read(store):
    path = store.put(f"1/{RUN}/params/big", "")
    os.truncate(path, files.VALUE_MAX + 1)  # a hole, which costs no disk
    assert store.the_run().params == []
    assert "16,777,216 bytes" in store.told()[f"1/{RUN}/params/big"]


def test_points_of_every_version_are_read(store):
    store.put(f"1/{RUN}/metrics/a/m", "5 0.5\n6 nan 7\n8 -inf -9\n9 1e3 10 data digest\n")
    points = [(p.key, p.value, p.timestamp, p.step) for p in store.the_run().metrics]
    assert points == [
        ("a/m", 0.5, 5, 0), ("a/m", "NaN", 6, 7), ("a/m", "-Infinity", 8, -9), ("a/m", 1000.0, 9, 10)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "kept", "words"),
    [
        ("5 0.5 1\n6 0.6 2\n7 0.", 2, "Line 3"),
        ("5 0.5 1\nnonsense\n\n6 x 2\n6 0.6 2\n", 2, "Line 2 is no point of a metric (3 of 5 lines are not)"),
        ("5 1 99999999999999999999\n", 0, "Line 1"),
        ("", 0, "no points"),
        ("x" * 100_000 + " 5 5\n1 1 1\n", 1, "Line 1"),
        (b"5 0.5 1\n\xff\xff 1 1\n", 1, "Line 2"),
        (b"5 0.5 1\n\0\0\0\0\0", 1, "Line 2"),
    ],
)
def test_a_metric_that_breaks_off_keeps_what_is_whole(store, said, kept, words):
    store.put(f"1/{RUN}/metrics/m", said)
    assert len(store.the_run().metrics) == kept
    assert words in store.told()[f"1/{RUN}/metrics/m"]


def test_a_metric_of_any_size_is_never_held_whole(store, monkeypatch):
    monkeypatch.setattr(sys.modules[runs.__module__], "PART", 1400)
    store.put(f"1/{RUN}/metrics/m", "".join(f"{step} 1.0 {step}\n" for step in range(100, 350)))
    parts = store.runs()
    shown = [(part.part, part.more) for part in parts]
    assert shown == [(0, True), (1, True), (2, True), (3, False)]
    assert [point.step for part in parts for point in part.metrics] == [*range(100, 350)]
    assert max(len(encode(part.metrics)) for part in parts) < 1600
    assert (parts[1].tags, parts[1].artifact_uri) == ([], "")


def test_keys_lie_only_so_deep(store):
    store.put(f"1/{RUN}/params/" + "/".join("d" * (files.DEPTH_MAX + 3)), "x")
    assert store.the_run().params == []
    assert "deep" in next(iter(store.told().values()))


def test_problems_are_counted_and_the_first_are_kept(store):
    for number in range(Problems.KEPT + 5):
        store.problems.note(store.run / str(number), "x")
    assert (store.problems.count, len(store.problems.kept)) == (Problems.KEPT + 5, Problems.KEPT)


# -- everything else --------------------------------------------------------------------------------------


def test_an_input_of_a_dataset_that_is_not_there_is_named(store):
    for number, source in enumerate(("absent", "../../secret", "")):
        store.put(
            f"1/{RUN}/inputs/{number}/meta.yaml", f"source_type: DATASET\nsource_id: '{source}'\ntags: {{}}\n"
        )
    assert store.the_run().datasets == []
    assert len(store.told()) == 3


def test_a_model_and_a_version_that_are_damaged_are_named(store):
    store.put("1/models/m-1/meta.yaml", "artifact_location: x\nmodel_id: m-2\nstatus: 1\n")
    [one] = store.experiments()
    assert models(one, store.root / "1/models/m-1", store.problems) is None
    store.put("models/good/meta.yaml", "name: good\n")
    store.put("models/good/version-1/meta.yaml", "source: x\nversion: 7\n")
    store.put("models/good/version-2/meta.yaml", "current_stage: Elsewhere\nsource: x\nversion: 2\n")
    store.put("models/good/version-3/meta.yaml", "source: dummy-source\nversion: 3\n")
    store.put("models/good/aliases/a", "three")
    store.put("models/bad/meta.yaml", "name: good\n")
    [model] = registered_models(store.root, store.problems)
    assert [(version.version, version.source) for version in model.versions] == [(3, "dummy-source")]
    assert len(store.told()) == 5


def test_a_key_is_none_that_leads_elsewhere():
    for key in ("a$", "k" * 251, "a\nb", ""):
        with pytest.raises(Unreadable):
            values.checked(key)
    assert keys.parse("a/b") == values.checked("a/b")


# -- what would end everything ----------------------------------------------------------------------------


def test_a_name_that_is_not_utf8_is_a_problem_and_nobodys_else(store, tmp_path):
    store.put("models/m/meta.yaml", "name: m\n")
    store.put("models/m/aliases/good", "1")
    for path in (
        b"1/bad\xff/meta.yaml",
        b"models/m/aliases/bad\xff",
        b"models/bad\xff/meta.yaml",
        b"bad\xff/x",
    ):
        file = store.root / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
    assert [folder.name for folder in files.subfolders(store.root / "1", store.problems)] == [RUN]
    [model] = registered_models(store.root, store.problems)
    assert [alias.key for alias in model.aliases] == ["good"]
    assert len(store.experiments()) == 1
    assert set(store.told().values()) == {"Its name is not UTF-8."}
    assert len(store.told()) == 4


def test_a_number_of_thousands_of_digits_is_no_status(store):
    store.put(f"1/{RUN}/meta.yaml", RUN_META.replace("status: 3", f"status: '{'9' * 5000}'"))
    assert store.runs() == []
    assert "'status'" in store.told()[f"1/{RUN}/meta.yaml"]


def test_a_dataset_whose_name_is_no_folders_is_named(store):
    (store.root / "1" / "datasets").mkdir()
    for number, name in enumerate(("d" * 300, "ü" * 200)):
        meta = f"source_id: {name}\nsource_type: DATASET\n"
        store.put(f"1/{RUN}/inputs/{number}/meta.yaml", meta)
    assert store.the_run().datasets == []
    assert {"no name of a dataset's folder" in message for message in store.told().values()} == {True}


@pytest.mark.parametrize("uri", ["/" + "a" * 300, "/x" * 3000, "file:///" + "a" * 300])
async def test_artifacts_at_a_path_that_can_be_none_are_those_beside(store, uri):
    store.put(f"1/{RUN}/artifacts/a.txt", "a")
    found = _artifacts(store).source(store.run, uri, store.problems)
    assert found == Source(store.run / "artifacts")


def test_a_version_from_an_experiment_of_thousands_of_digits_stays_what_it_is(store):
    uri = f"/x/{'1' * 5000}/{RUN}/artifacts/m"
    assert _artifacts(store).rewritten(uri, {}) == uri


def _artifacts(store):
    settings = client_settings({})
    return Artifacts.of(Places(None, settings), settings, store.root)
