"""The logged models of a server: what they are; their artifacts are logged like a run's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from shoso.client.calls import Calls
from shoso.client.entities import LoggedModel, LoggedModelStatus, PagedList
from shoso.wire import replies, requests
from shoso.wire.replies import Empty

T = TypeVar("T")

PAGE = 100


class Models(Calls):
    """The calls of `Client` that are about logged models."""

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        """A new model, PENDING until `finalize_logged_model` says what became of it."""
        request = requests.CreateLoggedModel(
            str(experiment_id),
            name or "",
            model_type or "",
            source_run_id or "",
            _params(params),
            _tags(tags),
        )
        return LoggedModel.from_wire(self._post("logged-models", replies.LoggedModelReply, request).model)

    def finalize_logged_model(self, model_id: str, status: str | LoggedModelStatus) -> LoggedModel:
        """The model, READY or FAILED for good."""
        request = requests.FinalizeLoggedModel(model_id, LoggedModelStatus(status).wire)
        reply = self._ask_model("PATCH", [model_id], replies.LoggedModelReply, request)
        return LoggedModel.from_wire(reply.model)

    def get_logged_model(self, model_id: str) -> LoggedModel:
        """The model of that id."""
        request = requests.GetLoggedModel(model_id)
        return LoggedModel.from_wire(
            self._ask_model("GET", [model_id], replies.LoggedModelReply, request).model
        )

    def delete_logged_model(self, model_id: str) -> None:
        """Delete the model; `restore_logged_model` brings it back."""
        self._ask_model("DELETE", [model_id], Empty)

    def restore_logged_model(self, model_id: str) -> None:
        """Bring back a deleted model: a call of Shoso's server, which MLflow's has not."""
        self._ask_own(
            "logged-models/restore", replies.LoggedModelRestored, requests.LoggedModelById(model_id)
        )

    def set_logged_model_tags(self, model_id: str, tags: Mapping[str, Any]) -> None:
        """Set tags of the model; the values become text."""
        request = requests.SetLoggedModelTags(model_id, _tags(tags))
        self._ask_model("PATCH", [model_id, "tags"], Empty, request)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Remove a tag of the model."""
        self._ask_model("DELETE", [model_id, "tags", key], Empty)

    def log_model_params(self, model_id: str, params: Mapping[str, Any]) -> None:
        """Log params of the model; the values become text."""
        request = requests.LogLoggedModelParams(model_id, _params(params))
        self._ask_model("POST", [model_id, "params"], Empty, request)

    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = None,
        datasets: Sequence[Mapping[str, str]] | None = None,
        max_results: int | None = None,
        order_by: Sequence[Mapping[str, Any]] | None = None,
        page_token: str | None = None,
    ) -> PagedList[LoggedModel]:
        """A page of the models that a filter finds, e.g. `"name = 'classifier'"`."""
        request = requests.SearchLoggedModels(
            [*map(str, experiment_ids)],
            filter_string or "",
            [requests.ModelDataset(**each) for each in datasets or ()],
            max_results or PAGE,
            [requests.ModelOrderBy(**each) for each in order_by or ()],
            page_token or "",
        )
        page = self._post("logged-models/search", replies.LoggedModelPage, request)
        return PagedList(map(LoggedModel.from_wire, page.models), page.next_page_token or None)

    def _ask_model(self, method: str, of: Sequence[str], reply: type[T], request: object = None) -> T:
        return self._ask(method, "/".join(("logged-models", *of)), reply, request)


def _params(given: Mapping[str, Any] | None) -> list[requests.ParamInput]:
    return [requests.ParamInput(str(key), str(value)) for key, value in (given or {}).items()]


def _tags(given: Mapping[str, Any] | None) -> list[requests.TagInput]:
    return [requests.TagInput(str(key), str(value)) for key, value in (given or {}).items()]
