"""Connections to one server, which alone is told who we are.

Redirects are followed where nothing is lost by it: a call without a body, or one whose body is at hand and
that keeps its method. Time-outs are of silence, not of the whole call.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from weakref import WeakSet

import aiohttp
from yarl import URL

from shoso import __version__
from shoso.core.locations import proxy_of
from shoso.core.streams import CHUNK
from shoso.errors import ConfigError, Kind
from shoso.http.credentials import Headers, authorization, is_same, trust
from shoso.http.options import HttpOptions

Reply = aiohttp.ClientResponse
Body = bytes | AsyncIterable[bytes]
Query = Mapping[str, str] | Sequence[tuple[str, str]] | None

CONNECT = 30.0
"""Seconds for a connection to be made, where whole calls may take longer."""

HOPS = 10

LONGEST_ASKED = 6 * 3600.0
"""Seconds of the longest pause that a server may ask for; urllib3's, which MLflow's client stands on."""

ROUNDS = 3
"""Rounds of the event loop until a connection that was cut off is let go."""

FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
"""What a call raises; `explained` says what it means."""

_MOVED = {301, 302, 303}
_MOVED_AS_IT_IS = {307, 308}


class Session:
    """The calls to the server at a http(s) address; a user in the address is who we are to it.

    `name` is the address without that, safe to show. Raises ConfigError, in the name of `setting`.
    """

    def __init__(
        self,
        setting: str,
        address: str,
        options: HttpOptions,
        silence: float | None,
        connections: int = 32,
    ) -> None:
        url = _parsed(setting, address)
        self.name = str(url.with_user(None)).rstrip("/")
        self.silence = silence
        self._root = URL(self.name, encoded=True)
        self._options = options
        self._authorization = authorization(url, options)
        self._trust = trust(options)
        self._limit = connections
        self._proxies: dict[str, str | None] = {}
        self._client: aiohttp.ClientSession | None = None
        self._connections: WeakSet[socket.socket] = WeakSet()

    def url(self, path: str, query: Query = None) -> URL:
        """The address of a path (percent-encoded, with a slash) on the server."""
        return URL(self.name + path, encoded=True).with_query(query)

    async def send(
        self, method: str, url: URL, headers: Mapping[str, str] | None = None, body: Body | None = None
    ) -> Reply:
        """The reply, its body unread, whatever its status. Raises one of `FAILURES`."""
        for _ in range(HOPS):
            reply = await self._once(method, url, dict(headers or {}), body)
            further = self._further(method, reply, body)
            if further is None:
                return reply
            reply.release()
            url = further
        raise aiohttp.ClientPayloadError(f"it led from one address to the next {HOPS} times")

    async def close(self) -> None:
        """Cut off whatever is under way; may be called again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        for connection in [*self._connections]:
            with suppress(OSError):  # it has gone already
                connection.shutdown(socket.SHUT_RDWR)
        for _ in range(ROUNDS):
            await asyncio.sleep(0)

    def explained(self, error: Exception) -> tuple[Kind, str]:
        """What a failure of `send`, or of reading its reply, means."""
        what = _words(error)
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return Kind.TIMEOUT, f"{self.name} took no connection within {self._connect_time():g} s"
        if isinstance(error, TimeoutError):
            return Kind.TIMEOUT, f"{self.name} sent nothing for {self.silence or 0:g} s"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            hint = "name who vouches for it in MLFLOW_TRACKING_SERVER_CERT_PATH"
            return Kind.CONFIG, f"The certificate of {self.name} isn't trusted; {hint} ({what})"
        if isinstance(error, aiohttp.ClientConnectorSSLError) and _is_plain(error):
            return Kind.CONFIG, f"{self.name} speaks no TLS: its address begins with http, not https"
        if isinstance(error, aiohttp.InvalidURL):
            return Kind.UNEXPECTED, f"{self.name} leads to no address ({what})"
        return Kind.UNAVAILABLE, f"The connection to {self.name} failed ({what})"

    def asked_for(self, reply: Reply) -> float | None:
        """The pause in seconds that the server asks for in Retry-After, if we are to heed it."""
        return _retry_after(reply) if self._options.respect_retry_after else None

    def _connect_time(self) -> float:
        return min(CONNECT, self._options.timeout)

    async def _once(self, method: str, url: URL, headers: Headers, body: Body | None) -> Reply:
        known = is_same(self._root, url)
        sent = _sent(body)
        try:
            return await self._open().request(
                method,
                url,
                headers=headers | self._authorization if known else headers,
                data=sent,
                allow_redirects=False,
                proxy=self._proxy(url),
            )
        except BaseException as error:
            if isinstance(sent, _Passing):
                await sent.close()
            if isinstance(error, UnicodeError):  # of the library that looks hosts up
                raise aiohttp.InvalidURL(url.host or "", "is no name that a host can have") from error
            raise

    def _proxy(self, url: URL) -> str | None:
        """The proxy on the way there; looked up once, for the environment is slow to read."""
        origin = str(url.origin())
        if origin not in self._proxies:
            self._proxies[origin] = proxy_of(origin)
        return self._proxies[origin]

    def _further(self, method: str, reply: Reply, body: Body | None) -> URL | None:
        """Where the reply leads, if it may be followed there."""
        location = reply.headers.get("location")
        follows = reply.status in _MOVED | _MOVED_AS_IT_IS and self._options.redirects
        if not follows or not location:
            return None
        if method not in {"GET", "HEAD"} and reply.status in _MOVED:
            return None  # a browser would make a GET of it
        if not isinstance(body, bytes | None):
            return None
        try:
            further = reply.url.join(URL(location, encoded=True))
        except ValueError:
            return None
        return further if further.scheme in {"http", "https"} else None

    def _open(self) -> aiohttp.ClientSession:
        if self._client is None:
            timeout = aiohttp.ClientTimeout(
                total=None, sock_connect=self._connect_time(), sock_read=self.silence
            )
            connector = aiohttp.TCPConnector(
                limit=self._limit, ssl=self._trust, socket_factory=self._connection
            )
            self._client = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                headers={"accept-encoding": "identity", "user-agent": f"shoso/{__version__}"},
                auto_decompress=False,
                read_bufsize=CHUNK // 2,
            )
        return self._client

    def _connection(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """A socket that `close` knows of: aiohttp forgets one whose peer doesn't take what was sent."""
        connection = socket.socket(*address[:3])
        self._connections.add(connection)
        return connection


class _Passing:
    """A body that aiohttp reads; when it breaks off, it leaves what it reads from as it is."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._buffers = aiter(body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._buffers

    async def close(self) -> None:
        """Let go of the file or the reply behind it; it may be ending by itself."""
        close = getattr(self._buffers, "aclose", None)
        if close is not None:
            with suppress(RuntimeError):  # it is being read, by whom aiohttp has cancelled
                await close()


def _sent(body: Body | None) -> bytes | io.BytesIO | _Passing | None:
    """The body as aiohttp takes it; large bytes as a file, or writing them would hold up the other calls."""
    if isinstance(body, bytes):
        return io.BytesIO(body) if len(body) > CHUNK else body
    return None if body is None else _Passing(body)


def _words(error: Exception) -> str:
    """The error in its own words, without the address, which may be a signed one.

    Of a connection that wasn't made the system's words are enough: aiohttp's are for its own developers.
    """
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        number = error.os_error.errno or 0  # that of a look-up isn't the system's, and negative
        return os.strerror(number) if number > 0 else error.os_error.strerror or str(error.os_error)
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())}" if text else type(error).__name__


def _is_plain(error: aiohttp.ClientConnectorSSLError) -> bool:
    """Whether what answered was no TLS: it will be none the next time either."""
    return getattr(error.os_error, "reason", None) == "WRONG_VERSION_NUMBER"


def elsewhere(reply: Reply) -> str:
    """Words on a reply that wasn't followed to where it leads; without a user, without a query."""
    if not 300 <= reply.status < 400 or "location" not in reply.headers:
        return ""
    try:
        to = reply.url.join(URL(reply.headers["location"], encoded=True))
    except ValueError:
        return ""
    return f" It leads to {to.with_user(None).with_query(None).with_fragment(None)}; use that address."


def _retry_after(reply: Reply) -> float | None:
    """Retry-After is a number of seconds or a date (RFC 9110, 10.2.3)."""
    text = reply.headers.get("retry-after", "").strip()
    try:
        wait = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except ValueError:
        return None
    return min(LONGEST_ASKED, wait) if wait > 0 else None


def _parsed(setting: str, address: str) -> URL:
    try:
        url = URL(address)
        if url.scheme in {"http", "https"} and url.host and not url.query_string and not url.fragment:
            return url
    except ValueError:
        pass  # its words would show the password
    message = "is no address of a server; write one like https://host:5000, a password percent-encoded."
    raise ConfigError(setting, message)
