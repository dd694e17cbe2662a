"""The machine's own resolvers, asked for the names that the mesh does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

PORT: Final = 53
DEADLINE: Final = 2.0
"""Seconds that all resolvers have together."""


class Upstream:
    """Resolvers by address, ``ADDRESS`` or ``ADDRESS:PORT``, the preferred one first."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = [_parsed(one) for one in addresses]

    async def ask(self, packet: bytes, *, stream: bool) -> bytes | None:
        """The first answer to a query, as it came; None: there is none in time."""
        ask = _ask_stream if stream else _ask_datagram
        for address in self._addresses:
            try:
                async with asyncio.timeout(DEADLINE / len(self._addresses)):
                    return await ask(address, packet)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
        return None


def _parsed(written: str) -> tuple[str, int]:
    if written.count(":") > 1 and not written.startswith("["):
        return written, PORT
    host, _, port = written.partition("]:" if written.startswith("[") else ":")
    return host.strip("[]"), int(port) if port else PORT


class _Answer(asyncio.DatagramProtocol):
    """Waits for the datagram that answers a query; others on the socket are ignored."""

    def __init__(self, number: bytes, found: asyncio.Future[bytes]) -> None:
        self._number = number
        self._found = found

    def datagram_received(self, data: bytes, _: object) -> None:
        if data[:2] == self._number and not self._found.done():
            self._found.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._found.done():
            self._found.set_exception(exc)


async def _ask_datagram(address: tuple[str, int], packet: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Answer(packet[:2], found), remote_addr=address
    )
    try:
        transport.sendto(packet)
        return await found
    finally:
        transport.close()


async def _ask_stream(address: tuple[str, int], packet: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        write(writer, packet)
        return await read(reader)
    finally:
        writer.close()


async def read(reader: asyncio.StreamReader) -> bytes:
    """The next message of a TCP connection.

    Raises:
        IncompleteReadError: there is none.
    """
    length = int.from_bytes(await reader.readexactly(2), "big")
    return await reader.readexactly(length)


def write(writer: asyncio.StreamWriter, message: bytes) -> None:
    """Put a message on a TCP connection."""
    writer.write(len(message).to_bytes(2, "big") + message)
