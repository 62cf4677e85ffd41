"""What a user's script does with MLflow's client, which knows nothing of Shoso; tells what it saw in JSON."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository


def digests(folder: Path) -> dict[str, str]:
    """The text of each file, by its path."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def error_of(path: str, run_id: str) -> str:
    """The error code of a download that fails."""
    repository = get_artifact_repository(mlflow.get_run(run_id).info.artifact_uri)
    try:
        repository.download_artifacts(path)
    except mlflow.MlflowException as error:
        return error.error_code
    return ""


def failure_of(log: Callable[[str], None], path: Path) -> str:
    """What kind of error logging a path is, if any."""
    try:
        log(str(path))
    except (OSError, mlflow.MlflowException) as error:
        return type(error).__name__
    return ""


def main(uri: str, folder: Path) -> None:
    """Log the folder, and fetch it again."""
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "data")
        mlflow.log_artifacts(str(folder / "empty"), "nothing")
        mlflow.log_artifact(str(folder / "a" / "1.txt"))
        mlflow.log_text("hello", "texts/hello.txt")
        unlogged = [
            failure_of(mlflow.log_artifact, folder / "none"),
            failure_of(mlflow.log_artifacts, folder / "none"),
            failure_of(mlflow.log_artifacts, folder / "a" / "1.txt"),
        ]
    run_id = run.info.run_id
    client = mlflow.MlflowClient()
    listed = {info.path: info.is_dir for path in ("", "data") for info in client.list_artifacts(run_id, path)}
    whole = Path(mlflow.artifacts.download_artifacts(run_id=run_id))
    one = Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/data/a/1.txt"))
    repository = get_artifact_repository(run.info.artifact_uri)
    repository.delete_artifacts("texts")
    found = {
        "class": type(repository).__name__,
        "listed": listed,
        "whole": digests(whole),
        "one": [one.name, one.read_text()],
        "of_a_file": client.list_artifacts(run_id, "1.txt"),
        "unlogged": unlogged,
        "text": mlflow.artifacts.load_text(f"runs:/{run_id}/1.txt"),
        "missing": error_of("nowhere", run_id),
        "deleted": client.list_artifacts(run_id, "texts"),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
