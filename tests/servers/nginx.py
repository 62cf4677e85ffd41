"""nginx before servers: one behind TLS, a header that it wants and a prefix, or several that take turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from tests.servers.certificates import self_signed
from tests.servers.processes import Launcher, free_ports, program

_CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ }}
http {{
    access_log off; client_max_body_size 0; proxy_http_version 1.1; proxy_request_buffering off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {servers}
}}
"""

_BEFORE = """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        location {prefix}/ {{
            if ($http_authorization != "{authorization}") {{ return 401 "Who are you?"; }}
            proxy_set_header Authorization "";
            proxy_pass {upstream}/;
        }}
    }}
"""

_AMONG = """
    upstream fleet {{ {members} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://fleet; proxy_set_header Host $http_host; }}
    }}
"""


@contextmanager
def before(upstream: str, authorization: str, prefix: str) -> Iterator[tuple[str, Path]]:
    """The address to ask, with the prefix, and the certificate of the authority; it stops on leaving."""
    with _folder() as folder:
        [port] = free_ports(1)
        certificate, key = self_signed(folder)
        servers = _BEFORE.format(
            port=port, certificate=certificate, key=key, prefix=prefix, authorization=authorization,
            upstream=upstream,
        )  # fmt: skip
        with _running(folder, port, servers):
            yield f"https://127.0.0.1:{port}{prefix}", certificate


@contextmanager
def among(hosts: Sequence[str]) -> Iterator[str]:
    """The address that hands requests to servers in turn, to those that answer; it stops on leaving.

    One that was cut off on its way is a 502: what it did there isn't known, so it isn't handed to another.
    """
    with _folder() as folder:
        [port] = free_ports(1)
        members = " ".join(f"server {host} max_fails=1 fail_timeout=1s;" for host in hosts)
        with _running(folder, port, _AMONG.format(port=port, members=members)):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(mkdtemp(prefix="nginx-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


@contextmanager
def _running(folder: Path, port: int, servers: str) -> Iterator[None]:
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, servers=servers))
    launcher = Launcher("nginx", folder)
    try:
        launcher.start(program("nginx"), "-p", folder, "-c", configuration)
        launcher.until_port(port)
        yield
    finally:
        launcher.stop()
