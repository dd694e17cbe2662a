"""A bare grpc.aio server that sends prebuilt bytes: what is left is the cost of the transport."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc

from plait.serve.ads import OPTIONS, SERVICE
from plait.xds import wire


class Bare:
    """Answers the first request of each type with its bytes, and pushes when told to.

    The bytes are whole responses, nonce included.
    """

    def __init__(self, responses: Mapping[str, bytes]) -> None:
        self._responses = responses
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._server: Any = None

    async def start(self) -> str:
        """Listen on a free port; the address."""
        self._server = grpc.aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        """Listen no more."""
        await self._server.stop(0)

    def push(self, data: bytes) -> None:
        """Send a response to every stream."""
        for queue in self._queues:
            queue.put_nowait(data)

    def service(self, call: Any) -> Any:
        """The handler of a call; None: no such method."""
        if call.method != f"{SERVICE}DeltaAggregatedResources":
            return None
        return grpc.stream_stream_rpc_method_handler(self._serve)

    async def _serve(self, _: Any, context: Any) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(_write(queue, context))
                await self._read(queue, context)
                writer.cancel()
        finally:
            self._queues.discard(queue)

    async def _read(self, queue: asyncio.Queue[bytes], context: Any) -> None:
        seen: set[str] = set()
        while (data := await context.read()) is not grpc.aio.EOF:
            request = wire.read_delta(data, first=False)
            if request.type_url not in seen:
                seen.add(request.type_url)
                queue.put_nowait(self._responses[request.type_url])


async def _write(queue: asyncio.Queue[bytes], context: Any) -> None:
    while True:
        await context.write(await queue.get())
