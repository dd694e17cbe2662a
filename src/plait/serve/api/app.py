"""The HTTP server: Kubernetes' paths, plait's pages, and where to listen.

Without a lock it listens on loopback and Unix sockets only, where the kernel says which user asks.
With one, TCP addresses want TLS and a token.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from plait.base.crowd import Crowd, Limits
from plait.base.errors import AddressInUseError, PlaitError, SettingsError
from plait.base.porch import Porch
from plait.serve import listening
from plait.serve.api import (
    ca_pages,
    changes,
    deletes,
    discovery,
    guard,
    logs,
    openapi,
    paths,
    plait_pages,
    reads,
    reviews,
    scale,
    status,
    watch,
)
from plait.serve.api.backend import Backend
from plait.serve.api.guard import Residents
from plait.serve.api.lock import Lock
from plait.serve.api.lock import routes as lock_routes
from plait.serve.api.replies import reply
from plait.serve.api.status import LIMIT, StatusError

UNIX = "unix:"
_CLOSING = 2.0  # seconds that open requests have when the server stops
_BACKLOG = 1024  # connections that the kernel has accepted and we have not

_log = structlog.get_logger(__name__)


def application(
    backend: Backend, crowd: Crowd, lock: Lock | None, who: Middleware
) -> web.Application:
    """The whole API as an aiohttp application; `who` lets in who may ask."""
    guards = [crowd.watch, _errors, guard.same_origin, who]
    app = web.Application(client_max_size=LIMIT, middlewares=guards)
    app.add_routes(lock_routes(lock))
    app.add_routes(reviews.routes(lock))
    app.add_routes(_fixed(backend))
    app.add_routes(plait_pages.routes(backend))
    app.add_routes(ca_pages.routes(backend))

    async def core(request: web.Request) -> web.StreamResponse:
        return await _dispatch(backend, request, "")

    async def grouped(request: web.Request) -> web.StreamResponse:
        return await _dispatch(backend, request, request.match_info["group"])

    app.router.add_route("*", "/api/{version}/{tail:.+}", core)
    app.router.add_route("*", "/apis/{group}/{version}/{tail:.+}", grouped)
    app.router.add_route("*", "/{tail:.*}", _unknown)
    return app


async def serve(
    backend: Backend,
    addresses: Sequence[str],
    *,
    lock: Lock | None = None,
    residents: Residents | None = None,
    ready: Callable[[tuple[str, ...]], None] | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve on each of `addresses` (``host:port`` or ``unix:PATH``) until cancelled.

    Without a `lock` the `residents` of this machine may ask, by default our own user and root.
    `ready` is told the addresses once all are open, port 0 replaced by the port there is.

    Raises:
        AddressInUseError: another process listens there.
        SettingsError: an address cannot be read, or is open to other machines.
    """
    is_locked = lock is not None
    for address in addresses:
        _see(address, is_locked=is_locked)
    crowd = Crowd(limits or Limits())
    who = (lock or residents or Residents(())).guard
    runner = web.AppRunner(
        application(backend, crowd, lock, who),
        handler_cancellation=True,
        shutdown_timeout=_CLOSING,
    )
    await runner.setup()
    factory = crowd.factory(runner)
    servers: list[asyncio.Server | socket.socket] = []
    try:
        servers.extend([await _listen(factory, one, is_locked=is_locked) for one in addresses])
        opened = tuple(map(_shown, servers))
        _log.info("api open", addresses=opened)
        if ready is not None:
            ready(opened)
        async with asyncio.TaskGroup() as group:
            for server in servers if lock else ():
                if lock and isinstance(server, socket.socket):
                    porch = Porch(lock.context, factory)
                    group.create_task(porch.run(server), name="api:tls")
            await (lock.run() if lock else asyncio.Event().wait())
    finally:
        for server in servers:
            server.close()
        await runner.cleanup()


