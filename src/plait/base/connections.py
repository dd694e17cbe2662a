"""Connections as they are taken at a socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Final

import structlog

_PAUSE: Final = 0.1  # seconds until another is taken after an error
_log = structlog.get_logger(__name__)


async def taken(listening: socket.socket) -> AsyncIterator[socket.socket]:
    """Each connection to a socket that does not block, for ever.

    What keeps one from being taken, such as too many open files, is told once in a row, and ends
    by itself.
    """
    loop = asyncio.get_running_loop()
    is_failing = False
    while True:
        try:
            connection, _ = await loop.sock_accept(listening)
        except OSError as error:
            if not is_failing:
                _log.warning("connection not taken", error=str(error))
            is_failing = True
            await asyncio.sleep(_PAUSE)
        else:
            is_failing = False
            yield connection
