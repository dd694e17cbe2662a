"""Connections that are taken at a socket."""

from __future__ import annotations

import asyncio
import socket

from structlog.testing import capture_logs

from plait.base import connections


def test_an_error_is_waited_out_and_told_once():
    async def story(listening: socket.socket, client: socket.socket) -> str:
        later = asyncio.get_running_loop().call_later
        later(0.25, listening.listen)  # until then, nothing can be taken
        later(0.3, client.connect, listening.getsockname())
        async with asyncio.timeout(10):
            async for connection in connections.taken(listening):
                with connection:
                    return str(connection.getpeername())
        raise AssertionError

    with capture_logs() as logs, socket.socket() as listening, socket.socket() as client:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(0)
        caller = asyncio.run(story(listening, client))
        assert caller == str(client.getsockname())

    assert [line["event"] for line in logs] == ["connection not taken"]
