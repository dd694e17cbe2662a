"""TLS handshakes of a server, bounded in number and time.

A handshake takes 50 kB (uvloop) or 300 kB (asyncio) from its first moment, and asyncio's servers
begin as many as there are connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from plait.base import connections

MOST: Final = 256
"""Handshakes at once; when there is another, the oldest is given up."""
PATIENCE: Final = 10.0
"""Seconds that one may take."""


class Porch:
    """Takes connections, and hands them on when their handshakes are over.

    Args:
        context: of the handshakes.
        factory: makes what talks then.
    """

    def __init__(self, context: ssl.SSLContext, factory: Callable[[], asyncio.Protocol]) -> None:
        self._context = context
        self._factory = factory
        self._under_way: dict[asyncio.Task[None], None] = {}

    async def run(self, listening: socket.socket) -> None:
        """Take connections at a socket that does not block, until cancelled."""
        async with asyncio.TaskGroup() as group:
            async for connection in connections.taken(listening):
                task = group.create_task(self._shake(connection), name="tls:handshake")
                self._under_way[task] = None
                task.add_done_callback(self._done)
                if len(self._under_way) > MOST:
                    oldest = next(iter(self._under_way))
                    del self._under_way[oldest]
                    oldest.cancel()

    async def _shake(self, connection: socket.socket) -> None:
        connect = asyncio.get_running_loop().connect_accepted_socket
        with contextlib.suppress(OSError):  # a client that knows no TLS, or has left
            await connect(
                self._factory, connection, ssl=self._context, ssl_handshake_timeout=PATIENCE
            )

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
