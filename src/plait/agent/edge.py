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
import socket
from collections.abc import Sequence
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

    async def run(self) -> None:
        """Until cancelled; the edge runs on without us."""
        async with asyncio.TaskGroup() as group:
            while True:
                spec = places.read(self._place.edge, EdgeSpec) or EdgeSpec()
                if spec.ports and self._task is None:
                    self._start(group)
                if self._task is not None:
                    await self._follow(spec)
                await asyncio.sleep(LOOK)

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
        problems: dict[str, str] = {}
        ports = []
        for port in spec.ports:
            address = f"{port.host}:{port.port}"
            if address not in listening and (problem := taken(port)):
                problems[address] = problem
            else:
                ports.append(port)
        if tuple(ports) != self._open:
            self._open = tuple(ports)
            self._write(self._open)
        wanted = {f"{port.host}:{port.port}" for port in ports}
        state = EdgeState(
            pid=self._status.pid,
            listening=tuple(sorted(wanted & listening)) if self._status.ready else (),
            problems=problems,
        )
        if state != self._state:
            self._state = state
            for address, problem in problems.items():
                _log.warning("edge port taken", address=address, error=problem)
            places.write(self._directory / "state.json", state)

    def _listening(self) -> set[str]:
        """Addresses at which our Envoy listens."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            if self._envoy is not None:
                return set(self._envoy.admin.listening())
        return set()

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
