"""The agent: all proxies of a machine, as the notes of the platform want them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import structlog

from plait.agent import envoy
from plait.agent.edge import Edge
from plait.agent.keeper import Keeper
from plait.base import place as places
from plait.base import processes
from plait.base.errors import PlaitError
from plait.base.place import Place, ProxySpec

LOOK = 0.1
"""Seconds between two looks at what is wanted."""

_ROTATE = 100  # looks between two looks at the logs
_RESOLVERS = Path("/etc/resolv.conf")
_log = structlog.get_logger(__name__)


class AgentRunsError(PlaitError):
    """Another agent is in charge."""


async def run(place: Place, xds: str) -> None:
    """Run the agent until SIGTERM or SIGINT; its proxies run on.

    Raises:
        AgentRunsError: another agent is in charge here.
    """
    with _in_charge(place):
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        async with asyncio.TaskGroup() as group:
            fleet = group.create_task(Fleet(place, xds, resolvers()).run(), name="fleet")
            edge = group.create_task(Edge(place).run(), name="edge")
            await stopping.wait()
            fleet.cancel()
            edge.cancel()


class Fleet:
    """A keeper for each note."""

    def __init__(self, place: Place, xds: str, upstream: Sequence[str]) -> None:
        self._place = place
        self._xds = xds
        self._upstream = upstream
        self._keepers: dict[str, Keeper] = {}
        self._retired: set[str] = set()

    async def run(self) -> None:
        """Follow the notes until cancelled."""
        looks = 0
        async with asyncio.TaskGroup() as group:
            while True:
                wanted = await asyncio.to_thread(self._wanted)
                for name, spec in wanted.items():
                    if name not in self._keepers:
                        keeper = Keeper(spec, self._place, self._xds, self._upstream)
                        self._keepers[name] = keeper
                        group.create_task(self._keep(name, keeper), name=f"keeper:{name}")
                for name in self._keepers.keys() - wanted.keys() - self._retired:
                    self._retired.add(name)
                    self._keepers[name].retire()
                looks += 1
                if looks % _ROTATE == 0:
                    await asyncio.to_thread(self._rotate)
                await asyncio.sleep(LOOK)

    async def _keep(self, name: str, keeper: Keeper) -> None:
        """Run a keeper; one that fails by a bug of ours is tried again by the next look."""
        _log.info("proxy wanted", proxy=name)
        try:
            await keeper.run()
        except Exception as error:  # noqa: BLE001 - one proxy's trouble is no other's
            _log.error("keeper failed", proxy=name, error=repr(error), exc_info=error)
            await asyncio.sleep(1)
        finally:
            del self._keepers[name]
            self._retired.discard(name)
        _log.info("proxy gone", proxy=name)

    def _wanted(self) -> dict[str, ProxySpec]:
        found = {}
        for path in sorted(self._place.specs.glob("*.json")):
            spec = places.read(path, ProxySpec)
            if spec is not None and spec.id == path.stem and places.is_identifier(spec.id):
                found[spec.id] = spec
        return found

    def _rotate(self) -> None:
        for keeper in tuple(self._keepers.values()):
            envoy.rotate(keeper.log)


def resolvers() -> tuple[str, ...]:
    """The machine's own name servers."""
    try:
        lines = _RESOLVERS.read_text().splitlines()
    except OSError:
        return ()
    words = (line.split() for line in lines)
    return tuple(one[1] for one in words if len(one) > 1 and one[0] == "nameserver")


@contextlib.contextmanager
def _in_charge(place: Place) -> Iterator[None]:
    """Hold the lock of the run directory, and say who does."""
    place.specs.mkdir(parents=True, exist_ok=True)
    with (place.run / "agent.lock").open("a") as lock:
        _take(lock, place)
        places.write(place.agent, processes.current())
        try:
            yield
        finally:
            place.agent.unlink(missing_ok=True)


def _take(lock: IO[str], place: Place) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle = places.read(place.agent, processes.Handle)
        who = f"process {handle.pid}" if handle else "another process"
        raise AgentRunsError(
            f"an agent is in charge of {place.run} already: {who}. End it first (proxies run on)"
        ) from error
