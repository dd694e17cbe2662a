"""A real service for tests: HTTP and WebSocket, gRPC, and TCP, each telling its name.

``python -m tests.support.backend NAME --http 127.0.0.1:8080 --grpc … --tcp …`` prints ``ready``
when every port listens.  HTTP answers JSON with its name and what it was asked, but metrics at
``/metrics``; gRPC echoes with its name in front; TCP greets first, as MySQL does, and then echoes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import grpc
from aiohttp import web

ROOT = Path(__file__).parent.parent.parent


async def answer(request: web.Request) -> web.StreamResponse:
    name = request.app["name"]
    if request.headers.get("upgrade", "").lower() == "websocket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT:
                await socket.send_str(f"{name}:{message.data}")
        return socket
    if request.path == "/metrics":
        return web.Response(text="# TYPE backend_up gauge\nbackend_up 1\n")
    body = await request.read()
    headers = {key.lower(): value for key, value in request.headers.items()}
    seen = {"name": name, "path": request.path_qs, "method": request.method, "headers": headers}
    return web.json_response({**seen, "bytes": len(body)})


async def greet(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"hello from {name}\n".encode())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    """``/echo.Echo/Unary`` and ``/echo.Echo/Stream`` over raw bytes."""

    def __init__(self, name: str) -> None:
        self._name = name.encode() + b":"

    def service(self, details: Any) -> Any:
        if details.method.endswith("/Unary"):
            return grpc.unary_unary_rpc_method_handler(self.unary)
        return grpc.stream_stream_rpc_method_handler(self.stream)

    async def unary(self, request: bytes, _: Any) -> bytes:
        return self._name + request

    async def stream(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield self._name + request


async def serve(options: argparse.Namespace) -> None:
    app = web.Application(client_max_size=1 << 30)
    app["name"] = options.name
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for address in options.http:
        host, port = address.rsplit(":", 1)
        await web.TCPSite(runner, host, int(port)).start()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(options.name),))
    for address in options.grpc:
        assert server.add_insecure_port(address)
    await server.start()
    for address in options.tcp:
        host, port = address.rsplit(":", 1)
        await asyncio.start_server(lambda r, w: greet(options.name, r, w), host, int(port))
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    for kind in ("--http", "--grpc", "--tcp"):
        parser.add_argument(kind, action="append", default=[])
    asyncio.run(serve(parser.parse_args()))


class Backend:
    """The service as a process; `prefix` is put before its command (``ip netns exec …``)."""

    def __init__(self, name: str, *ports: str, prefix: Sequence[str] = ()) -> None:
        self._command = [*prefix, sys.executable, "-m", "tests.support.backend", name, *ports]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


if __name__ == "__main__":
    main()
