"""Who still calls a workload in plain text: told by its Envoy, counted, and written down."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import grpc
from msgspec.structs import replace

from plait.base import place as places
from plait.base.clock import Clock
from plait.base.place import PlainCaller, PlainCallers
from plait.xds import protos

SERVICE: Final = "envoy.service.accesslog.v3.AccessLogService"
METHOD: Final = "StreamAccessLogs"

_EVERY: Final = 1.0  # seconds between two writes of the note
_MOST: Final = 1_000  # callers that are kept; the one that called longest ago is forgotten


class Plaintext:
    """Callers by address and port; what another agent saw of this proxy is kept.

    Args:
        note: the file they are written to.
        clock: for when.
    """

    def __init__(self, note: Path, clock: Clock) -> None:
        self._note = note
        self._clock = clock
        known = places.read(note, PlainCallers)
        callers = sorted(known.callers, key=lambda one: one.last) if known else ()
        self._callers = {(one.address, one.port): one for one in callers}  # the latest at the end
        self._since = clock.now()
        self._changed = asyncio.Event()
        self._changed.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """The access log service, for the server that Envoy asks for secrets."""

        async def listen(_: Any, context: Any) -> bytes:
            while (data := await context.read()) is not grpc.aio.EOF:
                self.take(data)
            return b""

        methods = {METHOD: grpc.stream_unary_rpc_method_handler(listen)}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def take(self, data: bytes) -> None:
        """Count what a message tells; one that cannot be read tells nothing."""
        try:
            message = protos.StreamAccessLogsMessage.FromString(data)
        except protos.DecodeError:
            return
        now = self._clock.now()
        for entry in (*message.http_logs.log_entry, *message.tcp_logs.log_entry):
            common = entry.common_properties
            caller = common.downstream_direct_remote_address or common.downstream_remote_address
            address = caller.socket_address.address
            port = common.downstream_local_address.socket_address.port_value
            if address and port:
                self._count(address, port, now)

    def _count(self, address: str, port: int, now: float) -> None:
        key = (address, port)
        known = self._callers.pop(key, None)
        if known is None:
            known = PlainCaller(address=address, port=port, first=now, last=now, calls=0)
            if len(self._callers) >= _MOST:
                del self._callers[next(iter(self._callers))]
        self._callers[key] = replace(known, last=now, calls=known.calls + 1)
        self._changed.set()

    async def run(self) -> None:
        """Write the note whenever it changed, until cancelled.

        Raises:
            OSError: it cannot be written.
        """
        while True:
            await self._changed.wait()
            self._changed.clear()
            callers = tuple(self._callers[key] for key in sorted(self._callers))
            note = PlainCallers(since=self._since, callers=callers)
            await asyncio.to_thread(places.write, self._note, note)
            await asyncio.sleep(_EVERY)
