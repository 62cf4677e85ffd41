"""nginx before a server: TLS by a private authority, a header that it wants, a prefix before every path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from tests.servers.certificates import self_signed
from tests.servers.processes import Launcher, free_ports, program

CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ }}
http {{
    access_log off; client_max_body_size 0; proxy_http_version 1.1; proxy_request_buffering off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        location {prefix}/ {{
            if ($http_authorization != "{authorization}") {{ return 401 "Who are you?"; }}
            proxy_set_header Authorization "";
            proxy_pass {upstream}/;
        }}
    }}
}}
"""


@contextmanager
def before(upstream: str, authorization: str, prefix: str) -> Iterator[tuple[str, Path]]:
    """The address to ask, with the prefix, and the certificate of the authority; it stops on leaving."""
    folder = Path(mkdtemp(prefix="nginx-"))
    folder.chmod(0o755)
    [port] = free_ports(1)
    certificate, key = self_signed(folder)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder, port=port, certificate=certificate, key=key, prefix=prefix,
            authorization=authorization, upstream=upstream,
        )
    )  # fmt: skip
    launcher = Launcher("nginx", folder)
    try:
        launcher.start(program("nginx"), "-p", folder, "-c", configuration)
        launcher.until_port(port)
        yield f"https://127.0.0.1:{port}{prefix}", certificate
    finally:
        launcher.stop()
        rmtree(folder, ignore_errors=True)
