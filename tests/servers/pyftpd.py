"""pyftpdlib as a process: python pyftpd.py FACTS, a JSON object of what to serve, and how."""

from __future__ import annotations

import json
import sys
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer


class Implicit(TLS_FTPHandler):  # type: ignore[misc]
    """TLS from the first byte, as on port 990; the library has only AUTH TLS."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.secure_connection(self.ssl_context)
        self._prot, self._pbsz = True, True


def main() -> None:
    """Serve until killed."""
    facts = json.loads(sys.argv[1])
    authorizer = DummyAuthorizer()
    authorizer.add_user(facts["user"], facts["password"], facts["home"], perm=facts["permissions"])
    authorizer.add_anonymous(facts["home"])
    for command in facts["without"]:
        FTPHandler.proto_cmds.pop(command)
    server = None
    for port, handler in (("port", FTPHandler), ("tls_port", TLS_FTPHandler), ("implicit_port", Implicit)):
        if port not in facts:
            continue
        handler.authorizer = authorizer
        if issubclass(handler, TLS_FTPHandler):
            handler.certfile, handler.keyfile = facts["certificate"], facts["key"]
            handler.tls_control_required = handler.tls_data_required = True
        for name, value in facts.get("settings", {}).items():
            setattr(handler, name, value)
        options = {} if server is None else {"ioloop": server.ioloop}
        server = FTPServer(("127.0.0.1", facts[port]), handler, **options)
        server.max_cons = server.max_cons_per_ip = 0
    assert server is not None
    server.serve_forever()


if __name__ == "__main__":
    main()
