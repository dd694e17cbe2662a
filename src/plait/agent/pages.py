"""What an agent serves inside a Pod's network: readiness, merged metrics, and the end."""

from __future__ import annotations

import asyncio
import http
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import aiohttp
from aiohttp import web

from plait.agent.admin import Admin
from plait.agent.merged import merged
from plait.base import netns
from plait.base.crowd import Crowd, Limits

AGENT_PORT, HEALTH_PORT = 15020, 15021
"""Istio's ports of the agent, and of health for the outside."""

T = TypeVar("T")
_FORMAT: Final = "text/plain; version=0.0.4"
_PATIENCE: Final = 1.0  # seconds that the application's metrics may take
_LARGEST: Final = 16 * 1024 * 1024  # bytes of them
_AT_ONCE: Final = 2  # threads that wait for Envoy: all proxies' agent has a few
_LIMITS: Final = Limits(most=128, waiting=64, idle=30.0)
_LONGEST: Final = 1024  # bytes of a body: there is nothing to say
_OPEN = "0.0.0.0"  # noqa: S104 - inside the Pod's own network


class Proxy(Protocol):
    """What the pages ask of a keeper."""

    @property
    def admin(self) -> Admin:
        """Envoy's own pages."""
        ...

    def is_ready(self) -> bool:
        """Whether Envoy has its configuration and serves."""
        ...

    def own_metrics(self) -> str:
        """What the agent counts of this proxy."""
        ...

    def quit(self) -> None:
        """End Envoy at once."""
        ...


class Pages:
    """The pages of one proxy.

    Args:
        namespace: path of the Pod's network namespace.
        metrics: where the application's own metrics are; empty: nowhere.
    """

    def __init__(self, proxy: Proxy, namespace: str, metrics: str) -> None:
        self._proxy = proxy
        self._namespace = namespace
        self._metrics = metrics
        self._silent = {"application": 0, "envoy": 0}
        self._asking = asyncio.Semaphore(_AT_ONCE)

    async def run(self, up: Callable[[], None]) -> None:
        """Serve until cancelled; `up` is called when it does.

        Raises:
            OSError: a port is taken, or the namespace is gone.
        """
        health = [web.get("/healthz/ready", self._ready)]
        whole = [
            *health,
            web.get("/stats/prometheus", self._stats),
            web.post("/quitquitquit", self._quit),
            web.post("/drain", self._drain),
        ]
        runners: list[web.AppRunner] = []
        servers: list[asyncio.Server] = []
        try:
            for port, routes in ((AGENT_PORT, whole), (HEALTH_PORT, health)):
                crowd = Crowd(_LIMITS)
                app = web.Application(middlewares=[crowd.watch], client_max_size=_LONGEST)
                app.add_routes(routes)
                runner = web.AppRunner(app, shutdown_timeout=0.5)
                await runner.setup()
                runners.append(runner)
                address = (_OPEN, port)
                sock = netns.bound(self._namespace, socket.SOCK_STREAM, address)
                loop = asyncio.get_running_loop()
                servers.append(await loop.create_server(crowd.factory(runner), sock=sock))
            up()
            await asyncio.Event().wait()
        finally:
            for server in servers:
                server.close()
            for runner in runners:
                await runner.cleanup()

    async def _ready(self, _: web.Request) -> web.Response:
        if self._proxy.is_ready() and await self._asked(self._proxy.admin.is_live):
            return web.Response(text="ready\n")
        return web.Response(status=503, text="Envoy waits for its configuration\n")

    async def _stats(self, _: web.Request) -> web.Response:
        async with asyncio.TaskGroup() as group:
            envoy = group.create_task(self._asked(self._of_envoy), name="pages:envoy")
            app = group.create_task(self._of_application(), name="pages:application")
        silent = "".join(
            f"# TYPE plait_agent_{name}_scrape_failures_total counter\n"
            f"plait_agent_{name}_scrape_failures_total {count}\n"
            for name, count in self._silent.items()
        )
        return web.Response(
            text=merged([app.result(), self._proxy.own_metrics() + silent, envoy.result()]),
            headers={"Content-Type": f"{_FORMAT}; charset=utf-8"},
        )

    async def _asked(self, ask: Callable[[], T]) -> T:
        """What Envoy answers; an Envoy that is stuck must not hold up those of other Pods."""
        async with self._asking:
            return await asyncio.to_thread(ask)

    def _of_envoy(self) -> str:
        try:
            return self._proxy.admin.ask("/stats/prometheus")[1]
        except OSError:
            self._silent["envoy"] += 1
            return ""

    async def _of_application(self) -> str:
        if not self._metrics:
            return ""
        try:
            status, text = await fetched(self._namespace, self._metrics)
        except (OSError, ValueError, TimeoutError, aiohttp.ClientError):
            status, text = 0, ""
        if status != http.HTTPStatus.OK:
            self._silent["application"] += 1
            return ""
        return text

    async def _quit(self, request: web.Request) -> web.Response:
        if request.remote != "127.0.0.1":
            return web.Response(status=403, text="only from the Pod itself\n")
        self._proxy.quit()
        return web.Response(text="ending\n")

    async def _drain(self, request: web.Request) -> web.Response:
        if request.remote != "127.0.0.1":
            return web.Response(status=403, text="only from the Pod itself\n")
        try:
            await self._asked(self._proxy.admin.drain)
        except OSError:
            return web.Response(status=503, text="Envoy does not answer\n")
        return web.Response(text="draining\n")


async def fetched(namespace: str, url: str) -> tuple[int, str]:
    """Status and text of a page inside a namespace, whole or not at all.

    Raises:
        OSError, ClientError: nobody answers; TimeoutError: not in time.
        ValueError: it is no address of a page, or the page is too large.
    """

    def inside(about: Any) -> socket.socket:
        sock = netns.inside(namespace, lambda: socket.socket(*about[:3]))
        sock.settimeout(0)
        return sock

    connector = aiohttp.TCPConnector(socket_factory=inside, force_close=True)
    patience = aiohttp.ClientTimeout(total=_PATIENCE)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=patience) as session,
        session.get(url, allow_redirects=False, headers={"Accept": _FORMAT}) as response,
    ):
        data = bytearray()
        async for part in response.content.iter_any():
            data += part
            if len(data) > _LARGEST:  # a workload must not fill the memory of all proxies' agent
                raise ValueError(f"{url} has more than {_LARGEST} bytes")
        return response.status, data.decode(errors="replace")
