"""shoso:// for fsspec and whatever reads by it, against a real server."""

from __future__ import annotations

import os
import pickle

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

import shoso
from shoso.client.filesystem import ShosoFileSystem
from shoso.errors import Kind, StoreError

DATA = bytes(range(256)) * 2000


@pytest.fixture
def fs(run, server):
    shoso.log_text("a", "a.txt")
    shoso.log_text("bb", "deep/er/b.txt")
    with fsspec.filesystem("shoso").open(f"runs/{run.info.run_id}/a.txt") as file:
        assert file.read() == b"a"
    return fsspec.filesystem("shoso", tracking_uri=server.uri)


@pytest.fixture
def root(fs, run):
    return f"shoso://runs/{run.info.run_id}"


@pytest.fixture
def data(fs, root):
    fs.pipe(f"{root}/data.bin", DATA)
    return f"{root}/data.bin"


def names(found, root) -> list[str]:
    return [name.removeprefix(root.removeprefix("shoso://")).strip("/") for name in found]


def test_fsspec_knows_the_scheme():
    assert isinstance(fsspec.filesystem("shoso"), ShosoFileSystem)
    assert fsspec.get_filesystem_class("shoso") is ShosoFileSystem


def test_folders_are_listed(fs, root):
    assert names(fs.ls(root, detail=False), root) == ["a.txt", "deep"]
    file, folder = fs.ls(root)
    assert (file["type"], file["size"], folder["type"], folder["size"]) == ("file", 1, "directory", 0)
    assert names(fs.ls(f"{root}/deep/", detail=False), root) == ["deep/er"]
    assert names(fs.ls(f"{root}/a.txt", detail=False), root) == ["a.txt"]
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{root}/nothing")


def test_everything_below_is_found(fs, root):
    assert names(fs.find(root), root) == ["a.txt", "deep/er/b.txt"]
    assert names(fs.find(f"{root}/a.txt"), root) == ["a.txt"]
    assert fs.find(f"{root}/nothing") == []
    assert [info["size"] for info in fs.find(root, detail=True).values()] == [1, 2]
    assert names(fs.find(root, withdirs=True), root) == ["", "a.txt", "deep", "deep/er", "deep/er/b.txt"]
    assert names(fs.glob(f"{root}/**/*.txt"), root) == ["a.txt", "deep/er/b.txt"]
    assert fs.du(root) == 3


def test_files_and_folders_are_told_apart(fs, root):
    assert fs.isfile(f"{root}/a.txt")
    assert fs.isdir(f"{root}/deep")
    assert fs.isdir(root)
    assert not fs.exists(f"{root}/nothing")
    assert fs.info(f"{root}/a.txt")["ETag"]
    before = fs.checksum(f"{root}/a.txt")
    fs.pipe(f"{root}/a.txt", b"c")
    assert fs.checksum(f"{root}/a.txt") != before


@pytest.mark.parametrize(
    "url", ["shoso://", "shoso://runs", "shoso://runs/", "shoso://elsewhere/1/a", "a.txt"]
)
def test_what_is_no_url_of_artifacts_is_refused(fs, url):
    with pytest.raises(StoreError, match=r"write shoso://runs/<run_id>/<path>"):
        fs.info(url)


@pytest.mark.parametrize("url", ["../other", "a/../../x", "a//b"])
def test_no_url_leads_out_of_the_run(fs, root, url):
    with pytest.raises(StoreError) as caught:
        fs.cat(f"{root}/{url}")
    assert caught.value.kind is Kind.INVALID_KEY


SPANS = [
    (None, None),
    (0, 10),
    (5, None),
    (-10, None),
    (-10, -5),
    (10, -10),
    (5, 5),
    (7, 3),
    (0, 10**9),
    (10**9, None),
]


@pytest.mark.parametrize(("start", "end"), SPANS)
def test_bytes_are_taken_as_a_slice_has_them(fs, data, start, end):
    assert fs.cat_file(data, start, end) == DATA[start:end]


def test_bytes_of_nothing_are_an_error(fs, root):
    for span in ((None, None), (3, 3), (-1, None)):
        with pytest.raises(FileNotFoundError):
            fs.cat_file(f"{root}/nothing", *span)


