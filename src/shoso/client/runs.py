"""The runs of a server, explicitly by id: made, found, changed and deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shoso.client import batches, context
from shoso.client.calls import Calls
from shoso.client.entities import Metric, PagedList, Run, ViewType
from shoso.core.clock import now_ms
from shoso.wire import replies, requests
from shoso.wire.replies import Empty

PAGE = 1000
HISTORY_PAGE = 25_000


class Runs(Calls):
    """The calls of `Client` that are about runs."""

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: Mapping[str, Any] | None = None,
        run_name: str | None = None,
    ) -> Run:
        """A new run, which isn't the active one; without a name the server makes one up."""
        given = [requests.TagInput(tag.key, tag.value) for tag in batches.tags(tags or {})]
        user = next((tag.value for tag in given if tag.key == context.USER), "unknown")
        started = now_ms() if start_time is None else start_time
        request = requests.CreateRun(str(experiment_id), user, run_name or "", started, given)
        return Run.from_wire(self._sink.create_run(request))

    def get_run(self, run_id: str) -> Run:
        """The run of that id."""
        request = requests.GetRun(run_id=batches.text("id of a run", run_id), run_uuid=run_id)
        return Run.from_wire(self._get("runs/get", replies.RunReply, request).run)

    def get_parent_run(self, run_id: str) -> Run | None:
        """The run that this one is nested in, if any."""
        parent = self.get_run(run_id).data.tags.get(context.PARENT_RUN_ID)
        return self.get_run(parent) if parent else None

    def search_runs(
        self,
        experiment_ids: Sequence[str] | str | int,
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = PAGE,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Run]:
        """A page of the runs that a filter finds, e.g. `"metrics.loss < 0.1 and params.lr = '0.01'"`."""
        ids = [experiment_ids] if isinstance(experiment_ids, str | int) else experiment_ids
        request = requests.SearchRuns(
            [*map(str, ids)],
            filter_string,
            int(run_view_type),
            max_results,
            [*(order_by or ())],
            page_token or "",
        )
        page = self._post("runs/search", replies.RunPage, request)
        return PagedList(map(Run.from_wire, page.runs), page.next_page_token or None)

    def get_metric_history(self, run_id: str, key: str) -> list[Metric]:
        """Every point of the metric."""
        return [*self._history(run_id, key)]

    def _history(self, run_id: str, key: str) -> Iterator[Metric]:
        token = ""
        while True:
            request = requests.GetMetricHistory(
                run_id=run_id, run_uuid=run_id, metric_key=key, page_token=token, max_results=HISTORY_PAGE
            )
            page = self._get("metrics/get-history", replies.MetricHistory, request)
            yield from map(Metric.from_wire, page.metrics)
            if not (token := page.next_page_token or ""):
                return

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        """Give the run another status or name."""
        if status is not None or name is not None:
            self._update(run_id, status=status, run_name=name or "")

    def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        """End the run: FINISHED and now, unless said otherwise."""
        ended = now_ms() if end_time is None else end_time
        self._update(run_id, status=status or "FINISHED", end_time=ended)

    def _update(self, run_id: str, **changes: Any) -> None:
        self._sink.update_run(requests.UpdateRun(run_id=run_id, run_uuid=run_id, **changes))

    def delete_run(self, run_id: str) -> None:
        """Delete the run; `restore_run` brings it back."""
        self._post("runs/delete", Empty, requests.RunById(run_id))

    def restore_run(self, run_id: str) -> None:
        """Bring back a deleted run."""
        self._post("runs/restore", Empty, requests.RunById(run_id))
