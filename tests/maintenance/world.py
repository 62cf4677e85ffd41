"""Estates to work on: a database and a store of each kind, with runs, models and versions in them.

They are made by Shoso's own functions, without a server: what the functions do, other tests tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e import storages
from tests.metadata import places

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta
from shoso.maintenance.estate import Estate
from shoso.metadata import experiments, models, purge, registry, runs, versions
from shoso.metadata.connect import Database
from shoso.metadata.holdings import Kind
from shoso.wire.registry import CreateModelVersion, CreateRegisteredModel
from shoso.wire.requests import (
    CreateExperiment,
    CreateLoggedModel,
    CreateRun,
    LogBatch,
    LoggedModelById,
    MetricInput,
    ParamInput,
)

ROOT = "mlflow-artifacts:/"

PLACES = (("sqlite", "local"), ("postgres", "s3"), ("mariadb", "sftp"))
"""A database and a storage: each of both once."""

FILES = {"a.txt": b"a", "sub/b.bin": b"b" * 5000}


class World:
    """An estate, and what was put into it."""

    def __init__(self, flags: dict[str, Any], environment: dict[str, str]) -> None:
        self.flags, self.environment = flags, environment
        self.estate = Estate.open(flags, environment)
        self.database = self.estate.database

    async def close(self) -> None:
        await self.estate.close()

    async def experiment(self, name: str, location: str = "") -> str:
        return await self.database.write(experiments.create, CreateExperiment(name, location), ROOT)

    async def run(self, experiment: str, files: dict[str, bytes] = FILES) -> str:
        """A run with a param, some metrics, and these files."""
        run = await self.database.write(runs.create, CreateRun(experiment))
        run_id = run.info.run_id
        points = [MetricInput("m", float(step), 1, step) for step in range(3)]
        await self.database.write(runs.log_batch, LogBatch(run_id, points, [ParamInput("p", "1")]), True)
        await self.put(run.info.artifact_uri, files)
        return run_id

    async def model(self, experiment: str, files: dict[str, bytes] = FILES) -> str:
        model = await self.database.write(models.create, CreateLoggedModel(experiment))
        await self.put(model.info.artifact_uri, files)
        return model.info.model_id

    async def version(self, name: str, run_id: str, path: str = "sub") -> None:
        """A version of a registered model, made from a run."""
        source = f"{await self.location(Kind.RUN, run_id)}/{path}"
        await self.database.write(registry.create, CreateRegisteredModel(name))
        await self.database.write(versions.create, CreateModelVersion(name, source, run_id))

    async def location(self, kind: Kind, id_: str) -> str:
        if kind is Kind.RUN:
            return (await self.database.read(runs.get, id_)).info.artifact_uri
        from shoso.wire.requests import GetLoggedModel

        return (
            await self.database.read(models.get, GetLoggedModel(id_, allow_deleted=True))
        ).info.artifact_uri

    async def put(self, location: str, files: dict[str, bytes]) -> None:
        place = await self.estate.place(location)
        for path, data in files.items():
            await place.store.write(keys.join(place.key, Key(path)), BytesSource(data))

    async def delete(self, location: str) -> None:
        """Delete an object past the server."""
        place = await self.estate.place(location)
        await place.store.delete([place.key])

    async def delete_run(self, run_id: str) -> None:
        await self.database.write(runs.delete, run_id)

    async def delete_model(self, model_id: str) -> None:
        await self.database.write(models.remove, LoggedModelById(model_id))

    async def files(self, location: str = ROOT) -> dict[str, bytes]:
        """All that is below a location, by path."""
        place = await self.estate.place(location)
        found = {}
        async for entry in place.store.list(place.key, deep=True):
            if isinstance(entry, ObjectMeta):
                found[keys.below(entry.key, place.key)] = await read_bytes(place.store, entry.key)
        return found

    async def there(self, kind: Kind, *ids: str) -> list[str]:
        """Those that have a row still, in order."""
        return sorted(await self.database.read(purge.there, kind, ids))


async def make(kind: str, storage: str, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Flags and environment of an empty estate of these kinds."""
    environment: dict[str, str] = {}
    if storage == "local":
        destination = str(folder / "artifacts")
        (folder / "artifacts").mkdir()
    else:
        target: Any = storages.fresh(storage)
        destination, environment = target.uri, dict(target.environment)
    return {**await database(kind, folder), "artifacts_destination": destination}, environment


async def database(kind: str, folder: Path) -> dict[str, Any]:
    """The flag of an empty database of that kind."""
    uri = f"sqlite:///{folder}/shoso.db" if kind == "sqlite" else places.fresh(kind, by_mlflow=False).uri
    opened = Database.open(uri, artifact_root=ROOT)
    await opened.close()
    return {"backend_store_uri": uri}
