"""A bare grpc.aio server that sends prebuilt bytes: what is left is the cost of the transport.

It runs as a process of its own, ``python -m benchmarks.bare ADDRESS KNOWN``.  Each line on
standard input is the path of a file whose bytes are sent to every stream.  With ``returning`` as a
third argument its clients come back: it reads what they hold, compares it with what it would send,
and sends that only where it differs.  With ``tls DIRECTORY MEMBERS JOIN`` it also listens at these
two addresses with TLS, shows what `papers` are in the directory, and answers every request for a
certificate with the one that is there.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import uvloop
from msgspec import Struct

from benchmarks.papers import Papers
from benchmarks.scout import MARKER, Known
from plait.serve.ads import SERVICE
from plait.serve.listening import OPTIONS
from plait.xds import certificates, protos


class Tls(Struct, frozen=True, kw_only=True):
    """Where it listens with TLS: for clients with a certificate, and for those without."""

    papers: Papers
    members: str
    join: str


class Bare:
    """Answers the first request of each type with its bytes, and pushes when told to.

    The bytes are whole responses, nonce included.
    """

    def __init__(
        self,
        responses: Mapping[str, bytes],
        versions: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._responses = [(url.encode(), data) for url, data in responses.items()]
        self._versions = versions
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._server: Any = None
        self._certificate = b""

    async def start(self, address: str, tls: Tls | None = None) -> None:
        """Listen."""
        self._server = grpc.aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        self._server.add_insecure_port(address)
        if tls is not None:
            papers = tls.papers
            self._certificate = certificates.response((papers.chain.read_text(),))
            pair = [(papers.server_key.read_bytes(), papers.server.read_bytes())]
            for where, asks in ((tls.members, True), (tls.join, False)):
                shown = grpc.ssl_server_credentials(
                    pair, papers.root.read_bytes() if asks else None, asks
                )
                self._server.add_secure_port(where, shown)
        await self._server.start()

    async def stop(self) -> None:
        """Listen no more."""
        await self._server.stop(0)

    def push(self, data: bytes) -> None:
        """Send a response to every stream."""
        for queue in self._queues:
            queue.put_nowait(data)

    def service(self, call: Any) -> Any:
        """The handler of a call; None: no such method."""
        if call.method == certificates.METHOD:
            return grpc.unary_unary_rpc_method_handler(self._certify)
        if call.method != f"{SERVICE}DeltaAggregatedResources":
            return None
        return grpc.stream_stream_rpc_method_handler(self._serve)

    async def _certify(self, *_: Any) -> bytes:
        return self._certificate

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
        seen: set[bytes] = set()
        while (data := await context.read()) is not grpc.aio.EOF:
            for url, answer in self._responses:
                if url not in seen and url in data:
                    seen.add(url)
                    if not self._is_held(data):
                        queue.put_nowait(answer)
                    break

    def _is_held(self, data: bytes) -> bool:
        """Whether a returning client has all there is of a type."""
        if self._versions is None:
            return False
        request = protos.DeltaDiscoveryRequest.FromString(data)
        held = dict(request.initial_resource_versions)
        return bool(held) and held == self._versions.get(request.type_url)


async def _write(queue: asyncio.Queue[bytes], context: Any) -> None:
    while True:
        await context.write(await queue.get())


async def main(address: str, path: Path, words: Sequence[str]) -> None:
    """Serve until standard input ends."""
    known = Known.load(path)
    marker = protos.DeltaDiscoveryResponse(type_url=MARKER, nonce="1", removed_resources=["none"])
    responses = {**known.responses, MARKER: marker.SerializeToString()}
    bare = Bare(responses, known.versions if "returning" in words else None)
    tls = None
    if "tls" in words:
        directory, members, join = words[words.index("tls") + 1 :]
        tls = Tls(papers=Papers(Path(directory)), members=members, join=join)
    await bare.start(address, tls)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        path = Path(line.decode().strip())
        bare.push(await asyncio.to_thread(path.read_bytes))
    await bare.stop()


if __name__ == "__main__":
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
