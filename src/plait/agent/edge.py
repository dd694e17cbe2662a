"""The edge: one Envoy on the machine's own ports, which hands connections to gateways.

A gateway's network need not be reachable from here: connections go to its sockets, with the PROXY
protocol to say where they came from.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from plait.agent.envoy import Envoy, Settings, Status
from plait.base import place as places
from plait.base.clock import WallClock
from plait.base.place import EdgePort, EdgeSpec, EdgeState, Place

LOOK = 0.1
"""Seconds between two looks at what is wanted."""

_TYPES: Final = "type.googleapis.com/envoy."
_TCP: Final = "extensions.filters.network.tcp_proxy.v3.TcpProxy"
_PROXY: Final = "extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
_RAW: Final = "extensions.transport_sockets.raw_buffer.v3.RawBuffer"
_log = structlog.get_logger(__name__)


class Edge:
    """Follows `EdgeSpec`; its Envoy runs only while ports are wanted."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._directory = place.proxy(places.EDGE)
        self._envoy: Envoy | None = None
        self._task: asyncio.Task[None] | None = None
        self._status = Status()
        self._open: tuple[EdgePort, ...] = ()
        self._state = EdgeState()

    async def run(self, up: Callable[[], None]) -> None:
        """Until cancelled; the edge runs on without us.  `up` is called when it is looked after."""
        async with asyncio.TaskGroup() as group:
            while True:
                spec = await asyncio.to_thread(places.read, self._place.edge, EdgeSpec)
                if self._task is None and ((spec and spec.ports) or self._directory.exists()):
                    self._start(group)
                    up()
                if spec is not None and self._task is not None:
                    await self._follow(spec)
                elif not self._place.edge.exists() and self._task is not None:
                    await self._end()
                await asyncio.sleep(LOOK)

    async def _end(self) -> None:
        """Nobody wants an edge any more: nothing of it is left."""
        if self._envoy is not None and self._task is not None:
            self._envoy.stop()
            await self._task
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        self._envoy, self._task, self._open, self._state = None, None, (), EdgeState()

    def _start(self, group: asyncio.TaskGroup) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._directory / "envoy.json").write_text(json.dumps(bootstrap(self._directory)))
        if not (self._directory / "lds.json").exists():
            self._write(())
        settings = Settings(
            name=places.EDGE,
            directory=self._directory,
            admin=f"unix:{self._directory / 'admin.sock'}",
        )
        self._envoy = Envoy(settings, self._changed, WallClock())
        self._task = group.create_task(self._envoy.run(), name="edge:envoy")

    def _changed(self, status: Status) -> None:
        self._status = status

    async def _follow(self, spec: EdgeSpec) -> None:
        """Open what can be opened, and say what cannot and why."""
        listening = await asyncio.to_thread(self._listening)
        problems = self._state.problems
        if listening is not None:  # else nobody knows whose a port is that is taken
            problems = await asyncio.to_thread(self._problems, spec, listening)
            ports = tuple(port for port in spec.ports if _name(port) not in problems)
            if ports != self._open:
                self._open = ports
                await asyncio.to_thread(self._write, ports)
        wanted = {_name(port) for port in self._open}
        state = EdgeState(
            pid=self._status.pid,
            listening=tuple(sorted(wanted & (listening or set()))),
            problems=problems,
        )
        if state != self._state:
            known, self._state = self._state.problems, state
            for address, problem in problems.items():
                if address not in known:
                    _log.warning("edge port taken", address=address, error=problem)
            await asyncio.to_thread(places.write, self._place.state(places.EDGE), state)

    def _problems(self, spec: EdgeSpec, listening: set[str]) -> dict[str, str]:
        """Why ports cannot be opened, by address."""
        others = [port for port in spec.ports if _name(port) not in listening]
        found = {_name(port): problem for port in others if (problem := taken(port))}
        if any(_name(port) in found for port in self._open):
            # our Envoy may have opened it between the two looks
            ours = self._listening()
            found = {one: text for one, text in found.items() if ours and one not in ours}
        return found

    def _listening(self) -> set[str] | None:
        """Addresses at which our Envoy listens; None: it does not say."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if self._envoy is not None:
                return set(self._envoy.admin.listening())
        return None

    def _write(self, ports: Sequence[EdgePort]) -> None:
        """Clusters first: a listener may use them at once."""
        for name, resources in (("cds", clusters(ports)), ("lds", listeners(ports))):
            move(self._directory / f"{name}.json", {"resources": resources})


def taken(port: EdgePort) -> str:
    """Why a port of this machine cannot be opened; empty: it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return (
                    f"another process listens at {port.host}:{port.port}: end it, or give the "
                    "Gateway another port"
                )
            return f"cannot listen at {port.host}:{port.port}: {error.strerror}"
    return ""


def bootstrap(directory: Path) -> dict[str, Any]:
    """The edge's bootstrap: its resources are files in its directory."""
    sources = {
        f"{name}_config": {
            "path_config_source": {"path": str(directory / f"{name}.json")},
            "resource_api_version": "V3",
        }
        for name in ("lds", "cds")
    }
    admin = {"pipe": {"path": str(directory / "admin.sock"), "mode": 0o600}}
    return {
        "node": {"id": places.EDGE, "cluster": places.EDGE},
        "admin": {"address": admin},
        "dynamic_resources": sources,
    }


def listeners(ports: Sequence[EdgePort]) -> list[dict[str, Any]]:
    """A listener for each port."""
    return [
        {
            "@type": _TYPES + "config.listener.v3.Listener",
            "name": _name(port),
            "address": {"socket_address": {"address": port.host, "port_value": port.port}},
            # else two Envoys of one user would share the port, and nobody would know
            "enable_reuse_port": False,
            "filter_chains": [{"filters": [_filter(port)]}],
        }
        for port in ports
    ]


def _filter(port: EdgePort) -> dict[str, Any]:
    config = {
        "@type": _TYPES + _TCP,
        "stat_prefix": "edge",
        "cluster": _name(port),
        "max_connect_attempts": 3,
    }
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


def clusters(ports: Sequence[EdgePort]) -> list[dict[str, Any]]:
    """The sockets of each port's gateways."""
    raw = {
        "name": "envoy.transport_sockets.raw_buffer",
        "typed_config": {"@type": _TYPES + _RAW},
    }
    proxy = {"@type": _TYPES + _PROXY, "config": {"version": "V2"}, "transport_socket": raw}
    return [
        {
            "@type": _TYPES + "config.cluster.v3.Cluster",
            "name": _name(port),
            "type": "STATIC",
            "connect_timeout": "1s",
            "transport_socket": {
                "name": "envoy.transport_sockets.upstream_proxy_protocol",
                "typed_config": proxy,
            },
            "load_assignment": {
                "cluster_name": _name(port),
                "endpoints": [{"lb_endpoints": [_endpoint(path) for path in port.sockets]}],
            },
        }
        for port in ports
    ]


def _endpoint(path: str) -> dict[str, Any]:
    return {"endpoint": {"address": {"pipe": {"path": path}}}}


def _name(port: EdgePort) -> str:
    return f"{port.host}:{port.port}"


def move(path: Path, document: dict[str, Any]) -> None:
    """Put a file in its place at once: Envoy reads it when it is moved there."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(document))
    os.replace(fresh, path)
