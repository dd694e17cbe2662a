"""TLS handshakes of a server, bounded in number and time.

A handshake takes 50 kB (uvloop) or 300 kB (asyncio) from its first moment, and asyncio's servers
begin as many as there are connections.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

MOST: Final = 256
"""Handshakes at once; when there is another, the oldest is given up."""
PATIENCE: Final = 10.0
"""Seconds that one may take."""


class Porch:
    """Makes the protocol of each connection to a server: TLS, and behind it that of `factory`.

    Args:
        context: of the handshakes.
        group: where they run.
        factory: makes what talks once the handshake is over.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        group: asyncio.TaskGroup,
        factory: Callable[[], asyncio.Protocol],
    ) -> None:
        self._context = context
        self._group = group
        self._factory = factory
        self._under_way: dict[asyncio.Transport, asyncio.Task[None]] = {}

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Arrival(self)

    def enter(self, arrival: _Arrival, transport: asyncio.Transport) -> None:
        """Begin a handshake."""
        shaking = self._shake(arrival, transport)
        self._under_way[transport] = self._group.create_task(shaking, name="tls:handshake")
        if len(self._under_way) > MOST:
            oldest = next(iter(self._under_way))
            self._under_way.pop(oldest).cancel()  # uvloop tells nobody that a transport is gone
            oldest.abort()

    async def _shake(self, arrival: _Arrival, transport: asyncio.Transport) -> None:
        start_tls = asyncio.get_running_loop().start_tls
        try:
            if transport.is_closing():
                return
            secured = await start_tls(
                transport,
                arrival,
                self._context,
                server_side=True,
                ssl_handshake_timeout=PATIENCE,
            )
        except OSError:  # a client that knows no TLS, or has left
            transport.abort()
        else:
            if secured is not None:
                arrival.hand_over(secured, self._factory())
        finally:
            self._under_way.pop(transport, None)


class _Arrival(asyncio.Protocol):
    """A connection until its handshake is over; keeps what comes with the end of that."""

    def __init__(self, porch: Porch) -> None:
        self._porch = porch
        self._early: list[bytes] = []
        self._is_over = False

    def connection_made(self, transport: Any) -> None:
        """Begin; nothing is read before TLS does."""
        transport.pause_reading()
        self._porch.enter(self, transport)

    def data_received(self, data: bytes) -> None:
        """Keep what the client said behind its last word of the handshake."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left already."""
        del exc
        self._is_over = True

    def hand_over(self, transport: asyncio.Transport, guest: asyncio.Protocol) -> None:
        """Let `guest` go on."""
        if self._is_over:
            return
        transport.set_protocol(guest)
        guest.connection_made(transport)
        for data in self._early:
            guest.data_received(data)
