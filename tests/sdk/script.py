"""What a training script logs, with whichever library: `script.py <library> <server> <experiment>`.

A run with everything in it and one nested in it; the caller compares what two libraries make of it.
"""

from __future__ import annotations

import importlib
import io
import math
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")  # of the libraries that are logged from

import matplotlib as mpl  # noqa: E402

mpl.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
import mlflow.data  # noqa: E402  shoso has no datasets of its own
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from PIL import Image  # noqa: E402

library, server, experiment = sys.argv[1:]
m = importlib.import_module(library)
entities = importlib.import_module(f"{library}.entities")


def numbers() -> None:
    m.log_param("lr", 0.01)
    m.log_params({"depth": 4, "names": ["a", "b"], "nothing": None, "empty": "", "long": "x" * 500})
    m.log_params({f"p{n:03}": n for n in range(150)})
    for step in range(5):
        m.log_metric("loss", 1 / (step + 1), step=step, timestamp=1000 + step)
    m.log_metrics({"acc": 1, "nan": math.nan, "inf": -math.inf, "huge": 1e300}, step=-2, timestamp=2000)
    m.log_metric("np", np.float32(0.1), timestamp=1)
    m.log_metric("array", np.array([2.5]), timestamp=1, step=np.int64(7))
    m.log_metric("flag", True, timestamp=1)
    m.log_metrics({f"m{n:04}": n for n in range(1001)}, timestamp=3)
    m.set_tag("team", "vision")
    m.set_tags({"n": 1, "gone": "soon", "日本": "正倉", "empty": ""})
    m.delete_tag("gone")
    m.set_tag("mlflow.note.content", "a **note**")
    assert m.log_param("given", 3) == 3
    assert m.log_metric("last", 1, timestamp=1) is None


def documents() -> None:
    m.log_text("Zwölf Boxkämpfer\n", "notes/text.txt")
    m.log_dict({"b": 1, "a": [1, 2, {"c": Path("x")}], "ü": "ß"}, "config.json")
    m.log_dict({"b": 1, "a": [1, 2, {"c": "x"}], "ü": "ß"}, "deep/er/config.yaml")
    m.log_dict([1, 2], "list.yml")
    m.log_dict({"a": 1}, "no_ending")
    figure, axes = plt.subplots()
    axes.plot([0, 1], [2, 3])
    m.log_figure(figure, "plots/figure.png", save_kwargs={"dpi": 50})
    plt.close(figure)


def pictures() -> None:
    rng = np.random.default_rng(0)
    m.log_image(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8), "pictures/colour.png")
    m.log_image(rng.random((30, 40)), "pictures/grey.png")
    m.log_image(rng.random((30, 40, 1)) > 0.5, "pictures/mask.png")
    m.log_image(Image.new("RGBA", (3, 3), (1, 2, 3, 4)), "pictures/pil.webp")
    m.log_image(rng.random((10, 600, 3)) * 3, key="wide/dogs", step=3, timestamp=77)


def tables() -> None:
    m.log_table({"question": ["a", "b"], "score": [0.1 + 0.2, 1 / 3]}, "tables/answers.json")
    m.log_table({"question": "c/ü", "score": 3}, "tables/answers.json")
    m.log_table(pd.DataFrame({"x": [1, 2], "when": pd.to_datetime(["2026-01-01", None])}), "frame.json")
    m.log_table({"x": [1, 2]}, "table.parquet")
    m.log_table({"x": [3]}, "table.parquet")


def inputs() -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5]})
    train = mlflow.data.from_pandas(frame, source="train.csv", name="train", targets="y")
    array = mlflow.data.from_numpy(np.arange(6).reshape(2, 3), source="array.npy")
    m.log_input(train, context="training", tags={"fold": "1"})
    m.log_input(train, context="testing")  # the first one stays
    m.log_inputs([array], contexts=["validation"], tags_list=[{"a": "b"}])
    m.log_metric("of_data", 0.5, step=1, timestamp=9, dataset=train)
    m.log_metrics({"of_more": 1.5}, timestamp=9, dataset=mlflow.data.from_numpy(np.arange(3), name="more"))


def streams() -> None:
    stream = io.BytesIO(b"skipped" + bytes(range(256)) * 100)
    stream.seek(7)
    m.log_stream(stream, "streams/a.bin")
    with Path(__file__).open("rb") as file:
        m.log_stream(file, "script.py")


def loaded(run_id: str) -> None:
    columns = ["status", "params.lr", "metrics.m0001"]
    table = m.load_table("tables/answers.json", [run_id, "f" * 32], columns)
    m.log_text(table.to_json(), "loaded/answers.txt")
    m.log_text(m.load_table("table.parquet").to_json(), "loaded/parquet.txt")
    m.log_table({"status": ["the table's own"]}, "status.json")
    m.log_text(m.load_table("status.json", extra_columns=["status"]).to_json(), "loaded/status.txt")


def files(folder: Path) -> None:
    (folder / "weights" / "deep" / "er").mkdir(parents=True)
    (folder / "weights" / "big.bin").write_bytes(bytes(range(256)) * 4096)
    (folder / "weights" / "deep" / "er" / "name with space+ü.txt").write_text("x")
    (folder / "weights" / "empty").touch()
    m.log_artifact(folder / "weights" / "big.bin")
    m.log_artifact(str(folder / "weights" / "big.bin"), "below/this")
    m.log_artifact(folder / "weights", "folder")
    m.log_artifacts(str(folder / "weights"))
    m.log_artifacts(folder / "weights", artifact_path="all/of/it")


def explicit(run_id: str) -> None:
    client = m.MlflowClient()
    client.log_batch(
        run_id,
        metrics=[entities.Metric("batch", 0.5, 1, 0), entities.Metric("batch", 0.25, 2, 1)],
        params=[entities.Param("batch", "yes")],
        tags=[entities.RunTag("batch", "yes")],
    )
    client.log_param(run_id, "client", 1)
    client.log_metric(run_id, "client", 1.5, timestamp=5, step=2)
    client.set_tag(run_id, "client", "yes")
    client.log_text(run_id, "by the client", "client.txt")


m.set_tracking_uri(server)
m.set_experiment(experiment)
m.set_experiment_tag("kind", "test")
with m.start_run(run_name="everything", tags={"from": "start"}, description="all of it") as run:
    numbers()
    documents()
    pictures()
    tables()
    files(Path.cwd())
    inputs()
    streams()
    loaded(run.info.run_id)
    explicit(run.info.run_id)
    with m.start_run(run_name="child", nested=True):
        m.log_metric("m", 1, timestamp=1)
m.log_param("implicit", "run")
m.end_run("KILLED")
