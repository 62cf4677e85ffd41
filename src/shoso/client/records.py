"""What a tracking server has recorded of where the artifacts of runs and models are."""

from __future__ import annotations

from collections import OrderedDict

from shoso.client.places import Record
from shoso.client.server import Server
from shoso.client.uris import ModelUri, VersionUri
from shoso.core.keys import ROOT
from shoso.errors import Kind, TrackingError
from shoso.wire import registry, replies, requests

REMEMBERED = 1024
"""Runs whose location is asked for once; MLflow's client remembers as many."""

_NO_MODELS = {Kind.NOT_FOUND, Kind.NO_ROUTE}
"""What a server says that is older than logged models."""


class Records:
    """The records of one server. Raises TrackingError."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._runs: OrderedDict[str, Record] = OrderedDict()

    async def run(self, run_id: str) -> Record:
        """Where a run's artifacts are; it stays there for good."""
        if (record := self._runs.get(run_id)) is None:
            asked = requests.GetRun(run_id=run_id)
            info = (await self._server.ask("GET", "runs/get", replies.RunReply, asked)).run.info
            record = Record(info.artifact_uri, info.experiment_id, f"{run_id}/artifacts")
            self._runs[run_id] = record
            if len(self._runs) > REMEMBERED:
                self._runs.popitem(last=False)
        return record

    async def model(self, model_id: str) -> Record:
        """Where a logged model's artifacts are, also a deleted one's, as it is with runs."""
        asked = requests.GetLoggedModel(model_id, allow_deleted=True)
        found = await self._server.ask("GET", f"logged-models/{model_id}", replies.LoggedModelReply, asked)
        info = found.model.info
        return Record(info.artifact_uri, info.experiment_id, f"models/{model_id}/artifacts")

    async def version(self, uri: VersionUri) -> str:
        """The location of a registered version's artifacts, which may be another URI of ours."""
        version = uri.version or await (self._aliased(uri) if uri.alias else self._latest(uri))
        asked = registry.ModelVersionByNumber(uri.name, version)
        found = await self._server.ask("GET", "model-versions/get-download-uri", registry.DownloadUri, asked)
        return found.artifact_uri

    async def model_of_run(self, run_id: str, name: str) -> ModelUri | None:
        """The model of that name that the run logged."""
        if "'" in name:
            return None  # no model's name holds one, and no filter either
        try:
            return await self._search(await self.run(run_id), run_id, name)
        except TrackingError as error:
            if error.kind in _NO_MODELS:
                return None
            raise

    async def _search(self, run: Record, run_id: str, name: str) -> ModelUri | None:
        token = ""
        while True:
            asked = requests.SearchLoggedModels([run.experiment_id], f"name = '{name}'", page_token=token)
            found = await self._server.ask("POST", "logged-models/search", replies.LoggedModelPage, asked)
            for model in found.models:
                if model.info.source_run_id == run_id:
                    return ModelUri(model.info.model_id, ROOT)
            if not (token := found.next_page_token or ""):
                return None

    async def _aliased(self, uri: VersionUri) -> str:
        asked = registry.ModelAliasByName(uri.name, uri.alias)
        found = await self._server.ask("GET", "registered-models/alias", registry.VersionReply, asked)
        return found.model_version.version

    async def _latest(self, uri: VersionUri) -> str:
        asked = registry.GetLatestVersions(uri.name, [uri.stage] if uri.stage else [])
        path = "registered-models/get-latest-versions"
        found = (await self._server.ask("POST", path, registry.VersionsReply, asked)).model_versions
        if not found:
            where = f" in stage '{uri.stage}'" if uri.stage else ""
            raise TrackingError(Kind.NOT_FOUND, f"The model '{uri.name}' has no version{where}.")
        return str(max(int(each.version) for each in found))
