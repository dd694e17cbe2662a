"""Envoy's own pages, asked over its admin socket."""

from __future__ import annotations

import contextlib
import http.client
import json

from plait.base import unix_http

DEADLINE = 5.0
"""Seconds that an answer may take."""


class Admin:
    """The admin address of one Envoy: ``unix:PATH`` or ``host:port``."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and text of an answer.

        Raises:
            OSError: nobody answers.
        """
        connection = self._connection()
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(f"no answer from Envoy at {self._address}: {error}") from error
        finally:
            connection.close()

    def is_live(self) -> bool:
        """Whether Envoy has its configuration and serves."""
        try:
            return self.ask("/ready")[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def listening(self) -> tuple[str, ...]:
        """Addresses of the listeners that have a socket."""
        found = json.loads(self.ask("/listeners?format=json")[1]).get("listener_statuses", [])
        sockets = [one["local_address"].get("socket_address", {}) for one in found]
        return tuple(f"{one['address']}:{one['port_value']}" for one in sockets if one)

    def drain(self) -> None:
        """Fail health checks, close idle connections, finish the others."""
        self.ask("/healthcheck/fail", "POST")
        self.ask("/drain_listeners?graceful&skip_exit", "POST")

    def is_idle(self) -> bool:
        """Whether it says that no connection from a client is open, those to this page left out."""
        with contextlib.suppress(OSError):
            _, text = self.ask(
                "/stats?filter=%5Ehttp%5C..*downstream_cx_active%7Ctcp%5C..*downstream_cx_active"
            )
            pairs = (line.rpartition(": ") for line in text.splitlines())
            return not any(int(v) for name, _, v in pairs if v.isdigit() and ".admin." not in name)
        return False

    def _connection(self) -> http.client.HTTPConnection:
        if not self._address.startswith("unix:"):
            return http.client.HTTPConnection(self._address, timeout=DEADLINE)
        return unix_http.Connection(self._address.removeprefix("unix:"), DEADLINE)
