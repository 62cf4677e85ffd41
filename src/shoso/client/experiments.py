"""The experiments of a server, explicitly by id or name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shoso.client.calls import Calls
from shoso.client.entities import Experiment, PagedList, ViewType
from shoso.errors import Kind, ShosoError
from shoso.wire import replies, requests
from shoso.wire.replies import Empty

PAGE = 1000


class Experiments(Calls):
    """The calls of `Client` that are about experiments."""

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> str:
        """The id of a new experiment; its artifacts go where the server decides, unless said."""
        given = [requests.TagInput(key, str(value)) for key, value in (tags or {}).items()]
        request = requests.CreateExperiment(name, artifact_location or "", given)
        return self._post("experiments/create", replies.ExperimentCreated, request).experiment_id

    def get_experiment(self, experiment_id: str) -> Experiment:
        """The experiment of that id."""
        request = requests.ExperimentById(str(experiment_id))
        reply = self._get("experiments/get", replies.ExperimentReply, request)
        return Experiment.from_wire(reply.experiment)

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """The experiment of that name, deleted ones too; None where there is none."""
        request = requests.ExperimentByName(name)
        try:
            reply = self._get("experiments/get-by-name", replies.ExperimentReply, request)
        except ShosoError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise
        return Experiment.from_wire(reply.experiment)

    def search_experiments(
        self,
        view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int | None = PAGE,
        filter_string: str | None = None,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        """A page of the experiments that a filter finds, e.g. `"name LIKE 'digits%'"`."""
        request = requests.SearchExperiments(
            max_results or PAGE, page_token or "", filter_string or "", [*(order_by or ())], int(view_type)
        )
        page = self._post("experiments/search", replies.ExperimentPage, request)
        return PagedList(map(Experiment.from_wire, page.experiments), page.next_page_token or None)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give the experiment another name."""
        self._post("experiments/update", Empty, requests.UpdateExperiment(str(experiment_id), new_name))

    def delete_experiment(self, experiment_id: str) -> None:
        """Delete the experiment and its runs; `restore_experiment` brings them back."""
        self._post("experiments/delete", Empty, requests.ExperimentById(str(experiment_id)))

    def restore_experiment(self, experiment_id: str) -> None:
        """Bring back a deleted experiment with its runs."""
        self._post("experiments/restore", Empty, requests.ExperimentById(str(experiment_id)))

    def set_experiment_tag(self, experiment_id: str, key: str, value: Any) -> None:
        """Set a tag of the experiment; the value becomes text."""
        request = requests.SetExperimentTag(str(experiment_id), key, str(value))
        self._post("experiments/set-experiment-tag", Empty, request)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of the experiment."""
        request = requests.DeleteExperimentTag(str(experiment_id), key)
        self._post("experiments/delete-experiment-tag", Empty, request)
