"""The endpoint that gives a machine's managed identity its tokens, as Azure App Service has it.

No Azure is to be had here, so this one is made up; Azurite reads the tokens, and trusts whoever signed them.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "identity-header-secret"


def _token() -> dict[str, str]:
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/tenant/",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 3600,
        "oid": "00000000-0000-0000-0000-00000000000a",
        "tid": "00000000-0000-0000-0000-00000000000b",
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"unsigned"))
    return {"access_token": token, "expires_on": str(now + 3600), "token_type": "Bearer"}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers.get("X-IDENTITY-HEADER") == SECRET
        body = json.dumps(_token() if known else {"error": "unknown"}).encode()
        self.send_response(200 if known else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def identity_endpoint() -> Iterator[dict[str, str]]:
    """The variables by which Azure's library finds it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/token"
        yield {
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "IDENTITY_ENDPOINT": address,
            "IDENTITY_HEADER": SECRET,
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
