"""plait's own pages below ``/plait/v1``: JSON, or server-sent events with ``?watch=1``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from importlib.metadata import version as package_version
from typing import Any

import msgspec
from aiohttp import web

from plait.base import processes
from plait.config.catalog import KINDS
from plait.config.kinds.pod import PodStatus
from plait.serve import workloads
from plait.serve.api import logs, reads, status
from plait.serve.api.backend import Backend
from plait.serve.api.paths import Target, is_true, whole
from plait.serve.api.replies import reply

ROOT = "/plait/v1"
SILENCE = 15.0
"""Seconds after which a quiet stream of events gets a comment, which finds dead clients."""

_LONGEST = 3600.0  # seconds that one may wait for delivery
_PARTS = ("listeners", "routes", "clusters", "endpoints", "bootstrap", "all")


def routes(backend: Backend) -> list[web.RouteDef]:
    """All pages."""
    shown = _Shown(backend)
    return [
        web.get(f"{ROOT}/version", shown.version),
        web.get(f"{ROOT}/faults", shown.faults),
        web.get(f"{ROOT}/status", shown.status),
        web.get(f"{ROOT}/proxies", shown.proxies),
        web.get(f"{ROOT}/proxies/{{id:.+}}/config/{{what}}", shown.config),
        web.get(f"{ROOT}/why/resource", shown.why_resource),
        web.get(f"{ROOT}/delivered", shown.delivered),
        web.get(f"{ROOT}/workloads", shown.workloads),
        web.get(f"{ROOT}/mtls", shown.mtls),
        web.get(f"{ROOT}/pods/{{namespace}}/{{name}}/entry", shown.entry),
    ]


class _Shown:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._pages = backend.pages

    async def version(self, request: web.Request) -> web.Response:
        del request
        store = self._backend.store
        return reply(
            {
                "version": package_version("plait"),
                "revision": store.revision,
                "instance": store.instance,
                "ready": store.ready.is_set(),
            }
        )

    async def faults(self, request: web.Request) -> web.Response:
        """Documents that cannot be read, and objects that several sources define."""
        del request
        store = self._backend.store
        faults = [fault for name in sorted(store.faults) for fault in store.faults[name]]
        conflicts = [
            {
                "object": str(record.key),
                "key": record.key,
                "inForce": record.origin,
                "others": [other.origin for other in others],
            }
            for kind in KINDS.values()
            for record in store.records(kind.table)
            if (others := store.conflicts(record.key))
        ]
        problems = [
            {"object": str(record.key), "origin": record.origin, "problems": record.problems}
            for kind in KINDS.values()
            for record in store.records(kind.table)
            if record.problems
        ]
        return reply({"faults": faults, "conflicts": conflicts, "problems": problems})

    async def workloads(self, request: web.Request) -> web.Response:
        """What runs on this machine."""
        del request
        backend = self._backend
        return reply(workloads.page(backend.store, backend.place, backend.runtime))

    async def mtls(self, request: web.Request) -> web.Response:
        """What each port asks of its callers, and who calls it in plain text."""
        del request
        return reply(self._pages.mtls(self._backend.place))

    async def entry(self, request: web.Request) -> web.Response:
        """How to start a command inside a container, for who is on this machine."""
        runtime = self._backend.runtime
        if runtime is None:
            raise status.bad_request("no Pods run here; in a cluster use kubectl exec")
        words = request.query.getall("command", [])
        if not words:
            raise status.bad_request("a command is needed")
        target = Target(kind=KINDS["Pod"], version="v1", **request.match_info)
        record = reads.found(self._backend, target)
        container = request.query.get("container") or logs.default_container(record.object)
        if why := _why_not(runtime.status(record.key), container):
            name = f"{record.key.name} -n {record.key.namespace}"
            raise status.bad_request(
                f"container {container} does not run now ({why}); "
                f"see: plait logs {name} -c {container}"
            )
        try:
            command = runtime.entry(record.key, container, words)
        except LookupError as error:
            raise status.bad_request(str(error)) from error
        return reply({"command": command, "uid": os.geteuid(), "machine": processes.machine()})

    async def status(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, "status", self._pages.status)

    async def proxies(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, "proxies", self._pages.proxies)

    async def config(self, request: web.Request) -> web.Response:
        proxy, what = request.match_info["id"], request.match_info["what"]
        if what not in _PARTS:
            raise status.bad_request(f'no such part: "{what}"; there are {", ".join(_PARTS)}')
        found = _meant(self._pages.config, proxy, what)
        if found is None:
            raise status.StatusError(404, "NotFound", f'proxy "{proxy}" is not connected')
        return reply(found)

    async def why_resource(self, request: web.Request) -> web.Response:
        query = request.query
        kind, name = query.get("type", ""), query.get("name", "")
        if not kind or not name:
            raise status.bad_request("type and name of the resource are needed")
        proxy = query.get("proxy", "")
        found = _meant(self._pages.why_resource, kind, name, proxy)
        if found is None:
            at = f' at proxy "{proxy}"' if proxy else ""
            raise status.StatusError(404, "NotFound", f'there is no {kind} "{name}"{at}')
        return reply(found)

    async def delivered(self, request: web.Request) -> web.Response:
        """Wait until a revision is with every proxy; 504 tells which page says what is missing."""
        revision = whole(request.query, "revision", self._backend.store.revision)
        seconds = min(whole(request.query, "timeout", 30), _LONGEST)
        try:
            async with asyncio.timeout(seconds):
                return reply(await self._pages.delivered(revision))
        except TimeoutError as error:
            told = (
                f"revision {revision} is not with every proxy after {seconds} s: "
                f"{ROOT}/proxies says what is missing"
            )
            raise status.StatusError(504, "Timeout", told) from error

    async def _page(
        self, request: web.Request, name: str, page: Callable[[], Any]
    ) -> web.StreamResponse:
        if not is_true(request.query, "watch"):
            return reply(page())
        wake = asyncio.Event()
        stop = self._pages.follow(name, wake.set)
        try:
            return await _stream(request, wake, page)
        finally:
            stop()


def _meant(page: Callable[..., Any], *said: str) -> Any:
    """A page of one proxy.

    Raises:
        StatusError: 404; it is not connected, or several are called so.
    """
    try:
        return page(*said)
    except LookupError as error:
        raise status.StatusError(404, "NotFound", str(error)) from error


def _why_not(pod: PodStatus | None, container: str) -> str:
    """Why a container is not running; empty: it is, or there is no such one."""
    every = (*pod.container_statuses, *pod.init_container_statuses) if pod else ()
    state = next((one.state for one in every if one.name == container), None)
    if state is None or state.running:
        return ""
    if state.waiting and state.waiting.message:
        return f"{state.waiting.reason}: {state.waiting.message}"
    found = state.waiting or state.terminated
    return (found.reason if found else "") or "it is to be started"


async def _stream(
    request: web.Request, wake: asyncio.Event, page: Callable[[], Any]
) -> web.StreamResponse:
    """Send the page now and whenever it is another; a slow reader gets the newest only."""
    answer = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await answer.prepare(request)
    last = b""
    try:
        while True:
            body = msgspec.json.encode(page())
            await answer.write(b": quiet\n\n" if body == last else b"data: " + body + b"\n\n")
            last = body
            await _until(wake)
    except ConnectionResetError:
        return answer  # the client left


async def _until(wake: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(SILENCE):
            await wake.wait()
    except TimeoutError:
        return
    wake.clear()
