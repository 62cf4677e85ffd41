"""Artifacts by URI: logged, listed, fetched, loaded and opened, against a real server."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shoso
from shoso.errors import ConfigError, Kind, NotFound, ShosoError, StoreError


def uri_of(run, path: str = "") -> str:
    return f"runs:/{run.info.run_id}/{path}".rstrip("/")


def refused(kind: Kind, call, *arguments, **named) -> str:
    with pytest.raises(ShosoError) as caught:
        call(*arguments, **named)
    assert caught.value.kind is kind
    return str(caught.value)


def tree(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "weights"
    (made / "deep").mkdir(parents=True)
    (made / "a.bin").write_bytes(b"a" * 1000)
    (made / "deep" / "b.txt").write_text("b")
    return made


# -- logging ----------------------------------------------------------------------------------------------


def test_a_folder_is_logged_under_its_name_or_as_what_is_in_it(run, folder, monkeypatch):
    shoso.log_artifact(folder)
    monkeypatch.chdir(folder)
    shoso.log_artifact(".", "here")
    shoso.log_artifact("../weights/", "there")
    shoso.log_artifacts("deep")
    paths = {info["name"].partition("artifacts/")[2] for info in everything(run)}
    assert paths == {
        f"{above}weights/{name}" for above in ("", "here/", "there/") for name in ("a.bin", "deep/b.txt")
    } | {"b.txt"}


def everything(run) -> list[dict[str, str]]:
    place = shoso.client.blocking.run(shoso.client.link.to(None).places.open(uri_of(run)))
    return [
        {"name": entry.key} for entry in shoso.client.blocking.iterate(place.store.list(place.key, deep=True))
    ]


def test_an_empty_folder_is_nothing(run, tmp_path):
    (tmp_path / "empty").mkdir()
    shoso.log_artifacts(tmp_path / "empty")
    shoso.log_artifact(tmp_path / "empty")
    assert shoso.artifacts.list_artifacts(uri_of(run)) == []


def test_folders_that_are_logged_from_arent_held(run, tmp_path):
    """A script logs from thousands of temporary folders."""
    before = held()
    for n in range(20):
        (tmp_path / f"{n}").mkdir()
        (tmp_path / f"{n}" / "a.txt").write_text("x")
        shoso.log_artifact(tmp_path / f"{n}" / "a.txt")
        shoso.artifacts.download_artifacts(uri_of(run, "a.txt"), dst_path=tmp_path / f"{n}" / "got")
    assert held() <= before + 5


def held() -> int:
    """Files that are open, and threads."""
    return len([*Path("/proc/self/fd").iterdir(), *threading.enumerate()])


def test_links_are_followed_as_the_caller_meant(run, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    (folder / "linked.txt").symlink_to(folder / "deep" / "b.txt")
    shoso.log_artifact(tmp_path / "link")
    shoso.log_artifact(folder / "linked.txt")
    assert shoso.artifacts.load_text(uri_of(run, "link/deep/b.txt")) == "b"
    assert shoso.artifacts.load_text(uri_of(run, "linked.txt")) == "b"
    (tmp_path / "real").mkdir()
    (tmp_path / "there").symlink_to(tmp_path / "real")
    shoso.artifacts.download_artifacts(uri_of(run), dst_path=tmp_path / "there")
    shoso.artifacts.download_artifacts(uri_of(run, "link"), dst_path=tmp_path / "there" / "again")
    assert (tmp_path / "there").is_symlink()
    assert (tmp_path / "real" / "link" / "a.bin").read_bytes() == b"a" * 1000
    assert (tmp_path / "real" / "again" / "link" / "deep" / "b.txt").read_text() == "b"


def test_what_isnt_there_isnt_logged(run, folder):
    assert "no file or folder ''" in refused(Kind.NOT_FOUND, shoso.log_artifact, "")
    assert "no file or folder 'nothing'" in refused(Kind.NOT_FOUND, shoso.log_artifact, "nothing")
    assert "no file or folder" in refused(Kind.NOT_FOUND, shoso.log_artifacts, folder / "nothing")
    assert "log_artifact" in refused(Kind.INVALID, shoso.log_artifacts, folder / "a.bin")


@pytest.mark.parametrize("path", ["../up", "/etc", "a/../../b", "..", "C:\\x", "a\x00b"])
def test_no_name_leads_out_of_the_run(run, folder, path):
    refused(Kind.INVALID_KEY, shoso.log_artifact, folder / "a.bin", path)
    refused(Kind.INVALID_KEY, shoso.log_text, "x", f"{path}/x.txt")
    if path[0] not in "/C":  # these are names like any other once they are behind a run
        refused(Kind.INVALID_KEY, shoso.artifacts.load_text, uri_of(run, f"{path}/x.txt"))
    refused(Kind.INVALID_KEY, shoso.artifacts.list_artifacts, run_id=run.info.run_id, artifact_path=path)


@pytest.mark.parametrize("text", [1, b"x", "\udc80" * 10_000])
def test_a_text_is_one(run, text):
    words = refused(Kind.INVALID, shoso.log_text, text, "a.txt")
    assert "content of a text" in words
    assert len(words) < 200


@pytest.mark.parametrize("name", ["", "."])
def test_an_artifact_has_a_name(run, name):
    assert "needs a name" in refused(Kind.INVALID, shoso.log_text, "x", name)


def test_names_are_taken_as_they_are_written(run):
    for name in ("with space.txt", "ü/正倉.txt", "100%.txt", "a#b?.txt", "./dot.txt", "two//slashes.txt"):
        shoso.log_text(name, name)
        assert shoso.artifacts.load_text(uri_of(run, name.removeprefix("./").replace("//", "/"))) == name


def test_logging_again_replaces(run):
    shoso.log_text("first", "a.txt")
    shoso.log_text("second", "a.txt")
    assert shoso.artifacts.load_text(uri_of(run, "a.txt")) == "second"


def test_artifacts_go_to_the_run_that_is_named(run, folder):
    other = shoso.Client().create_run(run.info.experiment_id)
    shoso.log_text("x", "a.txt", run_id=other.info.run_id)
    shoso.log_dict({}, "a.json", run_id=other.info.run_id)
    shoso.log_artifact(folder / "a.bin", run_id=other.info.run_id)
    shoso.log_artifacts(folder, "all", run_id=other.info.run_id)
    shoso.log_table({"a": [1]}, "t.json", run_id=other.info.run_id)
    assert len(shoso.artifacts.list_artifacts(uri_of(other))) == 5
    assert shoso.artifacts.list_artifacts(uri_of(run)) == []


def test_the_uri_of_an_artifact_is_told(run):
    shoso.log_text("x", "deep/a.txt")
    assert shoso.get_artifact_uri() == run.info.artifact_uri
    assert shoso.artifacts.load_text(shoso.get_artifact_uri("deep/a.txt")) == "x"


def test_asking_for_a_uri_without_a_run_starts_one(experiment, caplog):
    assert shoso.get_artifact_uri().startswith("mlflow-artifacts:/")
    assert "get_artifact_uri starts one" in caplog.text


# -- documents --------------------------------------------------------------------------------------------


def test_yaml_needs_its_library(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match="pip install pyyaml"):
        shoso.log_dict({}, "a.yaml")
    shoso.log_dict({"a": 1}, "a.json")


@pytest.mark.parametrize(("module", "call"), [
    ("PIL", lambda: shoso.log_image(np.zeros((2, 2)), "a.png")),
    ("pandas", lambda: shoso.log_table({"a": [1]}, "a.json")),
])  # fmt: skip
def test_what_a_document_needs_is_named(run, monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install p(illow|andas)"):
        call()


def test_a_figure_is_one_of_a_library_that_makes_some(run):
    with pytest.raises(TypeError, match=r"one of matplotlib's or plotly's, not list"):
        shoso.log_figure([], "a.png")


@pytest.mark.parametrize(("array", "error", "words"), [
    (np.full((2, 2), 256), ValueError, "from 0 to 255"),
    (np.full((2, 2), -1), ValueError, "from 0 to 255"),
    (np.zeros((2, 2, 2)), ValueError, "1, 3 or 4 channels"),
    (np.zeros(3), ValueError, "height × width"),
    (np.array([["a"]]), TypeError, "numbers are boolean, integer"),
    ("image.png", TypeError, "not str"),
])  # fmt: skip
def test_what_is_no_image_is_refused(run, array, error, words):
    with pytest.raises(error, match=words):
        shoso.log_image(array, "a.png")


def test_pixels_beyond_their_range_are_scaled_with_a_warning(run):
    with pytest.warns(UserWarning, match=r"from 0.0 to 3.0 are scaled"):
        shoso.log_image(np.array([[0.0, 3.0]]), "a.png")
    assert [*shoso.artifacts.load_image(uri_of(run, "a.png")).tobytes()] == [0, 255]


@pytest.mark.parametrize(
    "arguments", [{}, {"artifact_file": "a.png", "key": "k"}, {"artifact_file": "a.png", "step": 1}]
)
def test_an_image_is_a_file_or_of_a_step(run, arguments):
    with pytest.raises(TypeError, match="An image"):
        shoso.log_image(np.zeros((2, 2)), **arguments)


@pytest.mark.parametrize("key", ["a#b", "ü", ""])
def test_the_key_of_an_image_is_plain(run, key):
    with pytest.raises(ValueError, match="key of an image"):
        shoso.log_image(np.zeros((2, 2)), key=key)


def test_a_thin_image_has_a_thumbnail_too(run):
    shoso.log_image(np.zeros((1, 2000)), key="thin")
    names = [info.path for info in shoso.artifacts.list_artifacts(uri_of(run, "images"))]
    [small] = [name for name in names if name.endswith(".webp")]
    assert shoso.artifacts.load_image(uri_of(run, small)).size == (256, 1)


def test_a_table_keeps_its_images_beside_it(run):
    images = [Image.new("RGB", (400, 100), (n, n, n)) for n in range(2)]
    shoso.log_table({"n": [0, 1], "image": images}, "tables/t.json")
    table = shoso.artifacts.load_dict(uri_of(run, "tables/t.json"))
    cell = table["data"][1][table["columns"].index("image")]
    assert cell["type"] == "image"
    assert shoso.artifacts.load_image(uri_of(run, cell["filepath"])).getpixel((0, 0)) == (1, 1, 1)
    assert shoso.artifacts.load_image(uri_of(run, cell["compressed_filepath"])).size == (256, 64)


def test_a_table_leaves_the_callers_alone(run):
    import pandas as pd

    image = Image.new("RGB", (4, 4))
    mine = pd.DataFrame({"image": [image]})
    shoso.log_table(mine, "t.json")
    assert mine["image"][0] is image


def test_a_table_that_cant_be_one_is_refused(run):
    with pytest.raises(ValueError, match=r"may not have : in it"):
        shoso.log_table({"a": [1]}, "a:b.json")
    with pytest.raises(ValueError, match=r"ends in \.json or \.parquet"):
        shoso.log_table({"a": [1]}, "a.csv")
    assert "not list" in refused(Kind.INVALID, shoso.log_table, [1], "a.json")
    with pytest.raises(ValueError, match="images and other things"):
        shoso.log_table({"a": [Image.new("RGB", (4, 4)), 1]}, "a.json")
    assert "can't be written" in refused(Kind.INVALID, shoso.log_table, {"a": [object(), 1]}, "a.parquet")


# -- what is there ----------------------------------------------------------------------------------------


def test_a_listing_is_of_one_folder(run, folder):
    shoso.log_artifacts(folder, "all")
    shoso.log_text("x", "z.txt")
    listed = [
        (info.path, info.is_dir, info.file_size) for info in shoso.artifacts.list_artifacts(uri_of(run))
    ]
    assert listed == [("all", True, None), ("z.txt", False, 1)]
    below = [("all/a.bin", False, 1000), ("all/deep", True, None)]
    for named in ({"artifact_uri": uri_of(run, "all")}, {"artifact_uri": shoso.get_artifact_uri("all")},
                  {"run_id": run.info.run_id, "artifact_path": "all"}):  # fmt: skip
        found = shoso.artifacts.list_artifacts(**named)
        assert [(info.path, info.is_dir, info.file_size) for info in found] == below
    assert shoso.artifacts.list_artifacts(uri_of(run, "nothing")) == []
    assert shoso.artifacts.list_artifacts(uri_of(run, "all/a.bin")) == []


def test_artifacts_are_fetched(run, folder, tmp_path):
    shoso.log_artifacts(folder, "all")
    fetched = shoso.artifacts.download_artifacts(uri_of(run, "all"), dst_path=tmp_path / "new" / "folder")
    assert fetched == str(tmp_path / "new" / "folder" / "all")
    assert tree(fetched) == tree(folder)
    whole = shoso.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(tmp_path / "whole"))
    assert tree(whole) == {f"all/{name}": data for name, data in tree(folder).items()}
    one = shoso.artifacts.download_artifacts(shoso.get_artifact_uri("all/deep/b.txt"), dst_path=tmp_path)
    assert Path(one).read_text() == "b"
    assert one == str(tmp_path / "b.txt")


def test_artifacts_are_fetched_to_a_folder_of_their_own(run, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shoso.log_text("x", "deep/a.txt")
    fetched = Path(shoso.artifacts.download_artifacts(uri_of(run, "deep/a.txt")))
    assert (fetched.name, fetched.read_text(), fetched.parents[1]) == ("a.txt", "x", tmp_path)


def test_what_is_on_this_machine_stays_where_it_is(server, folder):
    shoso.set_tracking_uri(server.uri)
    assert shoso.artifacts.download_artifacts(str(folder)) == str(folder)
    assert shoso.artifacts.download_artifacts(f"file://{folder}/a.bin") == f"{folder}/a.bin"


def test_storages_are_reached_without_a_server(folder, tmp_path):
    assert shoso.artifacts.load_text(f"{folder}/deep/b.txt") == "b"
    assert [info.path for info in shoso.artifacts.list_artifacts(f"file://{folder}")] == [
        "weights/a.bin",
        "weights/deep",
    ]
    fetched = shoso.artifacts.download_artifacts(str(folder), dst_path=tmp_path / "got")
    assert tree(fetched) == tree(folder)
    with shoso.artifacts.open(f"{folder}/a.bin") as file:
        assert file.read(2) == b"aa"
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        shoso.artifacts.load_text("runs:/1/a.txt")


def test_what_a_run_has_not_may_be_the_model_of_that_name(run, folder, tmp_path):
    client = shoso.Client()
    model = client.create_logged_model(run.info.experiment_id, "m", run.info.run_id).model_id
    client.log_model_artifacts(model, folder)
    assert shoso.artifacts.load_text(uri_of(run, "m/deep/b.txt")) == "b"
    listed = shoso.artifacts.list_artifacts(run_id=run.info.run_id, artifact_path="m")
    assert [info.path for info in listed] == ["m/a.bin", "m/deep"]
    fetched = shoso.artifacts.download_artifacts(uri_of(run, "m"), dst_path=tmp_path / "got")
    assert tree(fetched) == tree(folder)
    with shoso.artifacts.open(uri_of(run, "m/a.bin")) as file:
        assert file.size == 1000
    with pytest.raises(NotFound):
        shoso.artifacts.load_text(uri_of(run, "m/nothing"))


def test_what_isnt_there_isnt_fetched(run, tmp_path):
    with pytest.raises(NotFound):
        shoso.artifacts.download_artifacts(uri_of(run, "nothing"), dst_path=tmp_path / "got")
    assert not (tmp_path / "got" / "nothing").exists()


def test_an_artifact_is_named_one_way(run):
    for call in (shoso.artifacts.list_artifacts, shoso.artifacts.download_artifacts):
        assert "either artifact_uri or run_id" in refused(Kind.INVALID, call)
        assert "either artifact_uri or run_id" in refused(Kind.INVALID, call, "runs:/1", "1")
        assert "artifact_path goes with run_id" in refused(Kind.INVALID, call, "runs:/1", artifact_path="a")


def test_artifacts_are_loaded(run):
    shoso.log_text("Zwölf", "a.txt")
    shoso.log_dict({"a": [1]}, "a.json")
    shoso.log_image(Image.new("RGB", (3, 2), (9, 8, 7)), "a.png")
    assert shoso.artifacts.load_text(uri_of(run, "a.txt")) == "Zwölf"
    assert shoso.artifacts.load_dict(uri_of(run, "a.json")) == {"a": [1]}
    assert shoso.artifacts.load_image(uri_of(run, "a.png")).getpixel((0, 0)) == (9, 8, 7)


def test_what_cant_be_loaded_says_why(run, tmp_path):
    (tmp_path / "latin").write_bytes("ü".encode("latin1"))
    shoso.log_artifact(tmp_path / "latin")
    assert "is not UTF-8" in refused(Kind.INVALID, shoso.artifacts.load_text, uri_of(run, "latin"))
    shoso.log_text("{", "a.json")
    assert "is not JSON" in refused(Kind.INVALID, shoso.artifacts.load_dict, uri_of(run, "a.json"))
    assert "is no image" in refused(Kind.INVALID, shoso.artifacts.load_image, uri_of(run, "a.json"))
    refused(Kind.NOT_FOUND, shoso.artifacts.load_text, uri_of(run, "nothing"))


def test_an_artifact_is_opened_like_a_local_file(run, tmp_path):
    array = np.arange(200_000)
    np.save(tmp_path / "a.npy", array)
    shoso.log_artifact(tmp_path / "a.npy")
    with shoso.artifacts.open(uri_of(run, "a.npy")) as file:
        assert (np.load(file) == array).all()
        file.seek(-8, os.SEEK_END)
        assert np.frombuffer(file.read(), dtype=array.dtype) == [199_999]


def test_an_open_artifact_is_of_one_version(run, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"a" * 3_000_000)
    shoso.log_artifact(tmp_path / "a.bin")
    with shoso.artifacts.open(uri_of(run, "a.bin")) as file:
        file.read(1)
        shoso.log_text("b", "a.bin")
        file.seek(2_000_000)
        with pytest.raises(StoreError) as caught:
            file.read(1)
    assert caught.value.kind is Kind.CHANGED


def test_a_forked_child_reads_on(run, tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "a.bin").write_bytes(data)
    shoso.log_artifact(tmp_path / "a.bin")
    with shoso.artifacts.open(uri_of(run, "a.bin")) as file:
        assert file.read(10) == data[:10]
        if (child := os.fork()) == 0:
            try:
                file.seek(2_000_000)
                os._exit(0 if file.read(10) == data[2_000_000:2_000_010] else 1)
            finally:
                os._exit(2)
        file.seek(1_000_000)
        assert file.read() == data[1_000_000:]
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_artifact_is_opened_to_read(run):
    with pytest.raises(ValueError, match="mode 'rb'"):
        shoso.artifacts.open(uri_of(run, "a"), "wb")
    with pytest.raises(NotFound):
        shoso.artifacts.open(uri_of(run, "a"))
