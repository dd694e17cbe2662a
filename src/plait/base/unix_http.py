"""HTTP over Unix sockets, by the standard library."""

from __future__ import annotations

import http.client
import socket


class Connection(http.client.HTTPConnection):
    """A connection to the server at a path.

    Args:
        path: of the socket.
        patience: seconds that each step may take; None: for ever.
    """

    def __init__(self, path: str, patience: float | None) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        """As every connection does, when something is asked."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
