"""Client: a tracking server, said explicitly, with the method names of MLflow's client."""

from __future__ import annotations

from shoso.client import current, link
from shoso.client.experiments import Experiments
from shoso.client.files import Files
from shoso.client.models import Models


class Client(Experiments, Files, Models):
    """The tracking server at `tracking_uri`, by default the one that this process logs to now.

    Every call names the run, the experiment or the model that it is about. Calls block, may come from any
    thread, also inside an event loop, and from forked children. Raises ConfigError without a server.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        super().__init__(
            current.get_tracking_uri()
            if tracking_uri is None
            else current.checked("tracking_uri", tracking_uri)
        )

    @property
    def tracking_uri(self) -> str:
        """The server's address."""
        return self._uri

    @property
    def username(self) -> str:
        """Who we are to the server; "" for nobody in particular."""
        return link.to(self._uri).settings.http.username