def test_files_are_fetched_and_sent(fs, root, data, tmp_path):
    fs.get(data, str(tmp_path / "new" / "data.bin"))
    assert (tmp_path / "new" / "data.bin").read_bytes() == DATA
    fs.get(root, str(tmp_path / "all"), recursive=True)
    assert (tmp_path / "all" / "deep" / "er" / "b.txt").read_text() == "bb"
    fs.put(str(tmp_path / "all"), f"{root}/again", recursive=True)
    assert fs.cat(f"{root}/again/deep/er/b.txt") == b"bb"
    with (tmp_path / "open").open("wb") as file:
        fs.get_file(data, file)
    assert (tmp_path / "open").read_bytes() == DATA


def test_files_are_written_from_memory(fs, root):
    with pytest.raises(FileExistsError):
        fs.pipe_file(f"{root}/a.txt", b"x", mode="create")
    fs.pipe_file(f"{root}/new.txt", b"x", mode="create")
    assert fs.cat(f"{root}/new.txt") == b"x"
    with pytest.raises(ValueError, match="write with put or pipe"):
        fs.open(f"{root}/a.txt", "wb")


def test_files_and_folders_are_deleted(fs, root):
    fs.rm(f"{root}/a.txt")
    assert names(fs.find(root), root) == ["deep/er/b.txt"]
    fs.rm(f"{root}/deep", recursive=True)
    assert fs.find(root) == []
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{root}/deep", recursive=True)
    fs.makedirs(f"{root}/deep")


def test_text_and_compression_are_fsspecs(fs, root):
    with fs.open(f"{root}/deep/er/b.txt", "r") as file:
        assert file.read() == "bb"


def test_it_travels_to_another_process(fs, data):
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat_file(data, 0, 3) == DATA[:3]


def test_a_forked_child_reads(fs, data):
    if (child := os.fork()) == 0:
        try:
            os._exit(0 if fs.cat_file(data, 0, 3) == DATA[:3] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_artifacts_of_a_model_are_read(fs, experiment):
    client = shoso.Client()
    model = client.create_logged_model(experiment.experiment_id, "m").model_id
    fs.pipe(f"shoso://models/{model}/a.txt", b"of a model")
    assert fs.cat(f"shoso://models/{model}/a.txt") == b"of a model"


def test_artifacts_of_a_runs_model_are_read_by_its_name(fs, root, run):
    client = shoso.Client()
    model = client.create_logged_model(run.info.experiment_id, "m", run.info.run_id).model_id
    fs.pipe(f"shoso://models/{model}/deep/a.txt", b"abc")
    assert fs.cat_file(f"{root}/m/deep/a.txt", 1) == b"bc"
    assert fs.isdir(f"{root}/m/deep")
    assert names(fs.ls(f"{root}/m", detail=False), root) == ["m/deep"]
    assert names(fs.find(f"{root}/m"), root) == ["m/deep/a.txt"]
    with fs.open(f"{root}/m/deep/a.txt") as file:
        assert file.read() == b"abc"


# -- libraries --------------------------------------------------------------------------------------------


def test_pandas_reads_csv_and_parquet(fs, root):
    table = pd.DataFrame({"n": range(1000), "t": [f"t{n}" for n in range(1000)]})
    fs.pipe(f"{root}/t.csv", table.to_csv(index=False).encode())
    fs.pipe(f"{root}/t.parquet", table.to_parquet())
    pd.testing.assert_frame_equal(pd.read_csv(f"{root}/t.csv"), table)
    pd.testing.assert_frame_equal(pd.read_parquet(f"{root}/t.parquet"), table)


def test_pyarrow_reads_columns_and_data_sets(fs, root):
    table = pa.table({"n": range(100_000), "x": np.random.default_rng(0).random(100_000)})
    for part in range(3):
        sink = pa.BufferOutputStream()
        pa.parquet.write_table(table, sink, row_group_size=10_000)
        fs.pipe(f"{root}/set/{part}.parquet", sink.getvalue().to_pybytes())
    path = f"{root}/set".removeprefix("shoso://")
    assert pa.parquet.read_table(f"{path}/0.parquet", columns=["n"], filesystem=fs).equals(
        table.select(["n"])
    )
    assert pa.dataset.dataset(path, filesystem=fs, format="parquet").count_rows() == 300_000
