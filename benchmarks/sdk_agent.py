"""The SDK as a client that does what it is told; see `orders`. Runs in the environment of `shoso`."""

from collections.abc import Callable
from pathlib import Path

import shoso
from benchmarks.orders import Answer, digest, serve, timed


def upload(uri: str, run: str, path: str, folder: str) -> Answer:
    """Send one file, or a whole folder, to `folder` of the run's artifacts."""
    client = shoso.Client(uri)
    send = client.log_artifacts if Path(path).is_dir() else client.log_artifact
    return timed(lambda: send(run, path, folder))


def download(uri: str, run: str, path: str, into: str) -> Answer:
    """Fetch one file or folder of the run's artifacts."""
    client = shoso.Client(uri)
    return timed(lambda: client.download_artifacts(run, path, into))


COMMANDS: dict[str, Callable[..., Answer]] = {f.__name__: f for f in (upload, download, digest)}


if __name__ == "__main__":
    serve(shoso.__version__, COMMANDS, lambda _: None)