async def _listen(
    factory: Callable[[], asyncio.Protocol], address: str, *, is_locked: bool
) -> asyncio.Server | socket.socket:
    """Open an address: a server, or a socket alone where connections are for a porch."""
    if address.startswith(UNIX):
        return await _listen_on_path(factory, Path(address.removeprefix(UNIX)))
    host, port = _parsed(address)
    loop = asyncio.get_running_loop()
    try:
        family, *_, place = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
        # Not left to the loop: of two that take a port in the same moment, uvloop lets the one
        # that cannot listen believe that it does.
        found = socket.create_server(place[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise _not_opened(address, error) from error
    found.settimeout(0)
    if is_locked:
        return found
    return await loop.create_server(factory, sock=found, backlog=_BACKLOG)


def _see(address: str, *, is_locked: bool) -> None:
    """Look at an address before any is open.

    Raises:
        SettingsError: it is none, or it is open to other machines.
    """
    if address.startswith(UNIX):
        return
    host, _ = _parsed(address)
    if not is_locked and not guard.is_loopback(host):
        raise SettingsError(
            f'the API has no authentication and "{address}" can be reached from other machines: '
            "listen on 127.0.0.1 or a Unix socket, or start with --api-tls"
        )


def _shown(server: asyncio.Server | socket.socket) -> str:
    """Where it listens, with the port that was chosen."""
    place = (server if isinstance(server, socket.socket) else server.sockets[0]).getsockname()
    if isinstance(place, str):
        return f"{UNIX}{place}"
    host, port = place[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _listen_on_path(factory: Callable[[], asyncio.Protocol], path: Path) -> asyncio.Server:
    try:
        await asyncio.to_thread(listening.free, path)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(factory, str(path), backlog=_BACKLOG)
        await asyncio.to_thread(os.chmod, path, 0o600)
    except OSError as error:
        raise _not_opened(f"{UNIX}{path}", error) from error
    return server


def _not_opened(address: str, error: OSError) -> PlaitError:
    if error.errno == errno.EADDRINUSE:
        return AddressInUseError(f"{address}: another process listens there")
    return SettingsError(f"cannot listen on {address}: {error.strerror or error}")


def _parsed(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f'"{address}" is no address: write host:port or unix:PATH')
    return host.strip("[]") or "127.0.0.1", int(port)


async def _dispatch(backend: Backend, request: web.Request, group: str) -> web.StreamResponse:
    target = paths.target(group, request.match_info["version"], request.match_info["tail"])
    if target.subresource not in ("", "status"):
        return await _below(backend, target, request)
    if target.name:
        return await _one(backend, target, request)
    return await _many(backend, target, request)


async def _one(backend: Backend, target: paths.Target, request: web.Request) -> web.StreamResponse:
    match request.method:
        case "GET":
            return await reads.get(backend, target, request)
        case "PUT":
            return await changes.replace(backend, target, request)
        case "PATCH":
            return await changes.change(backend, target, request)
        case "DELETE" if not target.subresource:
            return await deletes.delete(backend, target, request)
        case _:
            raise status.method_not_allowed()


async def _below(
    backend: Backend, target: paths.Target, request: web.Request
) -> web.StreamResponse:
    if target.subresource not in discovery.SUBRESOURCES.get(target.kind.table, {}):
        raise status.no_resource()
    if target.subresource == "log":
        return await logs.logs(backend, target, request)
    return await scale.scale(backend, target, request)


async def _many(backend: Backend, target: paths.Target, request: web.Request) -> web.StreamResponse:
    match request.method:
        case "GET" if paths.is_true(request.query, "watch"):
            return await watch.watch(backend, target, request)
        case "GET":
            return await reads.listed(backend, target, request)
        case "POST" if target.kind.namespaced == (target.namespace is not None):
            return await changes.create(backend, target, request)
        case "DELETE":
            return await deletes.delete_many(backend, target, request)
        case _:
            raise status.method_not_allowed()


def _fixed(backend: Backend) -> list[web.RouteDef]:
    async def api(request: web.Request) -> web.Response:
        return _discovered(request, core=True)

    async def apis(request: web.Request) -> web.Response:
        return _discovered(request, core=False)

    async def version(request: web.Request) -> web.Response:
        del request
        return reply(discovery.version())

    async def ready(request: web.Request) -> web.Response:
        del request
        if not backend.store.ready.is_set():
            return web.Response(status=503, text="sources have not said everything yet\n")
        if not backend.is_open():
            return web.Response(status=503, text="proxies cannot connect yet\n")
        return web.Response(text="ok")

    async def alive(request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok")

    return [
        web.get("/api", api),
        web.get("/apis", apis),
        web.get("/version", version),
        web.get("/readyz", ready),
        web.get("/healthz", alive),
        web.get("/livez", alive),
        web.get("/api/{version}", _resources),
        web.get("/apis/{group}", _group),
        web.get("/apis/{group}/{version}", _resources),
        web.get("/openapi/v2", _openapi_v2),
        web.get("/openapi/v3", _openapi_index),
        web.get("/openapi/v3/api/{version}", _openapi),
        web.get("/openapi/v3/apis/{group}/{version}", _openapi),
    ]


def _discovered(request: web.Request, *, core: bool) -> web.Response:
    if not discovery.accepts_aggregated(request.headers.get("Accept", "")):
        return reply(discovery.core_versions() if core else discovery.groups())
    answer = reply(discovery.aggregated(core=core))
    answer.headers["Content-Type"] = discovery.AGGREGATED
    return answer


async def _resources(request: web.Request) -> web.Response:
    group, version = request.match_info.get("group", ""), request.match_info["version"]
    found = discovery.resources(group, version)
    if found is None:
        raise web.HTTPNotFound(text="404 page not found\n")
    return reply(found)


async def _group(request: web.Request) -> web.Response:
    found = discovery.group(request.match_info["group"])
    if found is None:
        raise web.HTTPNotFound(text="404 page not found\n")
    return reply(found)


async def _openapi_v2(request: web.Request) -> web.Response:
    accepted = request.headers.get("Accept", "")
    if openapi.PROTOBUF in accepted or openapi.ASKED_PROTOBUF in accepted:
        return web.Response(body=openapi.v2_protobuf(), content_type=openapi.PROTOBUF)
    return reply(openapi.v2())


async def _openapi_index(request: web.Request) -> web.Response:
    del request
    return reply(openapi.index())


async def _openapi(request: web.Request) -> web.Response:
    found = openapi.document(request.match_info.get("group", ""), request.match_info["version"])
    if found is None:
        raise web.HTTPNotFound
    return web.Response(body=found, content_type="application/json")


async def _unknown(request: web.Request) -> web.Response:
    del request
    raise web.HTTPNotFound(text="404 page not found\n")


@web.middleware
async def _errors(request: web.Request, handler: guard.Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except StatusError as error:
        return reply(error.body, error.code)
