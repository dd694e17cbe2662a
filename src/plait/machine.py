"""A whole mesh on one machine: what ``plait serve --local`` runs beside the control plane."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import structlog

from plait.base import place as places
from plait.base import processes
from plait.base.place import EdgePort, EdgeSpec, Place
from plait.base.query import Drained
from plait.base.tasks import Backoff, Health, supervise
from plait.config.mesh_config import AccessLogEncoding, MeshConfig
from plait.config.store import Store
from plait.controllers.run import Workloads
from plait.mesh import edge
from plait.platforms.local.pods import Platform
from plait.settings import Settings, passed_on

HOST = "127.0.0.1"
"""Where the machine's ports that lead to gateways are opened."""

LOGGED = MeshConfig(access_log_file="/dev/stdout", access_log_encoding=AccessLogEncoding.JSON)

_STEADY = 10.0  # seconds after which an agent's end is not its start's fault
_log = structlog.get_logger(__name__)


async def keep_agent(
    place: Place, xds: str, environment: Mapping[str, str], health: Health
) -> None:
    """Keep an agent running, for ever: the one that is there, or one of our own.

    It outlives us, and proxies outlive it.
    """
    backoff, failures = Backoff(first=0.1, limit=10.0), 0
    while True:
        time = asyncio.get_running_loop().time
        started = time()
        agent = await asyncio.to_thread(_agent, place, xds, environment)
        health.up()
        code = await agent.wait()
        failures = 1 if time() - started > _STEADY else failures + 1
        _log.warning("agent ended", pid=agent.pid, code=code, path=str(place.run / "agent.log"))
        await asyncio.sleep(backoff.delay(failures, 0.0))


def _agent(place: Place, xds: str, environment: Mapping[str, str]) -> processes.Process:
    """The agent in charge, or a new one."""
    handle = places.read(place.agent, processes.Handle)
    found = processes.adopt(handle) if handle else None
    if found is not None:
        _log.info("agent found", pid=found.pid)
        return found
    command = (sys.executable, "-m", "plait.ui.cli.main", "agent")
    agent = processes.start(
        processes.Command(
            command=(*command, "--run", str(place.run), "--xds", xds),
            environment=environment,
            directory=os.fspath(Path.cwd()),
        ),
        place.run / "agent.log",
    )
    _log.info("agent started", pid=agent.pid)
    return agent


def platform(settings: Settings) -> Platform:
    """What runs Pods here."""
    images = settings.images or settings.data / "images.toml"
    return Platform(settings.place, images.absolute(), passed_on())


async def run(settings: Settings, store: Store, pods: Platform) -> None:
    """Run the workloads of the store on this machine until cancelled; they run on.

    Requests are logged unless the mesh's settings come from a file: whoever tries something on
    one machine wants to see them.  What cannot be written down now, as on a full disk, is tried
    again: the rest goes on.
    """
    place, doors = settings.place, Doors(store, settings.place)

    async def agent(health: Health) -> None:
        await keep_agent(place, f"unix:{settings.agent_socket}", passed_on(), health)

    if settings.mesh_config is None:
        await store.observe([("MeshConfig", "mesh", LOGGED)])
    async with asyncio.TaskGroup() as group:
        group.create_task(Workloads(store, pods).run(), name="workloads")
        group.create_task(supervise(doors.run, name="doors"), name="doors")
        group.create_task(supervise(agent, name="agent"), name="agent")


class Doors:
    """Writes down which ports of this machine lead to which gateways."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._place = place

    async def run(self, health: Health) -> None:
        """Until cancelled.

        Raises:
            OSError: the note cannot be written.
        """
        changed = asyncio.Event()
        changed.set()

        def on_drained(drained: Drained, _: int) -> None:
            if (edge.doors, ()) in drained.values:
                changed.set()

        stop = self._store.listen(on_drained)
        self._store.watch_soon(edge.doors)
        try:
            while True:
                await changed.wait()
                changed.clear()
                await asyncio.to_thread(places.write, self._place.edge, self._wanted())
                health.up()
        finally:
            self._store.unwatch(edge.doors)
            stop()

    def _wanted(self) -> EdgeSpec:
        return EdgeSpec(
            ports=tuple(
                EdgePort(host=HOST, port=door.port, sockets=self._sockets(door))
                for door in self._store.engine.get(edge.doors)
            )
        )

    def _sockets(self, door: edge.Door) -> tuple[str, ...]:
        ids = (places.identifier(key.namespace, key.name) for key in door.pods)
        return tuple(str(self._place.edge_socket(one, door.port)) for one in ids)
