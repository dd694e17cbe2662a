"""The control plane as an agent reaches it: whether it is there, and streams to it.

Channels to one address with equal options share one connection in gRPC, with its attempts and
their back-off.  So a thousand relays of one agent try to connect as often as one does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from msgspec import Struct

from plait.xds import certificates

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD: Final = "DeltaAggregatedResources"
SIGNING: Final = 10.0
"""Seconds that an answer to a request for a certificate may take."""

_DECISION: Final = 0.5  # seconds that a proxy waits to know whether the control plane is there
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Attempts are doubled in distance from the first to the last, with gRPC's jitter of 20 %.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # how long one attempt may take
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A control plane whose machine vanished is noticed within 15 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_retries", 0),  # a stream is begun again by Envoy, not below it
)


class Door(Struct, frozen=True, kw_only=True):
    """Where the control plane is reached, and how it is known.

    Attributes:
        address: ``host:port`` or ``unix:PATH``.
        roots: its certificate must be issued under one of these, in PEM; empty: the connection is
            not encrypted.
        chain, key: what is shown to it, in PEM; empty: nothing.
    """

    address: str
    roots: str = ""
    chain: str = ""
    key: str = ""

    def __repr__(self) -> str:
        """Without the key."""
        return f"Door({self.address})"


class Upstream:
    """One way to the control plane; made by `reached`."""

    def __init__(self, channel: Any) -> None:
        self._open = channel.stream_stream(f"/{SERVICE}/{METHOD}")
        self._channel = channel
        self._up = asyncio.Event()
        self._decided = asyncio.Event()  # the last attempt to connect ended, well or badly

    async def is_up(self) -> bool:
        """Whether the control plane is there; waits a moment for an attempt that is under way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DECISION):
                await self._decided.wait()
        return self._up.is_set()

    async def up(self) -> None:
        """Wait until the control plane is there."""
        await self._up.wait()

    def stream(self) -> Any:
        """A new delta stream of raw messages."""
        return self._open()

    async def watch(self) -> None:
        """Connect, again whenever the connection is lost, for ever."""
        channel = self._channel
        ready = grpc.ChannelConnectivity.READY
        while True:
            state = channel.get_state(try_to_connect=True)
            _turn(self._up, on=state is ready)
            over = state in (ready, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            _turn(self._decided, on=over)
            await channel.wait_for_state_change(state)


@contextlib.asynccontextmanager
async def reached(where: str | Door) -> AsyncIterator[Upstream]:
    """The way to the control plane at ``host:port``, ``unix:PATH`` or a door, kept up meanwhile."""
    async with (
        _channel(Door(address=where) if isinstance(where, str) else where) as channel,
        asyncio.TaskGroup() as group,
    ):
        upstream = Upstream(channel)
        watcher = group.create_task(upstream.watch(), name="relay:upstream")
        try:
            yield upstream
        finally:
            watcher.cancel()


async def signed(door: Door, request: bytes, token: str = "") -> bytes:
    """The raw answer to a raw request for a certificate; `token` says who asks.

    Raises:
        grpc.aio.AioRpcError: it is refused, or nobody answers.
    """
    said = ((certificates.CREDENTIAL, f"Bearer {token}"),) if token else None
    async with _channel(door) as channel:
        sign = channel.unary_unary(certificates.METHOD)
        answer: bytes = await sign(request, timeout=SIGNING, metadata=said)
        return answer


def _channel(door: Door) -> Any:
    if not door.roots:
        return grpc.aio.insecure_channel(door.address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        door.roots.encode(), door.key.encode() or None, door.chain.encode() or None
    )
    return grpc.aio.secure_channel(door.address, credentials, options=_OPTIONS)


def _turn(event: asyncio.Event, *, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()
